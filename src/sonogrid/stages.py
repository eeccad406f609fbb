"""What each subcommand does: read its files, call the package, write its files.

Heavy imports stand inside the stages that need them: torch and timm take seconds, and most stages need neither.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas
from sonogrid.config.load import SHIPPED, load_study, parse_section
from sonogrid.config.splits import Splits
from sonogrid.config.study import AuditRequest, Study, json_schema
from sonogrid.config.training import Training
from sonogrid.console import progress
from sonogrid.files import read_yaml, sha256, whole_files, write_csv
from sonogrid.grid import Cell, Grid, derive_seed
from sonogrid.layout import Layout
from sonogrid.problems import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Value = TypeVar("Value")


def check(options: Namespace) -> None:
    """Validate the merged configuration files and print the grid."""
    study = merged_study(options.config)
    print(f"Study {study.study}: {Grid.of(study).describe()}")


def merged_study(paths: Sequence[Path]) -> Study:
    """The study of several configuration files, merged as Snakemake does; raises InputError."""
    from snakemake.utils import update_config

    merged: dict[str, Any] = {}
    for path in paths:
        update_config(merged, read_yaml(path, f"Correct it; {SHIPPED}"))
    return load_study(merged)


def plan(options: Namespace) -> None:
    """Print what a study will ask of a cluster and cost, or check that the cluster would take it."""
    from sonogrid.cluster.plan import check_site, profile_jobs, show_plan
    from sonogrid.cluster.site import load_site

    study, site = merged_study(options.config), load_site(options.site)
    jobs = options.jobs or profile_jobs()
    if options.check:
        check_site(study, site, jobs, options.site)
    else:
        show_plan(study, site, jobs, options.config)


def schema(_: Namespace) -> None:
    """Print the JSON schema of config.yaml."""
    import json

    print(json.dumps(json_schema(), indent=2, sort_keys=True))


def cohort(options: Namespace) -> None:
    """Read or simulate a cohort."""
    from sonogrid.cohort.manifest import save_cohort, some
    from sonogrid.cohort.registry import reader_of
    from sonogrid.images.examine import read_cohort
    from sonogrid.images.framing import ANY_DEVICE

    config = parse_section(CohortConfig, options.cohort)
    seed = derive_seed(options.seed, "cohort", options.name)
    with progress(f"cohort ({config.reader})", reader_of(config.reader).steps(config)) as advance:
        found = read_cohort(config, seed, options.out, options.workers, advance)
    save_cohort(found, options.out)
    devices = sorted(set(found.images["device"]) - {""})
    for device in sorted(set(config.layouts) - {ANY_DEVICE, *devices}):
        print(f"layouts: no picture is of device {device!r}; there are: {some(devices) or 'none'}", file=sys.stderr)
    if found.refused:
        print(f"{len(found.refused)} file(s) refused: {options.out / 'refused.csv'}", file=sys.stderr)


def images(options: Namespace) -> None:
    """Build the store of one modality."""
    from sonogrid.cohort.manifest import load
    from sonogrid.images.store import build

    manifest = load(options.manifest.parent).images
    rows = manifest[manifest["modality"] == options.modality]
    how = parse_section(Canvas, options.canvas)
    with progress(f"images {options.modality}", len(rows)) as advance:
        made = build(rows, how, options.store, options.index, advance, options.workers)
    print(f"{made} of {len(rows)} canvases made anew", file=sys.stderr)


def splits(options: Namespace) -> None:
    """Divide patients into folds and parts."""
    from sonogrid.cohort.manifest import load
    from sonogrid.splits import make_splits

    config = parse_section(Splits, options.splits)
    found = load(options.cohort)
    table = make_splits(found.patients, found.images, config, derive_seed(options.seed, "splits"))
    write_csv(table, options.out)


def audit(options: Namespace) -> None:
    """Look for what could make a result untrue, and certify what may be trained on."""
    from rich.console import Console

    from sonogrid.audit.run import run_audit
    from sonogrid.audit.show import PLAIN_WIDTH

    console = None
    if options.request is not None:
        # Within the workflow only counts go to the log, which names no patient, and what stops it.
        console = Console(stderr=True, width=PLAIN_WIDTH, color_system=None)
        asked = [parse_section(AuditRequest, options.request)]
    else:
        study = merged_study(options.config)
        asked = [study.audit_request(), *(study.audit_request(init) for init in study.corpora)]
    refused: list[Problem] = []
    for request in asked:
        refused += run_audit(request, options.workers, console)
    if refused:
        raise InputError(refused)


def pretrain(options: Namespace) -> None:
    """Train one backbone on a corpus, from its last epoch if it was cut short."""
    import torch

    from sonogrid.cohort.manifest import labels_of
    from sonogrid.fits.checkpoint import Checkpoint
    from sonogrid.fits.pretraining import divide
    from sonogrid.fits.record import accepted_findings, is_done, recipe_of, run_record, write_history, write_record
    from sonogrid.images.store import open_store
    from sonogrid.provenance import whereabouts
    from sonogrid.training.backbones import best_device, build_model, device_name, save_weights, seeded
    from sonogrid.training.examples import examples_of, joined
    from sonogrid.training.fit import fit

    torch.set_num_threads(options.threads)
    folder = Layout(options.results).pretrained(options.init, options.backbone, 0)
    training = parse_section(Training, options.training)
    identity = {
        "backbone": options.backbone,
        "init": options.init,
        "modalities": options.modalities,
        "inner_fraction": options.inner_fraction,
        "accepted_findings": accepted_findings(options.certificate),
    }
    seed = derive_seed(options.seed, "pretrain", options.init, options.backbone)
    inputs = [options.patients, *options.indexes]
    size, threads = options.input_size, options.threads
    recipe = recipe_of(identity, options.classes, size, training, options.seed, seed, threads, inputs)
    files = [folder / name for name in ("run.json", "history.csv", "weights.safetensors")]
    if is_done(folder, [file.name for file in files], recipe):
        print(f"pretrain {options.backbone}: done before with the same recipe, kept", file=sys.stderr)
        return
    files[0].unlink(missing_ok=True)
    labels = labels_of(options.patients)
    parts = divide(labels, options.inner_fraction, derive_seed(options.seed, "pretrain", options.init))
    stores = [open_store(npy, csv) for npy, csv in zip(options.stores, options.indexes, strict=True)]
    train_part, inner_part = (
        joined(
            [
                examples_of(store, modality, part, options.classes, size)
                for store, modality in zip(stores, options.modalities, strict=True)
            ]
        )
        for part in parts
    )
    device = best_device()
    twin = Layout(options.results).checkpoint(folder, options.checkpoints)
    checkpoint = Checkpoint(twin, recipe, whereabouts(device_name(device)))
    with seeded(seed), progress(f"pretrain {options.backbone}", training.epochs) as advance:
        model = build_model(options.backbone, len(options.classes), size)
        start = checkpoint.load()
        result = fit(model, train_part, inner_part, training, seed, device, advance, start, checkpoint.keep)
    attempts = checkpoint.attempts(len(result.history))
    record = run_record(recipe, result, attempts, certificate=sha256(options.certificate))
    with whole_files(*files) as (run, history, weights):
        save_weights(model, weights)
        write_history(result, history)
        write_record(record, run)
    checkpoint.file.unlink(missing_ok=True)


def rates(options: Namespace) -> None:
    """Measure how fast the backbones of a study train here."""
    from sonogrid.cluster.rates import as_table, measure, settings
    from sonogrid.cluster.slurm import seconds_in_job

    before = seconds_in_job()
    study = parse_section(Study, options.study)
    with progress("rates", len(settings(study))) as advance:
        found = measure(study, options.seconds, options.threads, before, advance)
    write_csv(as_table(found), options.out)


def train(options: Namespace) -> None:
    """Train the cells of a job, then predict their inner and held-out patients."""
    from sonogrid.fits.cells import Job, train_cells

    first = dict(map(_first_weights, options.first_weights))
    job = Job(
        classes=tuple(options.classes),
        training=parse_section(Training, options.training),
        study_seed=options.seed,
        threads=options.threads,
        patients=options.patients,
        splits=options.splits,
        certificate=options.certificate,
        stores=_each("--stores and --indexes", options.modality, zip(options.stores, options.indexes, strict=False)),
        init_sources={init: source for (init, _), (source, _) in first.items()},
        weights={pair: Path(file) for pair, (_, file) in first.items() if file},
        input_sizes=_each("--input-size", options.backbone, options.input_size),
        results=options.results,
        checkpoints=options.checkpoints,
        together=options.together,
    )
    lacking = [
        f"{init}/{backbone}"
        for init, backbone in product(options.init, options.backbone)
        if (init, backbone) not in first
    ]
    if lacking:
        raise InputError([Problem("--first-weights", f"says nothing of {', '.join(lacking)}", "Add them")])
    axes = (options.backbone, options.init, options.modality, [0], options.fold)
    train_cells([Cell(*point) for point in product(*axes)], job)


def _each(flag: str, names: Sequence[str], values: Iterable[Value]) -> dict[str, Value]:
    """One value for each name, in the same order; raises InputError where the numbers differ."""
    given = list(values)
    if len(given) != len(names):
        what = f"gives {len(given)} values for {len(names)} names ({', '.join(names)})"
        raise InputError([Problem(flag, what, "Give one value for each, in the same order")])
    return dict(zip(names, given, strict=True))


def _first_weights(text: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """`INIT/BACKBONE=SOURCE[:FILE]` as ((init, backbone), (source, file or "")); anything else is an InputError."""
    name, _, origin = text.partition("=")
    init, _, backbone = name.partition("/")
    source, _, file = origin.partition(":")
    if not backbone or source not in ("random", "corpus", "timm"):
        what = "is not INIT/BACKBONE=SOURCE[:FILE] with SOURCE random, corpus or timm"
        raise InputError([Problem(f"--first-weights {text}", what, "Write it so")])
    return (init, backbone), (source, file)


def evaluate(options: Namespace) -> None:
    """Score every cell and write metrics.csv, effects.csv and the merged predictions.csv."""
    from sonogrid.cohort.manifest import load
    from sonogrid.evaluation.collect import collect
    from sonogrid.evaluation.measurements import effects, measure
    from sonogrid.splits import load_splits

    study = parse_section(Study, options.study)
    out = study.results
    found, grid = load(out / "cohort"), Grid.of(study)
    files = [Layout(out).cell_predictions(cell) for cell in grid.cells()]
    predictions = collect(files, grid, load_splits(out / "splits.csv"), found.patients, found.images)
    classes, settings = study.cohort.classes, study.statistics
    # All is computed before anything is written: an interruption in between would leave a part.
    metrics = measure(predictions, found.patients, classes, settings, study.seed)
    differences = effects(predictions, found.patients, classes, settings, study.seed)
    write_csv(metrics, out / "metrics.csv")
    write_csv(differences, out / "effects.csv")
    write_csv(predictions, out / "predictions.csv")


def tables(options: Namespace) -> None:
    """Write the tables in four formats."""
    from sonogrid.reporting.formats import write_table
    from sonogrid.reporting.tables import ablation_table, pretraining_effect_table, read_measurements

    study = parse_section(Study, options.study)
    out = study.results
    write_table(ablation_table(read_measurements(out / "metrics.csv"), study), out / "tables")
    if study.statistics.pretraining_effect is not None:
        write_table(pretraining_effect_table(read_measurements(out / "effects.csv"), study), out / "tables")


def figures(options: Namespace) -> None:
    """Draw every figure but the Grad-CAM panels."""
    from sonogrid.evaluation.metrics import pool_patients
    from sonogrid.evaluation.predictions import read_predictions
    from sonogrid.reporting import figures as draw
    from sonogrid.reporting.report import chosen_epochs, gather_history, gather_runs
    from sonogrid.reporting.tables import is_simulated, read_measurements

    study = parse_section(Study, options.study)
    out = study.results
    grid, metrics = Grid.of(study), read_measurements(out / "metrics.csv")
    simulated = is_simulated(metrics)
    patients = pool_patients(read_predictions(out / "predictions.csv"), study.cohort.classes)
    history, chosen = gather_history(out, grid), chosen_epochs(gather_runs(out, grid))
    drawn: dict[str, Callable[[], Figure]] = {
        "auc_heatmap": lambda: draw.auc_heatmap(metrics, study),
        "roc_curves": lambda: draw.roc_curves(patients, study, simulated),
        "confusion_matrices": lambda: draw.confusion_matrices(patients, study, simulated),
        "training_curves": lambda: draw.training_curves(history, chosen, study, simulated),
        "example_images": lambda: draw.example_images(first_images(study), study, simulated),
    }
    if study.statistics.pretraining_effect is not None:
        drawn["pretraining_effect"] = lambda: draw.pretraining_effect(read_measurements(out / "effects.csv"), study)
    with progress("figures", len(drawn)) as advance:
        for stem, figure in drawn.items():
            draw.save(figure(), out / "figures" / stem)
            advance(stem)


def explain(options: Namespace) -> None:
    """Draw the Grad-CAM panel of one backbone and init, and list what it shows."""
    from sonogrid.reporting.figures import save
    from sonogrid.reporting.gradcam import panel_figure
    from sonogrid.reporting.panels import make_panels

    study = parse_section(Study, options.study)
    count = len(study.cohort.classes) * len(study.explain.quantiles) * len(study.grid.modalities)
    with progress(f"explain {options.backbone} {options.init}", count) as advance:
        panels, listed, simulated = make_panels(study, options.backbone, options.init, advance)
    stem = study.results / "figures" / f"gradcam_{options.backbone}_{options.init}"
    save(panel_figure(panels, study, options.backbone, options.init, simulated), stem)
    write_csv(listed, stem.parent / f"{stem.name}.csv")


def report(options: Namespace) -> None:
    """Write the self-contained report."""
    from sonogrid.reporting.report import gather_results, write_report

    study = parse_section(Study, options.study)
    write_report(study, gather_results(study), study.results / "report.html")


def first_images(study: Study) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """The first canvas of the store for each class and modality: an example that nobody picked."""
    from sonogrid.cohort.manifest import labels_of
    from sonogrid.images.store import open_store

    labels = labels_of(study.results / "cohort" / "patients.csv")
    found: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for modality in study.grid.modalities:
        store = open_store(*(study.results / "images" / f"{modality}.{kind}" for kind in ("npy", "csv")))
        of_image = store.index["patient_id"].map(labels)
        for name in study.cohort.classes:
            rows = store.index.loc[of_image == name, "row"]
            if len(rows):
                found[name, modality] = store.pixels[rows.iloc[0]]
    return found
