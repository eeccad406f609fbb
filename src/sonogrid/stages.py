"""What each subcommand does: read its files, call the package, write its files.

Heavy imports stand inside the stages that need them: torch and timm take seconds, and most stages need neither.
"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel

from sonogrid.config import CohortConfig, Splits, Study, Training, json_schema
from sonogrid.config_checks import load_study, parse_section
from sonogrid.console import progress
from sonogrid.files import whole_files, write_csv, write_json
from sonogrid.grid import Cell, Grid, cell_folder, derive_seed
from sonogrid.problems import InputError, Problem

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import nn

    from sonogrid.training import Fit


def check(options: Namespace) -> None:
    """Validate the merged configuration files and print the grid."""
    from snakemake.utils import update_config

    merged: dict[str, Any] = {}
    for path in options.config:
        update_config(merged, read_config(path))
    study = load_study(merged)
    print(f"Study {study.study}: {Grid.of(study).describe()}")


def read_config(path: Path) -> dict[str, Any]:
    """One configuration file; raises InputError where it is not YAML or not a mapping."""
    import yaml

    remedy = "Correct it; see the commented config.yaml that ships with sonogrid"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError([Problem(str(path), f"is not YAML in UTF-8 ({reason})", remedy)]) from error
    if not isinstance(content, dict):
        raise InputError([Problem(str(path), "does not hold `key: value` lines", remedy)])
    return content


def schema(_: Namespace) -> None:
    """Print the JSON schema of config.yaml."""
    import json

    print(json.dumps(json_schema(), indent=2, sort_keys=True))


def cohort(options: Namespace) -> None:
    """Read or simulate a cohort."""
    from sonogrid.cohort import READERS, read_cohort
    from sonogrid.cohort.manifest import check_apart, load, save

    config = parse_section(CohortConfig, options.cohort)
    seed = derive_seed(options.seed, "cohort", options.name)
    with progress(f"cohort ({config.reader})", READERS[config.reader].steps(config)) as advance:
        found = read_cohort(config, seed, options.out, options.workers, advance)
    if options.apart is not None:
        check_apart(found, load(options.apart.parent))
    save(found, options.out)


def images(options: Namespace) -> None:
    """Build the store of one modality."""
    from sonogrid.cohort.manifest import load
    from sonogrid.images.store import build

    manifest = load(options.manifest.parent).images
    rows = manifest[manifest["modality"] == options.modality]
    with progress(f"images {options.modality}", len(rows)) as advance:
        build(rows, options.size, options.store, options.index, advance, options.workers)


def splits(options: Namespace) -> None:
    """Divide patients into folds and parts."""
    from sonogrid.cohort.manifest import load
    from sonogrid.splits import make_splits

    config = parse_section(Splits, options.splits)
    found = load(options.cohort)
    table = make_splits(found.patients, found.images, config, derive_seed(options.seed, "splits"))
    write_csv(table, options.out)


def pretrain(options: Namespace) -> None:
    """Train one backbone on a corpus."""
    import torch

    from sonogrid.examples import examples_of, joined
    from sonogrid.images.store import open_store
    from sonogrid.models import best_device, build_model, seeded
    from sonogrid.pretraining import divide
    from sonogrid.training import fit

    started = time.perf_counter()
    torch.set_num_threads(options.threads)
    (options.out / "run.json").unlink(missing_ok=True)
    seed = derive_seed(options.seed, "pretrain", options.init, options.backbone)
    recipe = parse_section(Training, options.training)
    labels = labels_of(options.patients)
    parts = divide(labels, options.inner_fraction, derive_seed(options.seed, "pretrain", options.init))
    stores = [open_store(npy, csv) for npy, csv in zip(options.stores, options.indexes, strict=True)]
    train_part, inner_part = (
        joined(
            [
                examples_of(store, modality, part, options.classes, options.input_size)
                for store, modality in zip(stores, options.modalities, strict=True)
            ]
        )
        for part in parts
    )
    with seeded(seed), progress(f"pretrain {options.backbone}", recipe.epochs) as advance:
        model = build_model(options.backbone, len(options.classes), options.input_size)
        result = fit(model, train_part, inner_part, recipe, seed, best_device(), advance)
    identity = {
        "backbone": options.backbone,
        "init": options.init,
        "modalities": options.modalities,
        "inner_fraction": options.inner_fraction,
    }
    inputs = [options.patients, *options.indexes]
    record = identity | run_record(options, recipe, seed, result, started, inputs)
    files = (options.out / name for name in ("run.json", "history.csv", "weights.safetensors"))
    with whole_files(*files) as (run, history, weights):
        write_fit(model, result, record, weights, history, run)


def train(options: Namespace) -> None:
    """Train one cell, then predict its inner and held-out patients."""
    import torch

    from sonogrid.examples import examples_of
    from sonogrid.images.store import open_store
    from sonogrid.inference import predictions_of
    from sonogrid.models import best_device, fingerprint, first_model, seeded
    from sonogrid.splits import load_splits
    from sonogrid.training import fit

    started = time.perf_counter()
    torch.set_num_threads(options.threads)
    (options.out / "run.json").unlink(missing_ok=True)
    cell = Cell(options.backbone, options.init, options.modality, options.fold)
    seed = cell.seed(options.seed)
    recipe = parse_section(Training, options.training)
    labels, split = labels_of(options.patients), load_splits(options.splits)
    store = open_store(options.store, options.index)

    def part(name: str) -> Any:
        members = split.loc[(split["fold"] == cell.fold) & (split["part"] == name), "patient_id"]
        return examples_of(store, cell.modality, labels[members], options.classes, options.input_size)

    with seeded(seed), progress(f"train {cell.backbone} fold {cell.fold}", recipe.epochs) as advance:
        model = first_model(
            options.init_source, cell.backbone, len(options.classes), options.input_size, options.weights
        )
        first = fingerprint(model)
        inner = part("inner")
        result = fit(model, part("train"), inner, recipe, seed, best_device(), advance)
    predictions = pd.concat(
        [
            predictions_of(model, examples, cell, name, options.classes)
            for name, examples in (("inner", inner), ("test", part("test")))
        ]
    )
    inputs = [options.patients, options.splits, options.index, *([options.weights] if options.weights else [])]
    identity = asdict(cell) | {"init_source": options.init_source, "first_weights": first}
    record = identity | run_record(options, recipe, seed, result, started, inputs)
    files = (options.out / name for name in ("run.json", "predictions.csv", "history.csv", "model.safetensors"))
    with whole_files(*files) as (run, predicted, history, weights):
        write_csv(predictions, predicted)
        write_fit(model, result, record, weights, history, run)


def labels_of(patients: Path) -> pd.Series[str]:
    """Class name of every patient of a patients.csv, by patient_id."""
    table = pd.read_csv(patients, dtype=str, keep_default_na=False)
    return table.set_index("patient_id")["label"]


def run_record(
    options: Namespace, recipe: BaseModel, seed: int, result: Fit, started: float, inputs: Sequence[Path]
) -> dict[str, Any]:
    """What run.json says of a fit: enough for anyone to redo it."""
    import torch

    from sonogrid.models import best_device
    from sonogrid.provenance import circumstances

    device = best_device()
    return {
        "classes": options.classes,
        "input_size": options.input_size,
        "training": recipe.model_dump(mode="json"),
        "study_seed": options.seed,
        "seed": seed,
        "threads": options.threads,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "seconds": round(time.perf_counter() - started, 3),
        "epochs_run": len(result.history),
        "chosen_epoch": result.chosen_epoch,
        **circumstances(inputs),
    }


def write_fit(model: nn.Module, result: Fit, record: dict[str, Any], weights: Path, history: Path, run: Path) -> None:
    """Write what a fit leaves: the weights, one row an epoch, and the record."""
    from sonogrid.models import save_weights

    save_weights(model, weights)
    write_csv(pd.DataFrame(result.history), history)
    write_json(record, run)


def evaluate(options: Namespace) -> None:
    """Score every cell and write metrics.csv, effects.csv and the merged predictions.csv."""
    from sonogrid.cohort.manifest import load
    from sonogrid.collect import collect
    from sonogrid.evaluate import effects, measure
    from sonogrid.splits import load_splits

    study = parse_section(Study, options.study)
    out = study.results
    found, grid = load(out / "cohort"), Grid.of(study)
    files = [cell_folder(out, cell) / "predictions.csv" for cell in grid.cells()]
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
    from sonogrid.formats import write_table
    from sonogrid.tables import ablation_table, pretraining_effect_table, read_measurements

    study = parse_section(Study, options.study)
    out = study.results
    write_table(ablation_table(read_measurements(out / "metrics.csv"), study), out / "tables")
    if study.statistics.pretraining_effect is not None:
        write_table(pretraining_effect_table(read_measurements(out / "effects.csv"), study), out / "tables")


def figures(options: Namespace) -> None:
    """Draw every figure but the Grad-CAM panels."""
    from sonogrid import figures as draw
    from sonogrid.metrics import pool_patients
    from sonogrid.predictions import read_predictions
    from sonogrid.report import chosen_epochs, gather_history, gather_runs
    from sonogrid.tables import is_simulated, read_measurements

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
    from sonogrid.explain import panel_figure
    from sonogrid.figures import save
    from sonogrid.panels import make_panels

    study = parse_section(Study, options.study)
    count = len(study.cohort.classes) * len(study.explain.quantiles) * len(study.grid.modalities)
    with progress(f"explain {options.backbone} {options.init}", count) as advance:
        panels, listed, simulated = make_panels(study, options.backbone, options.init, advance)
    stem = study.results / "figures" / f"gradcam_{options.backbone}_{options.init}"
    save(panel_figure(panels, study, options.backbone, options.init, simulated), stem)
    write_csv(listed, stem.parent / f"{stem.name}.csv")


def report(options: Namespace) -> None:
    """Write the self-contained report."""
    from sonogrid.report import gather_results, write_report

    study = parse_section(Study, options.study)
    write_report(study, gather_results(study), study.results / "report.html")


def first_images(study: Study) -> dict[tuple[str, str], NDArray[np.uint8]]:
    """The first canvas of the store for each class and modality: an example that nobody picked."""
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
