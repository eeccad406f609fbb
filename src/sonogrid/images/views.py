"""Two views in one picture: which part of the scan area shows the modality.

Two views are seen by what scanners do: the same scan is shown twice, grey and with colour over it. So the speckle
of one half repeats in the other at a fixed distance, and colour is in one of them only. B-mode is then the view
without colour, elastography and colour Doppler the one with it. Where this is not seen the scan area is kept whole,
as it is where both views are grey: nobody said which of them is meant, unless the device has a layout.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonogrid.arrays import Box, Picture
from sonogrid.config.cohort import ScreenLayout
from sonogrid.config.modalities import MODALITIES
from sonogrid.images.boxes import crop, moved
from sonogrid.images.frame import DARK

Direction = Literal["side_by_side", "stacked"]

COLOURED = 32
"""Range of a pixel's channels from which it counts as coloured; dimmer tints are left by JPEG."""
SPECKS = 1e-4
"""Share of coloured pixels of a picture below which it counts as grey."""
ELSEWHERE = 0.03
"""Share of all coloured pixels that may lie in the view without colour: writing, marks, fringes of JPEG."""
BESIDE = 0.15
"""The same for a half of the scan area, which may hold more than its view: coloured writing, a colour bar."""
RANGE = (0.35, 0.62)
"""The distance of the views, as a share of the scan area."""
LOOSE = 0.03
"""Share of the distance by which the views may end before the scan area does; else they end where they are alike."""
REPEATS = 0.35
"""Correlation of speckle from which two views show one scan."""
SAME = 0.5
"""Correlation from which a column is the same in both views."""
ROWS = 64
"""At most so many lines of a picture are compared."""
SMALLEST = 64
"""Scan areas below this width hold no two views."""


class Views(NamedTuple):
    """Two views of one scan, in pixels of the picture, in reading order; they are equally large."""

    first: Box
    second: Box


def view_of(picture: Picture, scan: Box, modality: str, layout: ScreenLayout | None = None) -> Box:
    """The part of the scan area that shows the modality: one of two views, or all of it.

    A layout that names its views and says where the second begins is followed for every picture of a modality that it
    names; without that place the views are still detected, and a picture with one view is kept whole.
    """
    if layout is not None and layout.views is not None:
        if modality not in layout.views:
            return scan
        views = (
            find_views(picture, scan, layout.direction)
            if layout.at is None
            else _told_views(picture, scan, layout.direction, layout.at)
        )
        return scan if views is None else views[layout.views.index(modality)]
    tint = _tint(crop(picture, scan))
    for direction in ("side_by_side", "stacked"):
        coloured = _coloured_half(tint, direction)
        if coloured is None:
            continue
        views = find_views(picture, scan, direction)
        if views is not None and _one_is_grey(tint, scan, views, coloured):
            return views[coloured if MODALITIES[modality].view == "coloured" else 1 - coloured]
    return scan


def find_views(picture: Picture, scan: Box, direction: Direction) -> Views | None:
    """Two views that show one scan in the given direction, by the repetition of its speckle; None if there are none."""
    area = crop(picture, scan)
    length = area.shape[1] if direction == "side_by_side" else area.shape[0]
    if length < SMALLEST:
        return None
    found = _repetition(area if direction == "side_by_side" else area.transpose(1, 0, 2))
    if found is None:
        return None
    start, extent, distance = found
    x0, y0, x1, y1 = scan
    if direction == "side_by_side":
        first = Box(x0 + start, y0, x0 + start + extent, y1)
        return Views(first, moved(first, distance, 0))
    first = Box(x0, y0 + start, x1, y0 + start + extent)
    return Views(first, moved(first, 0, distance))


