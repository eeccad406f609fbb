"""The fit of one cell of the grid, and its predictions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from torch import nn

from sonogrid.config.study import Study
from sonogrid.fits.inputs import SPLITS, read_labels, read_splits, read_store
from sonogrid.fits.life import FitSpec
from sonogrid.fits.recipe import Recipe, cell_recipe
from sonogrid.grid import Cell, named
from sonogrid.layout import CELL_FILES, Layout, first_weights
from sonogrid.problems import InputError, Problem
from sonogrid.training.examples import FoldData, fold_data
from sonogrid.training.predict import predictions_by_part


def cell_spec(cell: Cell, study: Study, checkpoints: Path, threads: int) -> FitSpec:
    """Return the fit of a cell. Raise InputError for a file that is missing or damaged."""
    layout, recipe = Layout(study.results), cell_recipe(cell, study, threads)

    def tables(model: nn.Module) -> dict[str, pd.DataFrame]:
        predictions = predictions_by_part(model, _data(recipe, layout).predicted(), recipe["classes"])
        return {layout.cell_predictions(cell).name: _identified(predictions, cell)}

    return FitSpec(
        name=str(cell),
        recipe=recipe,
        training_key="training",
        first_weights=first_weights(study, cell.init, cell.backbone, cell.seed),
        parts=lambda: _data(recipe, layout).parts(),
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


def _data(recipe: Recipe, layout: Layout) -> FoldData:
    """Read what the examples of a cell are made from. Raise InputError where a part would have no image."""
    labels, splits = read_labels(layout.cohort.patients, recipe["classes"]), read_splits(layout.splits)
    unknown = set(splits["patient_id"]) - set(labels.index)
    if unknown:
        what = f"has {len(unknown)} patients that {layout.cohort.patients} does not have"
        raise InputError([Problem(str(layout.splits), what, SPLITS)])
    modality, fold = recipe["modality"], recipe["fold"]
    store = read_store(layout.cohort.store(modality), layout.cohort.index(modality))
    data = fold_data(recipe, store, labels, splits)
    for part in ("train", "inner", "test"):
        if not store.index["patient_id"].isin(data.members(part)).any():
            what = f"has no {modality} image in the {part} part of fold {fold}"
            raise InputError([Problem(str(layout.splits), what, SPLITS)])
    return data


def _identified(predictions: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return predictions with the axes of the cell in front."""
    identity = dict(named(cell))
    return predictions.assign(**identity)[[*identity, *predictions.columns]]
