"""Which millimetres per pixel a scan can have; what is said beyond them is not believed. It decides no pixel."""

from __future__ import annotations

MM_RANGE = (0.001, 10.0)
"""mm per pixel that a scan can have: a linear probe has 0.02 to 0.3, a small copy of a deep scan 1 or more."""


def is_spacing(x: float, y: float) -> bool:
    """Return whether a pixel of a scan can be x mm wide and y mm high; False for NaN."""
    least, most = MM_RANGE
    return least <= x <= most and least <= y <= most