def _told_views(picture: Picture, scan: Box, direction: Direction, at: float) -> Views | None:
    """Both parts of the scan area, the first without the black gap at its end; None if it is one pixel wide."""
    x0, y0, x1, y1 = scan
    across = direction == "side_by_side"
    length = x1 - x0 if across else y1 - y0
    if length < 2:
        return None
    begin = min(max(round(at * length), 1), length - 1)
    lit = crop(picture, scan).max(axis=(0, 2) if across else (1, 2))[:begin] > DARK
    end = int(np.flatnonzero(lit)[-1]) + 1 if lit.any() else begin
    if across:
        return Views(Box(x0, y0, x0 + end, y1), Box(x0 + begin, y0, x1, y1))
    return Views(Box(x0, y0, x1, y0 + end), Box(x0, y0 + begin, x1, y1))


def _tint(area: Picture) -> NDArray[np.bool_]:
    """Where an area has colour."""
    import cv2

    red, green, blue = cv2.split(area)
    brightest, darkest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return np.asarray(cv2.subtract(brightest, darkest) >= COLOURED)


def _coloured_half(tint: NDArray[np.bool_], direction: Direction) -> int | None:
    """Which half holds the colour, 0 or 1; None if there is none or it is in both."""
    counts = tint.sum(axis=0 if direction == "side_by_side" else 1)
    total = int(counts.sum())
    if total <= SPECKS * tint.size:
        return None
    # Without the middle, where a coloured view may begin a little early.
    low, high = (round(share * len(counts)) for share in RANGE)
    first, second = int(counts[:low].sum()), int(counts[high:].sum())
    if min(first, second) > BESIDE * total:
        return None
    return int(second > first)


def _one_is_grey(tint: NDArray[np.bool_], scan: Box, views: Views, coloured: int) -> bool:
    grey = views[1 - coloured]
    inside = tint[grey.y0 - scan.y0 : grey.y1 - scan.y0, grey.x0 - scan.x0 : grey.x1 - scan.x0]
    return bool(inside.sum() <= ELSEWHERE * tint.sum())


def _repetition(area: Picture) -> tuple[int, int, int] | None:
    """Columns that are repeated: the first, how many, and how far from there they begin again; None if none are.

    The correlation coefficient of each distance is found for all at once by the Fourier transform along rows.
    """
    import cv2

    speckle = _speckle(area)
    width = speckle.shape[1]
    size = cv2.getOptimalDFTSize(2 * width)
    spectrum = np.fft.rfft(speckle, size, axis=1)
    together = np.fft.irfft(np.square(np.abs(spectrum)).sum(axis=0), size)[:width]
    energy = np.square(speckle).sum(axis=0, dtype=np.float64)
    before = np.concatenate([[0.0], np.cumsum(energy)])
    first, last = (round(share * width) for share in RANGE)
    distances = np.arange(first, last + 1)
    both = before[width - distances] * (before[width] - before[distances])
    alike = together[distances] / np.sqrt(np.maximum(both, 1e-9))
    if alike.max() < REPEATS:
        return None
    distance = int(distances[alike.argmax()])
    product = (speckle[:, :-distance] * speckle[:, distance:]).sum(axis=0)
    column = product / np.sqrt(np.maximum(energy[:-distance] * energy[distance:], 1e-9))
    return *_extent(column >= SAME, distance), distance


def _extent(same: NDArray[np.bool_], distance: int) -> tuple[int, int]:
    """The first of the columns that are the same in both views, and how many there are."""
    most = min(distance, len(same))
    # Single columns are alike by chance.
    alike = same[:-2] & same[1:-1] & same[2:]
    if not alike.any():
        return 0, most
    start, end = int(alike.argmax()), len(alike) - int(alike[::-1].argmax()) + 2
    if start <= LOOSE * distance and len(same) - end <= LOOSE * distance:
        return 0, most
    return start, min(end - start, distance)


def _speckle(area: Picture) -> NDArray[np.float32]:
    """Fine structure of equal contrast everywhere, so that an overlay that dims it does not matter."""
    import cv2

    step = max(1, area.shape[0] // ROWS)
    level = area[::step].mean(axis=2, dtype=np.float32)
    fine = level - cv2.blur(level, (7, 7))
    # A running sum may end a little below 0.
    contrast = np.sqrt(np.maximum(cv2.blur(np.square(fine), (15, 15)), 0)) + np.float32(2)
    return np.asarray(fine / contrast, dtype=np.float32)
