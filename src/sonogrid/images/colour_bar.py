"""The colour bars of a screen: where they are, and the colours along them from the low to the high end.

A bar is a narrow rectangle that is flat across and changes along all its length, without a jump. Speckle is nowhere
flat, and lines of text are not as long.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sonogrid.arrays import Box, Colours, Picture
from sonogrid.config.cohort import ScreenLayout
from sonogrid.images.boxes import crop, is_inside
from sonogrid.images.messages import different_bars, grey_bar, no_bar, outside

Orientation = Literal["vertical", "horizontal"]

LENGTH = 48
"""Shortest bar in pixels."""
WIDTH = (6, 64)
"""Narrowest and widest bar in pixels."""
SLENDER = 2.0
"""Minimum ratio of length to width of a bar."""
FLAT = 12
"""Difference between neighbours across the bar up to which it is flat; JPEG leaves so much."""
ROW = 32
"""Range of a row across the bar up to which it is flat."""
CHANGE = 4
"""Difference over 9 pixels along the bar from which it changes."""
STEP = 24
"""Difference between neighbours along the bar that is never a jump."""
EDGE = 24
"""Median difference of a bar from what is beside it."""
JUMP = 64
"""Difference between neighbours along the bar that is no step: bars have a black line in the middle."""
PAUSE = 13
"""Longest stretch of one colour, about, inside a bar."""
MARK = 2
"""Rows that need not be flat, for a tick across the bar; writing is higher."""
COARSE = 16
WIGGLE = 1.5
"""Maximum ratio of a bar's path in small steps to its path between COARSE places; that of speckle is higher."""
PATH = 200
"""Sum of all differences along the bar over COARSE places from which it is a scale."""
GREY = 64
"""Range of channels that a bar reaches somewhere, or else it is the grey scale; some of those are tinted."""
ALIKE = 16.0
"""Mean difference of two bars up to which they are one scale shown twice."""


@dataclass(frozen=True)
class Bar:
    """A colour bar on a screen."""

    box: Box
    """Without its outline."""
    orientation: Orientation
    colours: Colours
    """From the low end to the high one, which is on top or at the right."""
    again: tuple[Box, ...] = ()
    """Where else the screen shows the same scale."""

    @property
    def grey(self) -> bool:
        """Whether it is the grey scale of B-mode."""
        return bool(np.ptp(self.colours, axis=1).max() < GREY)


def find_bars(picture: Picture, scan: Box | None = None) -> list[Bar]:
    """Find the bars of an H x W x 3 picture, grey ones included.

    With a scan area, bars inside it are searched for only if none outside has colour, and only those with colour are
    believed: grey tissue is sometimes as smooth as a bar.
    """
    if scan is None:
        return _bars(picture)
    beside = picture.copy()
    crop(beside, scan)[:] = 0
    bars = _bars(beside)
    inside = crop(picture, scan)
    if all(bar.grey for bar in bars) and _spread(inside).max() >= GREY:
        bars += [bar for bar in _bars(picture) if not bar.grey]
    return bars


def bar_for(picture: Picture, scan: Box, modality: str, layout: ScreenLayout | None = None) -> Bar:
    """The bar that says what the colours of a modality mean: the layout's, else the only one that has colour.

    Raises ValueError with the remedy if there is none, if several differ, or if the layout's leaves the picture.
    """
    if layout is not None and layout.colour_bar is not None:
        box = Box(*layout.colour_bar)
        if not is_inside(box, picture):
            raise outside("the colour bar", box, picture)
        bar = _read(picture, box, "vertical" if box.y1 - box.y0 >= box.x1 - box.x0 else "horizontal")
        if bar.grey:
            raise grey_bar(box, modality)
        return bar
    bars = [bar for bar in find_bars(picture, scan) if not bar.grey]
    if not bars:
        raise no_bar(modality)
    if any(np.abs(bar.colours - bars[0].colours).mean() > ALIKE for bar in bars[1:]):
        raise different_bars(len(bars), modality)
    return replace(bars[0], again=tuple(bar.box for bar in bars[1:]))


def _bars(picture: Picture) -> list[Bar]:
    bars = [_read(picture, box, "vertical") for box in _upright(picture)]
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    bars += [_read(picture, Box(y0, x0, y1, x1), "horizontal") for x0, y0, x1, y1 in _upright(turned)]
    return sorted(bars, key=lambda bar: bar.box)


def _read(picture: Picture, box: Box, orientation: Orientation) -> Bar:
    """The colours along a box: the median across, high end last, at 256 even places."""
    part = crop(picture, box)
    along = part if orientation == "vertical" else part.transpose(1, 0, 2)
    side = _side(along.shape[1]) if along.shape[1] > 2 else 0
    profile = np.median(along[:, side : along.shape[1] - side], axis=1)
    if orientation == "vertical":
        profile = profile[::-1]
    at = np.linspace(0, len(profile) - 1, 256)
    channels = [np.interp(at, np.arange(len(profile)), profile[:, channel]) for channel in range(3)]
    return Bar(box, orientation, np.stack(channels, axis=1).astype(np.float32))


