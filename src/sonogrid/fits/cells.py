"""The fit of one cell of the grid, and its predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from torch import nn

from sonogrid.config.study import Study
from sonogrid.fits.inputs import SPLITS, read_labels, read_splits, read_store
from sonogrid.fits.life import FitSpec
from sonogrid.fits.recipe import cell_recipe, input_size_of
from sonogrid.grid import Cell, named
from sonogrid.layout import CELL_FILES, Layout, first_weights
from sonogrid.problems import InputError, Problem
from sonogrid.training.examples import Examples, examples_of, members
from sonogrid.training.predict import predictions_of


def cell_spec(cell: Cell, study: Study, checkpoints: Path, threads: int) -> FitSpec:
    """Return the fit of a cell. Raise InputError for a file that is missing or damaged."""
    layout, classes = Layout(study.results), study.cohort.classes

    def part(name: str) -> Examples:
        return _part(cell, name, study)

    def tables(model: nn.Module, inner: Examples) -> dict[str, pd.DataFrame]:
        parts = {"inner": inner, "test": part("test")}
        rows = [_identified(predictions_of(model, seen, classes), cell, name) for name, seen in parts.items()]
        return {"predictions.csv": pd.concat(rows)}

    return FitSpec(
        name=str(cell),
        recipe=cell_recipe(cell, study, threads),
        training=study.training,
        training_key="training",
        first_weights=first_weights(study, cell.init, cell.backbone, cell.seed),
        parts=lambda: (part("train"), part("inner")),
        certificate=layout.cohort.certificate,
        folder=layout.cell(cell),
        files=CELL_FILES,
        checkpoint=cell_checkpoint(cell, study, checkpoints),
        tables=tables,
    )


def cell_checkpoint(cell: Cell, study: Study, checkpoints: Path) -> Path:
    """Return the file for the state of a cell's unfinished fit."""
    layout = Layout(study.results)
    return layout.checkpoint(layout.cell(cell), checkpoints)


def _part(cell: Cell, name: str, study: Study) -> Examples:
    """Return the images of one part of a cell's fold."""
    layout, classes = Layout(study.results), study.cohort.classes
    labels = read_labels(layout.cohort.patients, classes)
    patients = members(read_splits(layout.splits), cell.fold, name)
    unknown = sorted(set(patients) - set(labels.index))
    if unknown:
        what = f"has patients that {layout.cohort.patients} does not have, first {unknown[0]!r}"
        raise InputError([Problem(str(layout.splits), what, SPLITS)])
    store = read_store(layout.cohort.store(cell.modality), layout.cohort.index(cell.modality))
    examples = examples_of(store, cell.modality, labels[patients], classes, input_size_of(study, cell.backbone))
    if not len(examples):
        what = f"has no {cell.modality} image in the {name} part of fold {cell.fold}"
        raise InputError([Problem(str(layout.splits), what, SPLITS)])
    return examples


def _identified(predictions: pd.DataFrame, cell: Cell, part: str) -> pd.DataFrame:
    """Return predictions with the axes of the cell and the part in front."""
    identity = {**dict(named(cell)), "part": part}
    return predictions.assign(**identity)[[*identity, *predictions.columns]]
