"""Letterbox: a picture on a square canvas without a change of its aspect ratio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from sonogrid.pictures import Mask, Picture


class Placement(NamedTuple):
    """Where a picture lies: canvas pixels per picture pixel, and its left and top in canvas pixels."""

    scale: float
    left: int
    top: int


def placement(width: int, height: int, size: int) -> tuple[Placement, int, int]:
    """Where a picture of width x height pixels lies on a size x size canvas; its width and height there.

    The longer side fills the canvas, the shorter one is centred (the odd pixel goes right or below).
    """
    scale = size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement(scale, (size - wide) // 2, (size - high) // 2), wide, high


def letterbox(picture: Picture, size: int) -> tuple[Picture, Placement]:
    """Put an H x W x 3 picture on a black size x size x 3 canvas, aspect ratio kept.

    Reduction averages the source pixels under each canvas pixel (Pillow's bilinear kernel, which widens with
    the reduction and so does not alias); enlargement interpolates. A picture of that size stays unchanged.
    """
    place, wide, high = placement(picture.shape[1], picture.shape[0], size)
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    resized = _resize(picture, wide, high, Image.Resampling.BILINEAR)
    canvas[place.top : place.top + high, place.left : place.left + wide] = resized
    return canvas, place


def letterbox_mask(mask: Mask, size: int) -> Mask:
    """Put an H x W mask on a size x size canvas exactly as letterbox puts its picture (nearest neighbour)."""
    place, wide, high = placement(mask.shape[1], mask.shape[0], size)
    canvas = np.zeros((size, size), dtype=np.bool_)
    resized = _resize(mask.astype(np.uint8), wide, high, Image.Resampling.NEAREST)
    canvas[place.top : place.top + high, place.left : place.left + wide] = resized > 0
    return canvas


def _resize(pixels: Picture, wide: int, high: int, how: Image.Resampling) -> Picture:
    if pixels.shape[:2] == (high, wide):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), how))
