"""What is kept of a picture, and how large its lesion is. All that this module imports decides a look (code.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.cohort.picture_files import open_mask
from sonogrid.cohort.sources import Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.images.axes import axes_mm
from sonogrid.images.boxes import blackened, crop, is_inside, moved, only
from sonogrid.images.colour_bar import find_bars
from sonogrid.images.frame import scan_area
from sonogrid.images.framing import Framing, layout_of
from sonogrid.images.messages import BarOutside, UnusableMask, other_size, outside
from sonogrid.images.views import view_of
from sonogrid.problems import InputError, Problem

Decode = Callable[[Path, Mapping[str, Any]], Picture]
"""What makes the picture of a file: its path, what decides its decoding -> H x W x 3."""


@dataclass(frozen=True)
class Looked:
    """What is seen of a source picture, and what is written of it."""

    width: int
    height: int
    framing: Framing
    axes_mm: tuple[float, float] | None
    """long and short axis of the lesion, where there is one and its scale is known"""
    mask: Picture | None
    """union of its masks, H x W of 0 and 255; None without a mask"""
    copy: Picture | None
    """the picture as a study with pseudonyms keeps it; None where none is kept"""


def look_at(source: Source, decode: Decode, config: CohortConfig, copied: bool) -> Looked:
    """Return what is seen of a source's picture and masks; `copied`: a copy without what is not kept is wanted.

    Raise InputError for a picture that cannot be decoded, UnusableMask, ValueError for boxes that are not inside the
    picture (BarOutside, if it is the colour bar of the device's layout), and TextRemains.
    """
    picture = decode(source.path, source.decoding)
    masks = masks_of(source, picture)
    framing = frame_picture(picture, source.modality, source.device, source.scan, config)
    height, width = picture.shape[:2]
    return Looked(
        width=width,
        height=height,
        framing=framing,
        axes_mm=lesion_axes(masks, framing, source.mm_per_pixel),
        mask=np.logical_or.reduce(masks).astype(np.uint8) * np.uint8(255) if masks else None,
        copy=blackened_outside(picture, framing, bars_to_keep(picture, framing.scan, source.device, config))
        if copied
        else None,
    )


def masks_of(source: Source, picture: Picture) -> list[Mask]:
    """Return the masks of a source. Raise UnusableMask with all that are damaged or not of the picture's size."""
    masks: list[Mask] = []
    problems: list[Problem] = []
    for path in source.masks:
        try:
            masks.append(open_mask(path))
        except InputError as error:
            problems += error.problems
            continue
        if masks[-1].shape != picture.shape[:2]:
            problems.append(other_size(path, masks[-1], source.origin, picture))
    if problems:
        raise UnusableMask(problems)
    return masks


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
        raise outside("scan area", scan, picture)
    if config.dual_view == "split":
        scan = view_of(picture, scan, modality, layout)
    if config.burned_in_text == "keep":
        return Framing(scan)
    # Here, as the recogniser takes seconds to load.
    from sonogrid.images.text import text_to_mask

    return Framing(scan, tuple(moved(box, scan.x0, scan.y0) for box in text_to_mask(crop(picture, scan))))


def bars_to_keep(picture: Picture, scan: Box, device: str, config: CohortConfig) -> list[Box]:
    """The colour bars that a copy of the picture keeps: that of the device's layout, else those found that have colour.

    Bars with readable text are left out, unless burned_in_text is keep. Raises BarOutside if the layout's bar is not
    inside the picture.
    """
    layout = layout_of(device, config.layouts)
    if layout is not None and layout.colour_bar is not None:
        bars = [Box(*layout.colour_bar)]
        if not is_inside(bars[0], picture):
            raise BarOutside(*outside("colour bar", bars[0], picture).args)
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


def lesion_axes(
    masks: Sequence[Mask], framing: Framing, mm_per_pixel: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Long and short axis in mm of the lesion inside the view that is kept, if there is one and its scale is known."""
    if not masks or mm_per_pixel is None:
        return None
    x0, y0, x1, y1 = framing.scan
    shown = np.logical_or.reduce(masks)[y0:y1, x0:x1]
    return axes_mm(shown, *mm_per_pixel) if shown.any() else None
