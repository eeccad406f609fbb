"""Perceptual hashes of a picture, its mirror image and windows of it, and the search for pairs that are close.

A hash is 256 bits: the window is averaged over 16 x 16 cells, and a bit says whether a cell is brighter than its
neighbours to the left and right (difference of two Gaussians). Brightness, contrast, resizing and lossy compression
hardly change it, and the layers of skin, fat and muscle that all pictures of an organ share do not count. A picture has
one hash for each of WINDOWS. Of a copy that was cropped, the whole looks like a window of the original; of two pictures
cut from one, the middle of each looks like a window of the other. Distances are exact integers of two pictures alone.
docs/audit.md has the measured operating point.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from sonogrid.arrays import Picture
from sonogrid.console import Advance, silent
from sonogrid.parallel import in_order

Hashes = npt.NDArray[np.uint64]
_Floats = npt.NDArray[np.float32]


class Window(NamedTuple):
    """A part of a picture, half open, as shares of its width and height."""

    x0: float
    y0: float
    x1: float
    y1: float


SPANS = ((0, 1), (0, 0.9), (0.05, 0.95), (0.1, 1), (0, 0.8), (0.05, 0.85), (0.1, 0.9), (0.15, 0.95), (0.2, 1))
"""Along one axis: the whole, 90% and 80% of it, in steps of 5% that the cells' blur bridges."""
WINDOWS = tuple(Window(x[0], y[0], x[1], y[1]) for y, x in product(SPANS, SPANS))
WHOLE = WINDOWS.index(Window(0, 0, 1, 1))
MIDDLE = WINDOWS.index(Window(0.1, 0.1, 0.9, 0.9))
_NARROW = tuple(k for k, one in enumerate(WINDOWS) if round(one.x1 - one.x0, 6) == round(one.y1 - one.y0, 6) == 0.8)
QUESTIONS = tuple((WHOLE, k) for k in range(len(WINDOWS))) + tuple((MIDDLE, k) for k in _NARROW)
"""(window of the one picture, window of the other) that are compared; both pictures play both parts."""

CELLS = 16
WORDS = CELLS * CELLS // 64
SIDE = 64
"""Pixels of the square to which a picture is brought before its windows are averaged."""
FINE, COARSE = 0.6, 2.0
"""Sigmas in cells of the two Gaussians."""
FEWEST_BITS = 40
"""A hash with fewer bits set, or unset, has too little structure to tell pictures apart."""
_ASKED = (WHOLE, MIDDLE)
FLAT = 0.25
"""Grey levels by which a cell must be brighter than its surroundings."""
FIRST_WORD = 20
"""Bits of 64 by which the first words of a pair may differ for the others to be compared."""
BLOCK = 256
"""Pictures of a block; two blocks and their distances stay in a processor's cache."""


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of a picture's windows, len(WINDOWS) x WORDS, and of the whole and the middle of its mirror image."""

    windows: Hashes
    mirrored: Hashes

    @property
    def structured(self) -> bool:
        """Whether the picture as a whole has enough structure to be compared."""
        count = int(np.bitwise_count(self.windows[WHOLE]).sum())
        return FEWEST_BITS <= count <= CELLS * CELLS - FEWEST_BITS


class Close(NamedTuple):
    """A pair with close hashes, and which windows of the two look alike; `mirrored`: once the first is mirrored."""

    first: int
    second: int
    distance: int
    window_first: Window
    window_second: Window
    mirrored: bool


def hash_picture(picture: Picture) -> Fingerprint:
    """Hash a picture of any size, H x W x 3, without letterbox."""
    square = _square(picture)
    mirror = np.ascontiguousarray(square[:, ::-1])
    return Fingerprint(_hashes(square), _hashes(mirror)[[WHOLE, MIDDLE]])


def close_pairs(
    fingerprints: Sequence[Fingerprint], largest: int, workers: int = 1, advance: Advance = silent
) -> list[Close]:
    """Every pair of which a question has at most `largest` different bits: positions first < second, sorted.

    All pairs are compared, in blocks; memory is 2.7 KB a picture and what is found. Progress: steps(n) units.
    """
    known = [k for k, one in enumerate(fingerprints) if one.structured]
    if len(known) < 2:
        return []
    asking = _words([np.stack([one.windows[[WHOLE, MIDDLE]], one.mirrored]) for one in fingerprints], known)
    answering = _words([one.windows[None] for one in fingerprints], known)
    starts = range(0, len(known), BLOCK)
    pairs: set[tuple[int, int]] = set()
    compare = functools.partial(_within, asking, answering, largest)
    for (row, column), near in zip(
        product(starts, starts), in_order(compare, product(starts, starts), workers), strict=True
    ):
        for one, other in zip(*np.nonzero(near), strict=True):
            first, second = known[row + one], known[column + other]
            if first != second:
                pairs.add((min(first, second), max(first, second)))
        advance()
    return [_closest(first, second, fingerprints[first], fingerprints[second]) for first, second in sorted(pairs)]


