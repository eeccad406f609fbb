"""The arrays that rooms hand to each other: pictures, masks, colour maps, and boxes of pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""H x W x 3, RGB."""
Mask = npt.NDArray[np.bool_]
"""H x W, True inside the lesion."""
Colours = npt.NDArray[np.float32]
"""256 x 3, RGB in 0..255, from the low to the high end of a colour bar."""


class Box(NamedTuple):
    """A rectangle in pixels, half open: columns x0 to x1 - 1, rows y0 to y1 - 1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)
