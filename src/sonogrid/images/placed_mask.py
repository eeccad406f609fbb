"""A lesion's mask on the canvas of its picture. No canvas depends on it, so its code is in no digest (code.py)."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sonogrid.arrays import Mask
from sonogrid.images.geometry import placement, resize


def letterbox_mask(mask: Mask, size: int, pixel_aspect: float = 1.0) -> Mask:
    """Put an H x W mask on a size x size canvas exactly as letterbox puts its picture (nearest neighbour)."""
    place, wide, high = placement(mask.shape[1], mask.shape[0], size, pixel_aspect)
    canvas = np.zeros((size, size), dtype=np.bool_)
    resized = resize(mask.astype(np.uint8), wide, high, Image.Resampling.NEAREST)
    canvas[place.top : place.top + high, place.left : place.left + wide] = resized > 0
    return canvas
