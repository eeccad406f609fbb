"""Long and short axis of a lesion from its mask, in mm, as calipers measure them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonogrid.arrays import Mask
from sonogrid.images.messages import empty_mask, no_length

DIRECTIONS = 180
"""Directions over half a turn in which the calipers are held."""
HARMONICS = 8
"""What varies over the directions faster than so many times in half a turn is pixels, not the lesion's shape."""
BLUR_PIXELS = 1.5
"""Largest standard deviation of the blur by which a contour is found between pixels."""

_Floats = NDArray[np.float64]
PLAY_PIXELS = 0.15
"""By so much half axes of the ellipse of a lesion's moments may be wrong."""
LARGEST = 1024
"""Of a lesion with more pixels along a side only every second, third, ... row and column is looked at."""
_BORDER = 2 + math.ceil(3 * BLUR_PIXELS)
"""Pixels of background around a mask: more than the blur reaches."""
_ANGLES = np.arange(DIRECTIONS) * np.pi / DIRECTIONS


class Ellipse(NamedTuple):
    """Centre, half axes a >= b, and direction of a in radians; in mm, x to the right and y down."""

    x: float
    y: float
    a: float
    b: float
    angle: float


def axes_mm(mask: Mask, mm_x: float, mm_y: float) -> tuple[float, float]:
    """Long and short axis of the largest component (8-connected) of an H x W mask, in mm; a pixel is mm_x x mm_y.

    The long axis is the largest caliper (Feret) diameter, the short axis the caliper's width perpendicular to it: the
    two dimensions of a node of which RECIST 1.1 takes the smaller (Eisenhauer et al. 2009,
    doi:10.1016/j.ejca.2008.10.026). Pixels are areas and not points: the contour runs half-way between the centres of
    pixels inside and outside. Widths of such a contour are too large by an amount that depends on direction and
    curvature, at most a pixel; it is taken from the ellipse of the same second moments, redrawn on the same
    pixels, whose widths are known. Of ellipses from 48 pixels on, axes are met to 2%, or to half a pixel where
    that is more.
    Raises ValueError for an empty mask and for mm that are not above 0.
    """
    if not (0 < mm_x < math.inf and 0 < mm_y < math.inf):
        raise no_length(mm_x, mm_y)
    lesion = _largest(mask)
    step = math.ceil(max(lesion.shape) / LARGEST)
    if step > 1 and lesion[::step, ::step].any():
        lesion, mm_x, mm_y = lesion[::step, ::step], mm_x * step, mm_y * step
    lesion = np.pad(lesion, _BORDER)
    ellipse = moment_ellipse(lesion, mm_x, mm_y)
    blur = min(BLUR_PIXELS, _depth(lesion) / 4, ellipse.b / max(mm_x, mm_y) / 4)
    found = _widths(lesion, mm_x, mm_y, blur)
    # Whether an ellipse covers a row of pixels that it just touches hangs on less than a pixel, so it is redrawn a
    # little smaller and larger too, and in each direction the one most like the lesion counts.
    excesses = []
    play = min(PLAY_PIXELS * max(mm_x, mm_y), ellipse.b / 10)
    for larger in (-play, 0.0, play):
        other = ellipse._replace(a=ellipse.a + larger, b=ellipse.b + larger)
        too_wide = _widths(_redrawn(other, mm_x, mm_y), mm_x, mm_y, blur) - ellipse_widths(other)
        excesses.append(found - too_wide - ellipse_widths(ellipse))
    excess = np.choose(np.abs(excesses).argmin(axis=0), excesses)
    pixel = np.hypot(mm_x * np.cos(_ANGLES), mm_y * np.sin(_ANGLES))
    # Of a needle a pixel or two wide, whose widths no few waves describe, the contour says more.
    lowest, highest = np.maximum(found - pixel, found / 2), found + pixel
    widths = np.clip(ellipse_widths(ellipse) + _smooth(excess), lowest, highest)
    long = int(widths.argmax())
    return float(widths[long]), float(widths[(long + DIRECTIONS // 2) % DIRECTIONS])


def moment_ellipse(mask: Mask, mm_x: float, mm_y: float) -> Ellipse:
    """The ellipse with the area's centre and second moments; every pixel counts as a rectangle of mm_x x mm_y."""
    rows, columns = np.nonzero(mask)
    points = np.stack(((columns + 0.5) * mm_x, (rows + 0.5) * mm_y))
    centre = points.mean(axis=1)
    off = points - centre[:, None]
    moments = off @ off.T / len(rows) + np.diag((mm_x**2, mm_y**2)) / 12
    (b, a), vectors = np.linalg.eigh(moments)
    angle = math.atan2(vectors[1, 1], vectors[0, 1])
    return Ellipse(float(centre[0]), float(centre[1]), 2 * math.sqrt(a), 2 * math.sqrt(b), angle)


def drawn(ellipse: Ellipse, shape: tuple[int, int], mm_x: float, mm_y: float) -> Mask:
    """The pixels of an H x W picture whose centres lie in the ellipse."""
    x = (np.arange(shape[1]) + 0.5)[None, :] * mm_x - ellipse.x
    y = (np.arange(shape[0]) + 0.5)[:, None] * mm_y - ellipse.y
    cosine, sine = math.cos(ellipse.angle), math.sin(ellipse.angle)
    inside: Mask = ((x * cosine + y * sine) / ellipse.a) ** 2 + ((y * cosine - x * sine) / ellipse.b) ** 2 < 1
    return inside


def ellipse_widths(ellipse: Ellipse) -> _Floats:
    """Caliper width of an ellipse in each of DIRECTIONS directions, in mm."""
    turned = _ANGLES - ellipse.angle
    return np.asarray(2 * np.hypot(ellipse.a * np.cos(turned), ellipse.b * np.sin(turned)))


def _largest(mask: Mask) -> Mask:
    """The largest component of a mask, cut out."""
    from scipy.ndimage import find_objects, label

    labels, count = label(mask, structure=np.ones((3, 3)))
    if count == 0:
        raise empty_mask()
    number = int(np.bincount(labels.ravel())[1:].argmax()) + 1
    part: Mask = labels[find_objects(labels)[number - 1]] == number
    return part


def _redrawn(ellipse: Ellipse, mm_x: float, mm_y: float) -> Mask:
    """An ellipse on a canvas that holds all of it, its centre as far from the middle of a pixel as before."""
    cosine, sine = math.cos(ellipse.angle), math.sin(ellipse.angle)
    wide = _BORDER + math.ceil(math.hypot(ellipse.a * cosine, ellipse.b * sine) / mm_x)
    high = _BORDER + math.ceil(math.hypot(ellipse.a * sine, ellipse.b * cosine) / mm_y)
    moved = ellipse._replace(x=(ellipse.x / mm_x % 1 + wide) * mm_x, y=(ellipse.y / mm_y % 1 + high) * mm_y)
    return drawn(moved, (2 * high + 1, 2 * wide + 1), mm_x, mm_y)


def _depth(mask: Mask) -> float:
    """Steps from the innermost pixel to the background: a blur well below it leaves a contour."""
    from scipy.ndimage import distance_transform_cdt

    return float(distance_transform_cdt(mask, metric="chessboard").max())


def _widths(mask: Mask, mm_x: float, mm_y: float, blur: float) -> _Floats:
    """Caliper widths of a mask's blurred contour at level 1/2 in each of DIRECTIONS directions, in mm."""
    from scipy.ndimage import gaussian_filter

    level = gaussian_filter(mask.astype(np.float32), blur, truncate=3.0)
    rows, x = _outermost(level)
    columns, y = _outermost(level.T)
    points = np.stack((np.concatenate((x, columns + 0.5)) * mm_x, np.concatenate((rows + 0.5, y)) * mm_y))
    return np.asarray(np.ptp(np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1) @ points, axis=1))


def _outermost(level: NDArray[np.float32]) -> tuple[_Floats, _Floats]:
    """Rows that reach 1/2, twice, and where (in pixels) each first rises and last falls through it, interpolated."""
    inside = level >= 0.5
    rows = np.flatnonzero(inside.any(axis=1))
    first = inside[rows].argmax(axis=1)
    last = inside.shape[1] - 1 - inside[rows, ::-1].argmax(axis=1)
    ends = []
    for column, outside in ((first, first - 1), (last, last + 1)):
        high, low = level[rows, column], level[rows, outside]
        ends.append(column + 0.5 + (outside - column) * (high - 0.5) / (high - low))
    return np.tile(rows, 2).astype(np.float64), np.concatenate(ends)


def _smooth(widths: _Floats) -> _Floats:
    """Without the part that varies over the directions faster than HARMONICS times in half a turn."""
    waves = np.fft.rfft(widths)
    waves[HARMONICS + 1 :] = 0
    return np.fft.irfft(waves, len(widths))
