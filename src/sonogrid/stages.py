"""What each subcommand does: read its files, call the package, write its files.

Every stage takes a study, of which a job has only the keys that the stage needs (config/needs.py), and the options of
its command line; where files lie it asks layout.py. Heavy imports are inside the stages that need them: torch and timm
take seconds, and most stages need neither.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from itertools import product
from pathlib import Path

from sonogrid.config.load import load_files
from sonogrid.config.study import Study, json_schema
from sonogrid.console import progress
from sonogrid.files import write_csv
from sonogrid.grid import AXES, Cell, Grid, cohort_seed, derive_seed
from sonogrid.layout import Layout, refuse_former_results
from sonogrid.problems import InputError, Problem


def checked_study(options: Namespace) -> Study:
    """Return the study of the options' configuration files; raise InputError for mistakes and former results."""
    study = load_files(options.config)
    refuse_former_results(study.results)
    return study


def check(options: Namespace) -> None:
    """Validate the merged configuration files and print the grid."""
    study = checked_study(options)
    print(f"Study {study.study}: {Grid.of(study).describe()}")


def plan(options: Namespace) -> None:
    """Print what a study will ask of a cluster and cost, or check that the cluster would take it."""
    from sonogrid.cluster.profile import read_profile
    from sonogrid.cluster.show_plan import check_site, show_plan
    from sonogrid.cluster.site import load_site

    study, site = checked_study(options), load_site(options.site)
    profile = read_profile(site, options.site)
    jobs = options.jobs or profile.jobs
    if options.check:
        check_site(study, site, profile, jobs, options.site)
    else:
        show_plan(study, site, profile, jobs, options.config)


def schema(_: Namespace) -> None:
    """Print the JSON schema of config.yaml."""
    print(json.dumps(json_schema(), indent=2, sort_keys=True))


def cohort(study: Study, options: Namespace) -> None:
    """Read or simulate a cohort."""
    from sonogrid.cohort.manifest import save_cohort, some
    from sonogrid.cohort.registry import reader_of
    from sonogrid.images.examine import read_cohort
    from sonogrid.images.framing import ANY_DEVICE

    config = study.cohort_of(options.corpus)
    places = Layout(study.results).cohort_of(options.corpus)
    seed = cohort_seed(study.seed, options.corpus)
    with progress(f"cohort ({config.reader})", reader_of(config.reader).steps(config)) as advance:
        found = read_cohort(config, seed, places.tables, options.workers, advance)
    save_cohort(found, places.tables)
    devices = sorted(set(found.images["device"]) - {""})
    for device in sorted(set(config.layouts) - {ANY_DEVICE, *devices}):
        print(f"layouts: no picture is of device {device!r}; there are: {some(devices) or 'none'}", file=sys.stderr)
    if found.refused:
        print(f"{len(found.refused)} file(s) refused: {places.refused}", file=sys.stderr)


def images(study: Study, options: Namespace) -> None:
    """Build the store of one modality."""
    from sonogrid.cohort.manifest import load
    from sonogrid.images.store import build

    places, modality = Layout(study.results).cohort_of(options.corpus), options.modality
    manifest = load(places.tables).images
    rows = manifest[manifest["modality"] == modality]
    how = study.images.canvas(modality, study.cohort_of(options.corpus).layouts)
    with progress(f"images {modality}", len(rows)) as advance:
        made = build(rows, how, places.store(modality), places.index(modality), advance, options.workers)
    print(f"{made} of {len(rows)} canvases made again", file=sys.stderr)


def splits(study: Study, _: Namespace) -> None:
    """Divide patients into folds and parts."""
    from sonogrid.cohort.manifest import load
    from sonogrid.splits import make_splits

    layout = Layout(study.results)
    found = load(layout.cohort.tables)
    table = make_splits(found.patients, found.images, study.splits, derive_seed(study.seed, "splits"))
    write_csv(table, layout.splits)