def _upright(picture: Picture) -> list[Box]:
    """The boxes of bars that change from row to row."""
    import cv2

    height, width = picture.shape[:2]
    if height < LENGTH or width < WIDTH[0]:
        return []
    count, _, stats, _ = cv2.connectedComponentsWithStats(_seeds(picture), connectivity=4)
    seeds = [Box(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:count].tolist() if w <= WIDTH[1]]
    grown = [_grown(picture, seed) for seed in seeds]
    # Several seeds may grow into one bar.
    return list(dict.fromkeys(box for box in grown if box is not None))


def _seeds(picture: Picture) -> NDArray[np.uint8]:
    """Places that are flat across and change along, joined along and without what is short."""
    import cv2

    across = _largest(cv2.absdiff(picture[:, 2:], picture[:, :-2]))
    along = _largest(cv2.absdiff(picture[8:], picture[:-8]))
    seeds = np.zeros(picture.shape[:2], dtype=np.uint8)
    seeds[4:-4, 1:-1] = (across[4:-4] <= FLAT) & (along[:, 1:-1] >= CHANGE)
    joined = np.asarray(cv2.morphologyEx(seeds, cv2.MORPH_CLOSE, np.ones((PAUSE, 1), dtype=np.uint8)))
    joined[1:][_largest(cv2.absdiff(picture[1:], picture[:-1])) > JUMP] = 0
    long = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((LENGTH * 3 // 4, 3), dtype=np.uint8))
    return np.asarray(long, dtype=np.uint8)


def _largest(picture: Any) -> NDArray[np.uint8]:
    """The largest channel; three times as fast as max(axis=2)."""
    largest: NDArray[np.uint8] = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
    return largest


def _spread(picture: Picture) -> NDArray[np.uint8]:
    """The largest channel less the smallest."""
    return _largest(picture) - (255 - _largest(~picture))


def _grown(picture: Picture, seed: Box) -> Box | None:
    """The bar around a seed, by the colours along its middle; None if it is no bar."""
    # A seed may reach some pixels beyond the end of a bar without an outline.
    beyond = (seed.y1 - seed.y0) // 8
    top, bottom = seed.y0 + beyond, seed.y1 - beyond
    left, right = max(0, seed.x0 - WIDTH[1]), min(picture.shape[1], seed.x1 + WIDTH[1])
    profile = picture[top:bottom, seed.x0 : seed.x1].mean(axis=1)
    if not _is_smooth(profile, PATH / 2):
        return None
    off = np.abs(picture[top:bottom, left:right] - profile[:, None]).max(axis=2)
    x0, x1 = _stretch(np.quantile(off, 0.9, axis=0) <= 2 * FLAT, (seed.x0 + seed.x1) // 2 - left)
    if not WIDTH[0] <= x1 - x0 <= WIDTH[1]:
        return None
    x0, x1 = left + x0, left + x1
    side = _side(x1 - x0)
    inner = picture[:, x0 + side : x1 - side].astype(np.int16)
    uneven = np.ptp(inner, axis=1).max(axis=1)
    if np.median(uneven[top:bottom]) > ROW / 2:
        return None
    row = np.median(inner, axis=1)
    step = np.abs(np.diff(row, axis=0)).max(axis=1)
    most = max(STEP, 2 * float(step[top : bottom - 1].max()))
    while top > 0 and uneven[top - 1] <= ROW and step[top - 1] <= most:
        top -= 1
    while bottom < len(row) and uneven[bottom] <= ROW and step[bottom - 1] <= most:
        bottom += 1
    beside = picture[:, [max(x0 - 2, 0), min(x1 + 1, picture.shape[1] - 1)]].astype(np.int16)
    differs = np.abs(beside - row[:, None]).max(axis=2).max(axis=1)
    # A dark end without an outline runs into a dark background.
    ends = top + np.flatnonzero(differs[top:bottom] > CHANGE // 2)
    if ends.size == 0:
        return None
    top, bottom = int(ends[0]), int(ends[-1]) + 1
    if bottom - top < max(LENGTH, SLENDER * (x1 - x0)) or np.median(differs[top:bottom]) < EDGE:
        return None
    marked = _longest(uneven[top:bottom] > ROW) > MARK
    return None if marked or not _is_smooth(row[top:bottom], PATH) else Box(x0, top, x1, bottom)


def _side(width: int) -> int:
    """Pixels at each side of a bar that are not read: JPEG mixes them with what is beside the bar."""
    return max(1, width // 4)


def _stretch(same: NDArray[np.bool_], start: int) -> tuple[int, int]:
    """The run of True around a place, half open."""
    before, after = np.flatnonzero(~same[:start]), np.flatnonzero(~same[start:])
    return int(before[-1]) + 1 if before.size else 0, start + int(after[0]) if after.size else len(same)


def _longest(marks: NDArray[np.bool_]) -> int:
    """Length of the longest run of True."""
    edges = np.flatnonzero(np.diff(marks.astype(np.int8), prepend=0, append=0))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _is_smooth(row: NDArray[np.float64], least: float) -> bool:
    """Whether colours along a bar change by `least` and smoothly: as far in small steps, nearly, as in large ones."""
    import cv2

    smooth = cv2.blur(row, (1, 5))
    fine = np.abs(np.diff(smooth, axis=0)).max(axis=1).sum()
    places = np.linspace(0, len(row) - 1, COARSE).astype(np.intp)
    coarse = np.abs(np.diff(smooth[places], axis=0)).max(axis=1).sum()
    return bool(coarse >= least and fine <= WIGGLE * coarse)
