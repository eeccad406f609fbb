"""The control: one file for both sides of a comparison, copied and run outside the package.

If it comes out slower or faster on one side, the sides were not treated alike, and nothing was measured.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np


def work() -> float:
    """Compute in Python, in the cache and in memory, for some 1.5 ms."""
    square = np.arange(40_000, dtype=np.float64).reshape(200, 200) / 40_000
    total = float(sum(number % 7 for number in range(40_000)))
    total += float((square @ square).sum())
    return total + float(np.zeros(400_000).sum())


def test_control(benchmark: Any) -> None:
    """Time `work`; say which package the process would import."""
    expected = work()
    assert benchmark.pedantic(work, rounds=40) == expected
    package = importlib.util.find_spec("sonogrid")
    benchmark.extra_info["package"] = None if package is None else package.origin
