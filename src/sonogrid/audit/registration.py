"""Whether two pictures that look alike are one picture: they are laid over one another and compared tile by tile.

Local contrast along the rows is normalised first, so that gain, gamma and what was drawn on a picture count little,
and layers of tissue that all pictures share do not count. The second picture is brought onto the first by an affine map
that maximises the enhanced correlation coefficient (Evangelidis and Psarakis, IEEE TPAMI 2008; OpenCV's
findTransformECC). The similarity is the median over tiles of the normalised cross-correlation: callipers, text and
masked boxes spoil some tiles and not the median; fine structure of another picture, even of the same lesion, does not
follow.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sonogrid.arrays import Picture
from sonogrid.audit.fingerprints import Window

Grey = npt.NDArray[Any]
"""Float32, H x W."""
Map = npt.NDArray[Any]
"""Float32, 2 x 3."""

SIDE = 96
"""Pixels of the square on which two windows are compared; canvases are 96 to 300 pixels wide."""
TILE = 16
STEPS = 20
LEAST_COARSE = 0.7
"""Correlation at half size below which a pair is not looked at more closely."""
LEAST_TEXTURE = 1.5
"""Grey levels of local standard deviation below which a pixel shows nothing to compare."""
LEAST_TILES = 40
"""Of 121 overlapping tiles: where fewer show something in both pictures, nothing is said of the pair."""


def similarity(first: Picture, second: Picture, window_first: Window, window_second: Window, mirrored: bool) -> float:
    """Median correlation in [-1, 1] of tiles after registration; -1 where nothing compares or registration fails.

    The windows are those that a perceptual hash found alike; `mirrored`: in the mirror image of the first picture.
    """
    if mirrored:
        first = first[:, ::-1]
    one, seen_one = _normalised(_cut(first, window_first))
    other, seen_other = _normalised(_cut(second, window_second))
    warp = _registered(one, other)
    if warp is None:
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid, inside, seen = (
        cv2.warpAffine(what, warp, (SIDE, SIDE), flags=flags) for what in (other, np.ones_like(other), seen_other)
    )
    return _median_of_tiles(one, laid, (seen_one > 0.5) & (seen > 0.5) & (inside > 0.99))


def _cut(picture: Picture, window: Window) -> Grey:
    """A window of a picture as SIDE x SIDE grey levels."""
    height, width = picture.shape[:2]
    grey: Grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY).astype(np.float32)
    x0, y0, x1, y1 = window.x0 * width, window.y0 * height, window.x1 * width, window.y1 * height
    shrink = max((x1 - x0) / SIDE, (y1 - y0) / SIDE)
    if shrink > 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.4 * shrink)
    scale_x, scale_y = (x1 - x0) / SIDE, (y1 - y0) / SIDE
    to_source = np.array([[scale_x, 0, x0 + 0.5 * scale_x - 0.5], [0, scale_y, y0 + 0.5 * scale_y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(grey, to_source, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _normalised(grey: Grey) -> tuple[Grey, Grey]:
    """Local contrast in units of its local deviation, limited to +-3, and where there is any (0 or 1)."""
    detail = cv2.GaussianBlur(grey, (0, 0), 0.7) - cv2.GaussianBlur(grey, (0, 0), 5.0, sigmaY=0.7)
    deviation = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 6.0))
    seen = (deviation > LEAST_TEXTURE).astype(np.float32)
    return np.clip(detail / (deviation + LEAST_TEXTURE), -3, 3), seen


def _registered(one: Grey, other: Grey) -> Map | None:
    """The 2 x 3 map from pixels of `one` to pixels of `other`; None where none is found that is worth refining."""
    small = [cv2.resize(what, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA) for what in (one, other)]
    found = _step(small[0], small[1], np.eye(2, 3, dtype=np.float32), 7)
    if found is None or found[0] < LEAST_COARSE:
        return None
    # A pixel's centre: x of the small picture lies at 2 x + 0.5 of the large one.
    start = found[1].copy()
    start[:, 2] = 2 * start[:, 2] + 0.5 - 0.5 * (start[:, 0] + start[:, 1])
    refined = _step(one, other, start, 5)
    return None if refined is None else refined[1]


def _step(one: Grey, other: Grey, start: Map, blur: int) -> tuple[float, Map] | None:
    """Correlation and map after one run of the search from `start`; None where it does not converge."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, 1e-3)
    try:
        correlation, found = cv2.findTransformECC(one, other, start, cv2.MOTION_AFFINE, criteria, None, blur)  # type: ignore[call-overload]
    except cv2.error:
        return None
    return float(correlation), np.asarray(found, dtype=np.float32)


def _median_of_tiles(one: Grey, other: Grey, seen: npt.NDArray[np.bool_]) -> float:
    """Median over tiles, half of each shared with the next, of the correlation of pixels seen in both."""
    weight = seen.astype(np.float64)
    count = _tiles(weight)
    a, b = one * weight, other * weight
    mean_a, mean_b = (_tiles(what) / np.maximum(count, 1) for what in (a, b))
    covariance = _tiles(a * b) - count * mean_a * mean_b
    spread = (_tiles(a * a) - count * mean_a**2) * (_tiles(b * b) - count * mean_b**2)
    enough = (count >= TILE * TILE / 2) & (spread > 0)
    if enough.sum() < LEAST_TILES:
        return -1.0
    return float(np.median(covariance[enough] / np.sqrt(spread[enough])))


def _tiles(what: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums over TILE x TILE pixels in steps of half a tile."""
    half = TILE // 2
    blocks = what.reshape(SIDE // half, half, SIDE // half, half).sum(axis=(1, 3))
    return np.asarray(blocks[:-1, :-1] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[1:, 1:])
