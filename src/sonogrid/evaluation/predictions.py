"""Reading predictions.csv: ids stay text and numbers exactly what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def read_predictions(path: Path) -> pd.DataFrame:
    """A predictions.csv: identity as text (`007`, `NA`), fold as int64 (-1 if it is none), scores as float64."""
    table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    scores = [name for name in table.columns if str(name).startswith(("logit_", "p_"))]
    exact = table.assign(**table[scores].map(exact_number))
    if "fold" in table.columns:
        exact = exact.assign(fold=pd.to_numeric(table["fold"], errors="coerce").fillna(-1).astype("int64"))
    return exact


def exact_number(value: Any) -> float:
    """The number exactly as it was written, which read_csv does not promise; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
