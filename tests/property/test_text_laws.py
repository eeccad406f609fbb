"""Laws of masking burned-in text, over pictures of any size with text at any place."""

from __future__ import annotations

import numpy as np
from burned_in import COLOURS, Ink, write
from hypothesis import given, settings
from hypothesis import strategies as st

from sonogrid.arrays import Box, Picture
from sonogrid.images.boxes import blackened, is_inside, whole
from sonogrid.images.messages import TextRemains
from sonogrid.images.text import find_text, text_to_mask


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Up to 160 x 160 pixels: flat, noise or smooth, grey or coloured, most with a short text somewhere."""
    height, width = draw(st.integers(1, 160)), draw(st.integers(1, 160))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = sorted((draw(st.integers(0, 255)), draw(st.integers(0, 255))))
    channels = draw(st.sampled_from([1, 3]))
    picture = rng.integers(low, high, (height, width, channels), dtype=np.uint8, endpoint=True)
    picture = np.broadcast_to(picture, (height, width, 3)).copy()
    if draw(st.integers(0, 3)):
        words = draw(st.text("ABCDEHKMNOSTXYZ0123456789 -.:", min_size=1, max_size=12).filter(str.strip))
        how = Ink(draw(st.integers(8, 28)), draw(st.sampled_from(sorted(COLOURS))), turned=draw(st.booleans()))
        if draw(st.booleans()):
            picture //= 4
        write(picture, words, draw(st.integers(-10, width - 1)), draw(st.integers(-10, height - 1)), how)
    return picture


@given(pictures())
@settings(max_examples=40)
def test_masked_pixels_are_black_others_as_they_were_and_no_text_is_found_after(picture: Picture) -> None:
    before = picture.copy()
    try:
        boxes = text_to_mask(picture)
    except TextRemains:
        return
    assert np.array_equal(picture, before)
    assert all(is_inside(box, picture) for box in boxes) and boxes == sorted(boxes, key=lambda box: (box.y0, box.x0))
    after = blackened(picture, boxes)
    assert after.shape == picture.shape and after.dtype == np.uint8
    inside = np.zeros(picture.shape[:2], dtype=np.bool_)
    for box in boxes:
        inside[box.y0 : box.y1, box.x0 : box.x1] = True
    assert not after[inside].any()
    assert np.array_equal(after[~inside], before[~inside])
    assert find_text(after) == text_to_mask(after) == []
    assert np.array_equal(blackened(after, boxes), after)


@given(pictures(), pictures())
@settings(max_examples=25)
def test_boxes_are_inside_and_do_not_depend_on_the_picture_before(picture: Picture, other: Picture) -> None:
    first = find_text(picture)
    find_text(other)
    assert find_text(picture) == first
    assert all(is_inside(box, picture) for box in first)


@given(pictures())
@settings(max_examples=10)
def test_a_black_picture_holds_no_text(picture: Picture) -> None:
    edge: Box = whole(picture)
    assert text_to_mask(blackened(picture, [edge])) == []
