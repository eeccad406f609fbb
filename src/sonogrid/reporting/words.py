"""Numbers and names as people read them, the same in tables, figures and report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

MINUS = "\N{MINUS SIGN}"
METHOD_NAMES = {"bca": "BCa", "percentile": "percentile"}

ResultRow = Mapping[str, Any] | pd.Series
"""A row of metrics or effects, by column name."""


def plain(value: float) -> str:
    """Return a value with three decimals."""
    return f"{value:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign, three decimals and a true minus sign; what rounds to zero has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def p_text(p: float) -> str:
    """Return a p value as journals print it; `not tested` for NaN."""
    if math.isnan(p):
        return "not tested"
    return "< 0.001" if p < 0.001 else plain(p)


def value_with_interval(row: ResultRow, number: Callable[[float], str]) -> str:
    """Return `value [low, high]`, the value of a row without interval method, or words where one is not defined."""
    if math.isnan(row["value"]):
        return "not defined"
    if math.isnan(row["low"]) and row["method"] == "":
        return number(row["value"])
    if math.isnan(row["low"]):
        return f"{number(row['value'])} [not defined]"
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 seed`, `3 seeds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def duration(seconds: float) -> str:
    """Return seconds as people read them: 42 s, 3 min 20 s, 5 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
