"""Reading predictions.csv: ids stay text and numbers exactly what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sonogrid.grid import AXES, NUMBERED
from sonogrid.problems import InputError, Problem

NO_NUMBER = -1
"""Fold or seed that is not a whole number from 0; it is in no grid."""


def read_predictions(path: Path) -> pd.DataFrame:
    """Return a predictions.csv: identity as text (`007`, `NA`), seed and fold as int64, scores as float64.

    A seed or fold that is not a whole number becomes NO_NUMBER, a score that is not a number NaN. Raise InputError if
    the file was made by version 0.1, which had no seeds.
    """
    table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    refuse_without_seed(table, str(path))
    scores = [name for name in table.columns if str(name).startswith(("logit_", "p_"))]
    numbered = [axis for axis in NUMBERED if axis in table.columns]
    return table.assign(**table[scores].map(exact_number), **table[numbered].apply(whole_numbers))


def refuse_without_seed(table: pd.DataFrame, where: str) -> None:
    """Raise InputError if a table of predictions has every axis but the seed, as those of version 0.1."""
    if [axis for axis in AXES if axis not in table.columns] == ["seed"]:
        what = "has no column seed, so it was made by version 0.1"
        remedy = "Train its cell again, into another results folder than that of version 0.1"
        raise InputError([Problem(where, what, remedy)])


def exact_number(value: Any) -> float:
    """Return the number exactly as it was written, which read_csv does not promise; NaN if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def whole_numbers(column: pd.Series[Any]) -> pd.Series[int]:
    """Return the numbers of an axis as int64; NO_NUMBER for what is not written in up to 18 digits."""
    text = column.astype("str")
    return text.where(text.str.fullmatch(r"[0-9]{1,18}"), str(NO_NUMBER)).astype("int64")
