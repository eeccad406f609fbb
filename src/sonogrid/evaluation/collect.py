"""Gather the predictions of every cell, and refuse gaps, doubles and leaks instead of averaging over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.evaluation.predictions import exact_number, read_predictions, refuse_without_seed, whole_numbers
from sonogrid.grid import AXES, NUMBERED, Cell, Grid
from sonogrid.problems import InputError, Problems

ROW = ["part", "image_id", "patient_id", "label"]
"""Columns of a row beside those of its cell and the scores."""
TEXTS = [*(axis for axis in AXES if axis not in NUMBERED), *ROW]
ALL_FOLDS = [axis for axis in AXES if axis != "fold"]
"""What one cross-validation is: its folds score every image once."""


def collect(
    sources: Iterable[Path | pd.DataFrame],
    grid: Grid,
    splits: pd.DataFrame,
    patients: pd.DataFrame,
    manifest: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Merge the predictions of all cells into one table of test rows, in the order of the grid.

    sources are files or tables as docs/files.md describes them. Raise InputError that names, all at once, every file
    of version 0.1, every missing, double or unknown cell, every image missing from a cell or twice in the folds of a
    configuration and seed, every label that patients.csv does not confirm, every patient scored in a fold whose test
    part does not hold them, and every logit that is not finite. Which images a modality has is read from `manifest`;
    without it, from the predictions of all cells of the modality, inner parts included.
    """
    problems = Problems()
    tables = list(_read(sources, problems))
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*AXES, *ROW, "file"])
    cells = pd.MultiIndex.from_frame(pd.DataFrame(list(grid.cells()))[AXES])
    _check_cells(rows, cells, problems)
    rows = rows[pd.MultiIndex.from_frame(rows[AXES]).isin(cells)]
    test = rows[rows["part"] == "test"]
    source = rows if manifest is None else manifest[manifest["modality"].isin(grid.texts("modality"))]
    held_out = _held_out(splits, source, problems)
    _check_rows(test, held_out, patients, problems)
    _check_coverage(rows, source, held_out, problems)
    problems.raise_if_any()
    order = cells.get_indexer(pd.MultiIndex.from_frame(test[AXES]))
    test = test.assign(order=order).sort_values(["order", "patient_id", "image_id"], ignore_index=True)
    return test.drop(columns=["order", "file"])


def _read(sources: Iterable[Path | pd.DataFrame], problems: Problems) -> Iterator[pd.DataFrame]:
    """Yield the tables that can be used, ids as text, with their name in the column `file`."""
    logits: list[str] = []
    for number, source in enumerate(sources, start=1):
        name = f"predictions table {number}" if isinstance(source, pd.DataFrame) else str(source)
        try:
            table = source if isinstance(source, pd.DataFrame) else read_predictions(source)
            refuse_without_seed(table, name)
        except InputError as refusal:
            problems.found += refusal.problems
            continue
        except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            problems.add(name, f"cannot be read ({error})", "Train the cell again")
            continue
        lacking = [column for column in [*AXES, *ROW] if column not in table]
        logits = logits or _logits(table)
        if lacking or not logits or _logits(table) != logits:
            what = f"lacks the columns {', '.join(lacking)}" if lacking else "has other logit columns"
            problems.add(name, what, "Train the cell again with the classes of this study")
            continue
        numbers = [column for column in table if column in logits or str(column).startswith("p_")]
        table = table.assign(**table[numbers].map(exact_number))
        table = table.assign(**table[list(NUMBERED)].apply(whole_numbers))
        yield table.astype(dict.fromkeys(TEXTS, "str")).assign(file=name)


def _logits(table: pd.DataFrame) -> list[str]:
    return [column for column in map(str, table.columns) if column.startswith("logit_")]


def _check_cells(rows: pd.DataFrame, cells: pd.MultiIndex, problems: Problems) -> None:
    files = {cell: sorted(set(group["file"])) for cell, group in rows.groupby(AXES, sort=False)}
    for cell in cells:
        if cell not in files:
            problems.add(str(_cell(cell)), "has no predictions", "Train it")
        elif len(files[cell]) > 1:
            problems.add(str(_cell(cell)), f"is in {' and '.join(files[cell])}", "Remove all but one")
    for cell in files:
        if cell not in cells:
            problems.add(str(_cell(cell)), f"in {files[cell][0]} is not in the grid", "Leave the file out")


def _cell(key: Any) -> Cell:
    """The cell of a group of rows by AXES."""
    return Cell(**dict(zip(AXES, key, strict=True)))


def _held_out(splits: pd.DataFrame, source: pd.DataFrame, problems: Problems) -> dict[str, int]:
    """The fold that tests each patient: exactly one for every patient of `source`."""
    held = splits[splits["part"] == "test"].astype({"patient_id": str, "fold": int})
    again = sorted(set(held["patient_id"][held["patient_id"].duplicated()]))
    never = sorted(set(source["patient_id"].astype(str)).difference(held["patient_id"]))
    for ids, how in ((again, "in two folds"), (never, "in no fold")):
        if ids:
            problems.add("splits.csv", f"tests {how}: {', '.join(ids)}", "Make the splits again")
    return dict(zip(held["patient_id"], held["fold"], strict=True))


def _check_rows(test: pd.DataFrame, held_out: dict[str, int], patients: pd.DataFrame, problems: Problems) -> None:
    """Every row has the patient's label, the fold that held the patient out, and finite logits, once."""
    labels = patients.astype({"patient_id": str, "label": str}).set_index("patient_id")["label"]
    mislabelled = test["patient_id"].map(labels) != test["label"]
    leaked = test["patient_id"].map(held_out) != test["fold"]
    twice = test.duplicated([*ALL_FOLDS, "image_id"])
    finite = np.isfinite(test[_logits(test)].to_numpy(dtype=np.float64)).all(axis=1)
    for bad, unit, what, remedy in (
        (mislabelled, "patient_id", "label is not that of patients.csv for", ""),
        (leaked, "patient_id", "splits.csv does not hold out in this fold", "They may be leaked. "),
        (twice, "image_id", "has a second row for", ""),
        (~finite, "image_id", "logits are not finite for", "A lower training.learning_rate may help. "),
    ):
        for cell, rows in test[bad].groupby(AXES, sort=False):
            ids = ", ".join(sorted(set(rows[unit])))
            where = f"{rows['file'].iloc[0]}, {_cell(cell)}"
            problems.add(where, f"{what} {unit} {ids}", f"{remedy}Train the cell again")


def _check_coverage(rows: pd.DataFrame, source: pd.DataFrame, held_out: dict[str, int], problems: Problems) -> None:
    """Every cell scores every image that `source` has of its modality and fold, and none that it lacks."""
    source = source.astype({"image_id": str, "patient_id": str})
    patient = dict(zip(source["image_id"], source["patient_id"], strict=True))
    of_modality = {str(modality): set(of_one["image_id"]) for modality, of_one in source.groupby("modality")}
    for key, of_cell in rows.groupby(AXES, sort=False):
        cell = _cell(key)
        scored = set(of_cell["image_id"][of_cell["part"] == "test"])
        known = of_modality.get(cell.modality, set())
        lost = {image for image in known - scored if held_out.get(patient[image]) == cell.fold}
        for images, what in ((lost, "lacks test rows for"), (scored - known, "scores, but the manifest lacks,")):
            if images:
                ids = ", ".join(f"{image} of patient {patient.get(image, 'unknown')}" for image in sorted(images))
                problems.add(str(cell), f"{what} {ids}", "Train the cell again")
