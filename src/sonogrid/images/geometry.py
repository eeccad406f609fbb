"""Letterbox: a picture on a square canvas without a change of its physical aspect ratio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from sonogrid.arrays import Picture
from sonogrid.images.messages import anisotropic, no_size

MOST_ANISOTROPIC = 10.0
"""Maximum pixel aspect ratio. No scanner comes close; wrong units do."""


class Placement(NamedTuple):
    """Where a picture lies: canvas pixels per picture pixel along x and y, and its left and top in canvas pixels."""

    scale_x: float
    scale_y: float
    left: int
    top: int


def placement(width: int, height: int, size: int, pixel_aspect: float = 1.0) -> tuple[Placement, int, int]:
    """Where a picture of width x height pixels lies on a size x size canvas; its width and height there.

    `pixel_aspect` is the width of a pixel over its height, in mm; a canvas pixel is square. The physically longer side
    fills the canvas, the other one is centred (the odd pixel goes right or below). Each side is rounded to whole canvas
    pixels, at least one: so it differs from the exact one by at most half a canvas pixel, and the aspect ratio by
    less than 1% where the shorter side has 51 canvas pixels or more.
    Raises ValueError for sides below 1 and for pixels beyond MOST_ANISOTROPIC.
    """
    if min(width, height, size) < 1:
        raise no_size(width, height, size)
    # For square pixels the two scales are one number, with the same bits as without an aspect.
    scale = size / max(width * _checked(pixel_aspect), height)
    place_x, place_y = scale * pixel_aspect, scale
    wide, high = max(1, round(width * place_x)), max(1, round(height * place_y))
    return Placement(place_x, place_y, (size - wide) // 2, (size - high) // 2), wide, high


def letterbox(picture: Picture, size: int, pixel_aspect: float = 1.0) -> tuple[Picture, Placement]:
    """Put an H x W x 3 picture on a black size x size x 3 canvas, physical aspect ratio kept (see placement).

    Reduction averages the source pixels under each canvas pixel (Pillow's bilinear kernel, which widens with
    the reduction and so does not alias); enlargement interpolates. A picture of that size stays unchanged.
    """
    place, wide, high = placement(picture.shape[1], picture.shape[0], size, pixel_aspect)
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    resized = resize(picture, wide, high, Image.Resampling.BILINEAR)
    canvas[place.top : place.top + high, place.left : place.left + wide] = resized
    return canvas, place


def _checked(aspect: float) -> float:
    if not 1 / MOST_ANISOTROPIC <= aspect <= MOST_ANISOTROPIC:
        raise anisotropic(aspect, MOST_ANISOTROPIC)
    return aspect


def resize(pixels: Picture, wide: int, high: int, how: Image.Resampling) -> Picture:
    """Return H x W or H x W x 3 pixels at another size; unchanged where the size is the same."""
    if pixels.shape[:2] == (high, wide):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((wide, high), how))
