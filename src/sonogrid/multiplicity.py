"""Corrections of p values for the number of tests in a family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def holm(p: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return Holm's step-down adjustment of a family of p values (n,); NaN stays NaN and does not count as a test.

    Holm (1979, Scandinavian Journal of Statistics 6:65).
    """
    raw = np.asarray(p, dtype=np.float64)
    tests = np.flatnonzero(np.isfinite(raw))
    order = tests[np.argsort(raw[tests], kind="stable")]
    steps = raw[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(raw.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
