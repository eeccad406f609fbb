"""What is kept of a picture: the scan area, of two views the one that shows the modality, and no text inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sonogrid.arrays import Box, Picture
from sonogrid.config.base import Modality
from sonogrid.config.cohort import CohortConfig, Layout
from sonogrid.images.boxes import blackened, boxes_as_text, boxes_from_text, crop, is_inside, moved, only
from sonogrid.images.colour_bar import find_bars
from sonogrid.images.frame import scan_area
from sonogrid.images.views import view_of

ANY_DEVICE = "*"
"""Entry of `layouts` for devices without one of their own."""


@dataclass(frozen=True)
class Framing:
    """`scan` is kept, without the boxes `masked` inside it; all in pixels of the source picture."""

    scan: Box
    masked: tuple[Box, ...] = ()


def layout_of(device: str, layouts: dict[str, Layout]) -> Layout | None:
    """The layout rule of a device, or the one for any device, or None."""
    return layouts.get(device, layouts.get(ANY_DEVICE))


def frame_picture(picture: Picture, modality: str, device: str, told: Box | None, config: CohortConfig) -> Framing:
    """Frame an H x W x 3 picture; the scan area is that of the device's layout, else as told, else detected.

    Raises ValueError if a given scan area is not inside the picture, and TextRemains, which is one too, if text
    can still be read after all that was found is black.
    """
    layout = layout_of(device, config.layouts)
    scan = Box(*layout.scan) if layout is not None and layout.scan is not None else told
    if scan is None:
        scan = scan_area(picture)
    elif not is_inside(scan, picture):
        height, width = picture.shape[:2]
        raise ValueError(f"scan area {tuple(scan)} is not inside a picture of {width} x {height} pixels")
    if config.dual_view == "split":
        scan = view_of(picture, scan, cast(Modality, modality), layout)
    if config.burned_in_text == "keep":
        return Framing(scan)
    # Here, as the recogniser takes seconds to load.
    from sonogrid.images.text import text_to_mask

    return Framing(scan, tuple(moved(box, scan.x0, scan.y0) for box in text_to_mask(crop(picture, scan))))


def bars_to_keep(picture: Picture, scan: Box, device: str, config: CohortConfig) -> list[Box]:
    """The colour bars that a copy of the picture keeps: that of the device's layout, else those found that have colour.

    Bars with readable text are left out, unless burned_in_text is keep. Raises ValueError if the layout's bar is not
    inside the picture.
    """
    layout = layout_of(device, config.layouts)
    if layout is not None and layout.colour_bar is not None:
        bars = [Box(*layout.colour_bar)]
        if not is_inside(bars[0], picture):
            height, width = picture.shape[:2]
            raise ValueError(f"colour bar {tuple(bars[0])} is not inside a picture of {width} x {height} pixels")
    else:
        bars = [bar.box for bar in find_bars(picture, scan) if not bar.grey]
    if config.burned_in_text == "keep":
        return bars
    # Here, as the recogniser takes seconds to load.
    from sonogrid.images.text import find_text

    return [box for box in bars if not find_text(crop(picture, box))]


def blackened_outside(picture: Picture, framing: Framing, bars: Sequence[Box]) -> Picture:
    """The picture with its scan area and colour bars alone, and without the text in them."""
    return blackened(only(picture, [framing.scan, *bars]), framing.masked)


SCAN = ("scan_x0", "scan_y0", "scan_x1", "scan_y1")


def framing_columns(framing: Framing) -> dict[str, object]:
    """A framing as columns of a manifest."""
    return {**dict(zip(SCAN, framing.scan, strict=True)), "masked": boxes_as_text(framing.masked)}


def framing_of(row: Mapping[str, Any]) -> Framing:
    """The framing in a row of a manifest."""
    return Framing(Box(*(int(row[side]) for side in SCAN)), boxes_from_text(row["masked"]))
