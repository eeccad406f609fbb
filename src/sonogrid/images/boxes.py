"""Boxes of pixels within a picture: cut out, moved, blackened (as text that was found is), written as text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sonogrid.arrays import Box, Picture
from sonogrid.images.messages import no_box, outside


def whole(picture: Picture) -> Box:
    """The box of the whole picture."""
    return Box(0, 0, picture.shape[1], picture.shape[0])


def crop(picture: Picture, box: Box) -> Picture:
    """The part of a picture inside a box, as a view. Raises ValueError if the box leaves the picture."""
    if not is_inside(box, picture):
        raise outside("scan area", box, picture)
    return picture[box.y0 : box.y1, box.x0 : box.x1]


def moved(box: Box, x: int, y: int) -> Box:
    """The box shifted by x columns and y rows: from the coordinates of a crop to those of its picture."""
    return Box(box.x0 + x, box.y0 + y, box.x1 + x, box.y1 + y)


def is_inside(box: Box, picture: Picture) -> bool:
    """Whether the box is not empty and leaves the picture nowhere."""
    height, width = picture.shape[:2]
    return bool(0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height)


def blackened(picture: Picture, boxes: Iterable[Box]) -> Picture:
    """A copy of the picture in which every pixel of the boxes is black and every other is as it was."""
    copy = np.array(picture)
    for box in boxes:
        copy[box.y0 : box.y1, box.x0 : box.x1] = 0
    return copy


def only(picture: Picture, boxes: Iterable[Box]) -> Picture:
    """A copy of the picture in which every pixel outside the boxes is black and every other is as it was."""
    copy = np.zeros_like(picture)
    for box in boxes:
        copy[box.y0 : box.y1, box.x0 : box.x1] = crop(picture, box)
    return copy


def boxes_as_text(boxes: Iterable[Box]) -> str:
    """Boxes as one cell of a CSV: 'x0 y0 x1 y1; x0 y0 x1 y1', '' where there are none."""
    return "; ".join(" ".join(map(str, box)) for box in boxes)


def boxes_from_text(text: str) -> tuple[Box, ...]:
    """What boxes_as_text wrote. Raises ValueError for anything else."""
    boxes = []
    for part in text.split("; ") if text else ():
        corners = [int(number) for number in part.split(" ")]
        if len(corners) != 4:
            raise no_box(part)
        boxes.append(Box(*corners))
    return tuple(boxes)