def steps(pictures: int) -> int:
    """Units of progress of close_pairs at most."""
    return (-(-pictures // BLOCK)) ** 2


def _words(hashes: list[Hashes], known: list[int]) -> Hashes:
    """Kinds x windows x WORDS x pictures: what is compared in one go lies side by side."""
    return np.ascontiguousarray(np.stack([hashes[k] for k in known]).transpose(1, 2, 3, 0))


def _within(asking: Hashes, answering: Hashes, largest: int, corner: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Askers x answerers of one block: whether any question has at most `largest` different bits.

    Only where the first word, a quarter of the bits drawn from all over the window, differs in at most FIRST_WORD bits.
    """
    row, column = corner
    asker, answerer = asking[..., row : row + BLOCK], answering[0, :, :, column : column + BLOCK]
    shape = (asker.shape[-1], answerer.shape[-1])
    near = np.zeros(shape, dtype=np.bool_)
    different, count = np.empty(shape, np.uint64), np.empty(shape, np.uint8)
    for kind, (mine, theirs) in product(range(len(asker)), QUESTIONS):
        ask, answer = asker[kind, _ASKED.index(mine)], answerer[theirs]
        np.bitwise_xor(ask[0][:, None], answer[0][None], out=different)
        np.bitwise_count(different, out=count)
        one, other = np.nonzero(count <= FIRST_WORD)
        distance = np.bitwise_count(ask[:, one] ^ answer[:, other]).sum(axis=0)
        near[one, other] |= distance <= largest
    return near


def _closest(first: int, second: int, one: Fingerprint, other: Fingerprint) -> Close:
    """The question with the fewest different bits, of those asked by either picture, mirrored or not."""
    found: list[tuple[int, bool, bool, int]] = []
    for swapped, (asker, answerer) in enumerate(((one, other), (other, one))):
        for mirrored, hashes in enumerate((asker.windows[list(_ASKED)], asker.mirrored)):
            mine = hashes[[_ASKED.index(window) for window, _ in QUESTIONS]]
            theirs = answerer.windows[[window for _, window in QUESTIONS]]
            distances = np.bitwise_count(mine ^ theirs).sum(axis=1)
            best = int(np.argmin(distances))
            found.append((int(distances[best]), bool(mirrored), bool(swapped), best))
    distance, mirrored, swapped, best = min(found)
    asked, answered = (WINDOWS[window] for window in QUESTIONS[best])
    if not swapped:
        return Close(first, second, distance, asked, answered, mirrored)
    # The second picture asked, mirrored: the same as the first one mirrored and answering.
    pair = (_mirror(answered), _mirror(asked)) if mirrored else (answered, asked)
    return Close(first, second, distance, *pair, mirrored)


def _mirror(window: Window) -> Window:
    return Window(1 - window.x1, window.y0, 1 - window.x0, window.y1)


def _square(picture: Picture) -> _Floats:
    grey = Image.fromarray(np.ascontiguousarray(picture)).convert("L")
    how = Image.Resampling.BOX if min(grey.size) >= SIDE else Image.Resampling.BILINEAR
    return np.asarray(grey.resize((SIDE, SIDE), how), dtype=np.float32)


def _hashes(square: _Floats) -> Hashes:
    """Hashes of all windows, len(WINDOWS) x WORDS, of a SIDE x SIDE picture."""
    averages = _averaging()
    spans = len(SPANS)
    grid = (averages @ square @ averages.T).reshape(spans, CELLS, spans, CELLS).transpose(0, 2, 1, 3)
    fine, coarse = _blur(FINE), _blur(COARSE)
    level = fine @ grid
    brighter = level @ fine.T > level @ coarse.T + FLAT
    # Every WORDS-th row goes into one word, so that each word samples the whole window.
    rows = brighter.reshape(len(WINDOWS), CELLS // WORDS, WORDS, CELLS).transpose(0, 2, 1, 3)
    packed = np.packbits(rows.reshape(len(WINDOWS), CELLS * CELLS), axis=1)
    return np.ascontiguousarray(packed).view(np.uint64)


@functools.cache
def _averaging() -> _Floats:
    """Means over cells along one axis, for every span: (len(SPANS) * CELLS) x SIDE, rows sum to 1."""
    edges = np.concatenate([SIDE * np.linspace(low, high, CELLS + 1) for low, high in SPANS]).reshape(len(SPANS), -1)
    low, high = edges[:, :-1, None], edges[:, 1:, None]
    pixel = np.arange(SIDE)
    covered = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None).reshape(-1, SIDE)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True), dtype=np.float32)


@functools.cache
def _blur(sigma: float) -> _Floats:
    """A Gaussian along one axis of cells as a CELLS x CELLS matrix, rows sum to 1: no cell beyond the edge counts."""
    cell = np.arange(CELLS)
    weights = np.exp(-((cell[:, None] - cell[None]) ** 2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
