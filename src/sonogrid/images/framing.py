"""The scan area and the masked boxes of a picture as a value, and as columns of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sonogrid.arrays import Box
from sonogrid.config.cohort import ScreenLayout
from sonogrid.images.boxes import boxes_as_text, boxes_from_text

ANY_DEVICE = "*"
"""Entry of `layouts` for devices without one of their own."""


@dataclass(frozen=True)
class Framing:
    """`scan` is kept, without the boxes `masked` inside it; all in pixels of the source picture."""

    scan: Box
    masked: tuple[Box, ...] = ()


def layout_of(device: str, layouts: Mapping[str, ScreenLayout]) -> ScreenLayout | None:
    """The layout rule of a device, or the one for any device, or None."""
    return layouts.get(device, layouts.get(ANY_DEVICE))


SCAN = ("scan_x0", "scan_y0", "scan_x1", "scan_y1")


def framing_columns(framing: Framing) -> dict[str, object]:
    """A framing as columns of a manifest."""
    return {**dict(zip(SCAN, framing.scan, strict=True)), "masked": boxes_as_text(framing.masked)}


def framing_of(row: Mapping[str, Any]) -> Framing:
    """The framing in a row of a manifest."""
    return Framing(Box(*(int(row[side]) for side in SCAN)), boxes_from_text(row["masked"]))
