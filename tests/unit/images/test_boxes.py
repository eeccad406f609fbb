"""Boxes: what is black, what is kept, and how they are written."""

import numpy as np
import pytest

from sonogrid.arrays import Box
from sonogrid.images.boxes import blackened, boxes_as_text, boxes_from_text, crop, is_inside, moved, only, whole

PICTURE = np.random.default_rng(0).integers(1, 256, (20, 30, 3), dtype=np.uint8)


def test_blackened_and_only_are_complements() -> None:
    boxes = [Box(2, 3, 10, 8), Box(5, 5, 30, 20)]
    inside = np.zeros((20, 30), dtype=bool)
    inside[3:8, 2:10] = inside[5:20, 5:30] = True
    assert not blackened(PICTURE, boxes)[inside].any()
    assert not only(PICTURE, boxes)[~inside].any()
    assert np.array_equal(blackened(PICTURE, boxes) + only(PICTURE, boxes), PICTURE)


def test_the_picture_itself_is_not_changed() -> None:
    before = PICTURE.copy()
    blackened(PICTURE, [whole(PICTURE)])
    assert np.array_equal(PICTURE, before)


@pytest.mark.parametrize("box", [(0, 0, 31, 20), (0, 0, 30, 21), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 2, 5, 4)])
def test_a_box_outside_or_empty_is_not_inside(box: tuple[int, int, int, int]) -> None:
    assert not is_inside(Box(*box), PICTURE)
    with pytest.raises(ValueError, match="is not inside a picture of 30 x 20 pixels"):
        crop(PICTURE, Box(*box))


def test_a_crop_of_a_crop_is_the_moved_box() -> None:
    outer, inner = Box(4, 6, 25, 18), Box(1, 2, 9, 7)
    assert np.array_equal(crop(crop(PICTURE, outer), inner), crop(PICTURE, moved(inner, outer.x0, outer.y0)))


def test_boxes_survive_as_text() -> None:
    boxes = (Box(0, 1, 20, 3), Box(4, 5, 6, 7))
    assert boxes_as_text(boxes) == "0 1 20 3; 4 5 6 7"
    assert boxes_from_text("0 1 20 3; 4 5 6 7") == boxes
    assert boxes_as_text(()) == "" and boxes_from_text("") == ()


@pytest.mark.parametrize("text", ["1 2 3", "a b c d", "1 2 3 4 5", "1 2 3 4;5 6 7 8"])
def test_text_that_is_no_boxes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        boxes_from_text(text)