def audit(study: Study, options: Namespace) -> None:
    """Look for what could make a result untrue, and certify what may be trained on."""
    from rich.console import Console

    from sonogrid.audit.run import run_audit
    from sonogrid.audit.show import PLAIN_WIDTH

    console = None
    if options.study is not None:
        # Within the workflow only counts go to the log, which names no patient, and what stops it.
        console = Console(stderr=True, width=PLAIN_WIDTH, color_system=None)
    everything = options.study is None and options.corpus is None
    asked = [study.audit_request(init) for init in ((None, *study.corpora) if everything else (options.corpus,))]
    refused: list[Problem] = []
    for request in asked:
        refused += run_audit(request, options.workers, console)
    if refused:
        raise InputError(refused)


def pretrain(study: Study, options: Namespace) -> None:
    """Train one backbone on a corpus, from its last epoch if it was cut short."""
    from sonogrid.fits.pretraining import pretrain as fit

    checkpoints = options.checkpoints or Layout(study.results).checkpoints
    fit(options.init, options.backbone, options.seed, study, checkpoints, options.threads)


def train(study: Study, options: Namespace) -> None:
    """Train the cells of a job, then predict their inner and held-out patients."""
    from sonogrid.jobs import train_cells

    cells = [Cell(*point) for point in product(*(getattr(options, axis) for axis in AXES))]
    checkpoints = options.checkpoints or Layout(study.results).checkpoints
    train_cells(cells, study, checkpoints, options.threads, options.together)


def rates(study: Study, options: Namespace) -> None:
    """Measure how fast the backbones of a study train here."""
    from sonogrid.cluster.rates import fit_settings, measure_rates, rates_table
    from sonogrid.cluster.slurm import seconds_in_job

    before = seconds_in_job()
    with progress("rates", len(fit_settings(study))) as advance:
        found = measure_rates(study, options.seconds, options.threads, before, advance)
    write_csv(rates_table(found), Layout(study.results).rates)


def evaluate(study: Study, _: Namespace) -> None:
    """Score every cell and write metrics.csv, effects.csv and the merged predictions.csv."""
    from sonogrid.cohort.manifest import load
    from sonogrid.evaluation.collect import collect
    from sonogrid.evaluation.measurements import effects, measure
    from sonogrid.splits import load_splits

    layout, grid = Layout(study.results), Grid.of(study)
    found = load(layout.cohort.tables)
    files = [layout.cell_predictions(cell) for cell in grid.cells()]
    predictions = collect(files, grid, load_splits(layout.splits), found.patients, found.images)
    classes, settings = study.cohort.classes, study.statistics
    # All is computed before anything is written: an interruption in between would leave a part.
    metrics = measure(predictions, found.patients, classes, settings, study.seed)
    differences = effects(predictions, found.patients, classes, settings, study.seed)
    write_csv(metrics, layout.metrics)
    write_csv(differences, layout.effects)
    write_csv(predictions, layout.predictions)


def tables(study: Study, _: Namespace) -> None:
    """Write the tables in their formats."""
    from sonogrid.reporting.making import write_tables

    write_tables(study)


def figures(study: Study, _: Namespace) -> None:
    """Draw every figure except the panels."""
    from sonogrid.reporting.exhibits import figures_of
    from sonogrid.reporting.making import draw_figures

    with progress("figures", len(figures_of(study))) as advance:
        draw_figures(study, advance)


def explain(study: Study, options: Namespace) -> None:
    """Draw the panels of one backbone and init, and list what they show."""
    from sonogrid.reporting.making import draw_panels, panel_steps

    with progress(f"explain {options.backbone} {options.init}", panel_steps(study)) as advance:
        draw_panels(study, options.backbone, options.init, advance)


def report(study: Study, _: Namespace) -> None:
    """Write the self-contained report, and the captions of its tables and figures."""
    from sonogrid.reporting.report import write_report

    write_report(study)


def compare(options: Namespace) -> None:
    """Compare the speed of two commits, show it, and exit with the code of the verdict."""
    from rich.console import Console

    from sonogrid.perf.gate import GateRequest, run_and_write
    from sonogrid.perf.limits import Plan
    from sonogrid.perf.show import WIDTH, show_page

    given = {
        name: getattr(options, name)
        for name in ("base", "head", "suite", "minutes", "seed", "instructions", "planted", "out")
    }
    request = GateRequest(**given, plan=Plan(margin=options.margin), with_laws=not options.no_laws)
    page = run_and_write(request, Path.cwd())
    show_page(page, Console() if sys.stdout.isatty() else Console(width=WIDTH))
    sys.exit(page.exit.value)
