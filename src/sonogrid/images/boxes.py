"""Rectangles of pixels within a picture."""

from __future__ import annotations

from typing import NamedTuple

from sonogrid.pictures import Picture


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


def whole(picture: Picture) -> Box:
    """The box of the whole picture."""
    return Box(0, 0, picture.shape[1], picture.shape[0])


def crop(picture: Picture, box: Box) -> Picture:
    """The part of a picture inside a box, as a view. Raises ValueError if the box leaves the picture."""
    height, width = picture.shape[:2]
    if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
        raise ValueError(f"scan area {tuple(box)} is not inside a picture of {width} x {height} pixels")
    return picture[box.y0 : box.y1, box.x0 : box.x1]
