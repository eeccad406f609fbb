"""Laws of letterbox and calipers, for any sizes, pixels and lesions."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sonogrid.arrays import Mask, Picture
from sonogrid.images.axes import Ellipse, axes_mm, drawn
from sonogrid.images.geometry import MOST_ANISOTROPIC, letterbox, placement
from sonogrid.images.placed_mask import letterbox_mask

SIDES = st.integers(1, 70)
SIZES = st.integers(1, 90)
ASPECTS = st.one_of(st.just(1.0), st.floats(1 / MOST_ANISOTROPIC, MOST_ANISOTROPIC))
PICTURES = st.tuples(SIDES, SIDES).flatmap(
    lambda shape: arrays(np.uint8, (*shape, 3), elements=st.integers(0, 255), fill=st.sampled_from((0, 9, 130)))
)
MASKS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(lambda shape: arrays(np.bool_, shape))
MM = st.floats(0.02, 0.5)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 1024), ASPECTS)
def test_physical_aspect_is_kept_to_half_a_canvas_pixel_and_the_picture_is_centred(
    width: int, height: int, size: int, aspect: float
) -> None:
    place, wide, high = placement(width, height, size, aspect)
    assert max(wide, high) == size and min(wide, high) >= 1
    # The exact sides follow from lengths alone: width x aspect by height, in heights of a pixel.
    longest = max(width * aspect, height)
    exact_wide, exact_high = size * width * aspect / longest, size * height / longest
    for whole, exact in ((wide, exact_wide), (high, exact_high)):
        assert abs(whole - exact) <= 0.5 + 1e-9 or (whole == 1 and exact < 0.5)
    if min(wide, high) >= 51:
        assert abs((wide / high) / (width * aspect / height) - 1) < 0.01
    assert np.isclose(place.scale_x * width, exact_wide) and np.isclose(place.scale_y * height, exact_high)
    for free, before in ((size - wide, place.left), (size - high, place.top)):
        assert before == free // 2


@given(PICTURES, SIZES)
def test_square_pixels_are_placed_as_if_no_aspect_were_known(picture: Picture, size: int) -> None:
    height, width = picture.shape[:2]
    scale = size / max(width, height)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    expected = np.zeros((size, size, 3), dtype=np.uint8)
    left, top = (size - wide) // 2, (size - high) // 2
    resized = Image.fromarray(picture).resize((wide, high), Image.Resampling.BILINEAR)
    expected[top : top + high, left : left + wide] = resized
    canvas, place = letterbox(picture, size, 1.0)
    assert np.array_equal(canvas, expected) and place == (scale, scale, left, top)
    assert np.array_equal(canvas, letterbox(picture, size)[0])


@given(PICTURES, SIZES, ASPECTS)
def test_letterbox_is_idempotent_and_stays_in_the_range_of_the_picture(
    picture: Picture, size: int, aspect: float
) -> None:
    canvas, place = letterbox(picture, size, aspect)
    again, second = letterbox(canvas, size)
    assert np.array_equal(canvas, again) and second == (1.0, 1.0, 0, 0)
    _, wide, high = placement(picture.shape[1], picture.shape[0], size, aspect)
    inside = canvas[place.top : place.top + high, place.left : place.left + wide]
    assert picture.min() <= inside.min() and inside.max() <= picture.max()
    assert int(canvas.sum()) == int(inside.sum())


@given(PICTURES, SIZES, ASPECTS)
def test_letterbox_commutes_with_mirroring(picture: Picture, size: int, aspect: float) -> None:
    mirrored, place = letterbox(picture[:, ::-1], size, aspect)
    canvas, _ = letterbox(picture, size, aspect)
    _, wide, high = placement(picture.shape[1], picture.shape[0], size, aspect)
    here = np.s_[place.top : place.top + high, place.left : place.left + wide]
    # Of an odd remainder the spare column is on the right both times; resampling rounds a level up or down.
    assert np.abs(mirrored[here][:, ::-1].astype(int) - canvas[here].astype(int)).max() <= 1


@given(SIDES, SIDES, SIZES, ASPECTS)
def test_a_full_mask_covers_exactly_the_picture(width: int, height: int, size: int, aspect: float) -> None:
    canvas, _ = letterbox(np.full((height, width, 3), 255, dtype=np.uint8), size, aspect)
    mask = letterbox_mask(np.ones((height, width), dtype=bool), size, aspect)
    assert np.array_equal(mask, canvas[..., 0] == 255)


@given(st.data(), st.integers(16, 160), st.integers(16, 160), st.integers(32, 128), st.floats(0.4, 2.5))
def test_mask_and_picture_stay_aligned(data: st.DataObject, width: int, height: int, size: int, aspect: float) -> None:
    x0, y0 = data.draw(st.integers(0, width - 8)), data.draw(st.integers(0, height - 8))
    x1, y1 = data.draw(st.integers(x0 + 8, width)), data.draw(st.integers(y0 + 8, height))
    mask = np.zeros((height, width), dtype=bool)
    mask[y0:y1, x0:x1] = True
    canvas, place = letterbox((mask[..., None] * np.uint8(255)).repeat(3, axis=2), size, aspect)
    placed = letterbox_mask(mask, size, aspect)
    assume(placed.any())
    rows, columns = np.nonzero(placed)
    edges = (place.left + place.scale_x * x0, place.left + place.scale_x * x1)
    assert abs(columns.min() - edges[0]) <= 1.5 and abs(columns.max() + 1 - edges[1]) <= 1.5
    edges = (place.top + place.scale_y * y0, place.top + place.scale_y * y1)
    assert abs(rows.min() - edges[0]) <= 1.5 and abs(rows.max() + 1 - edges[1]) <= 1.5
    # Where mask and picture differ, it is by less than a pixel: at the edge of the rectangle.
    inner = np.zeros_like(placed)
    inner[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1] = True
    assert canvas[..., 0][inner].min(initial=255) > 127
    outer = np.ones_like(placed)
    outer[max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3] = False
    assert canvas[..., 0][outer].max(initial=0) < 128


def ellipse_mask(long: float, short: float, angle: float, off: tuple[float, float], mm: tuple[float, float]) -> Mask:
    """An ellipse of these axes (mm) somewhere on pixels of `mm`, wholly inside."""
    columns, rows = (int(long / side) + 6 for side in mm)
    x, y = (columns / 2 + off[0]) * mm[0], (rows / 2 + off[1]) * mm[1]
    return drawn(Ellipse(x, y, long / 2, short / 2, angle), (rows, columns), *mm)


LONG = st.floats(48, 160)
ANGLES = st.one_of(st.floats(0, np.pi), st.sampled_from([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]))
OFF = st.tuples(st.floats(-1, 1), st.floats(-1, 1))


@settings(max_examples=200)
@given(LONG, st.floats(0.3, 1), ANGLES, OFF, MM, st.floats(0.5, 2))
def test_calipers_find_the_axes_of_an_ellipse(
    pixels: float, ratio: float, angle: float, off: tuple[float, float], mm_x: float, aspect: float
) -> None:
    # `pixels`: long axis in pixels of the coarser side, of which no mask tells less than half a one.
    mm_y = mm_x / aspect
    coarse = max(mm_x, mm_y)
    long, short = pixels * coarse, pixels * coarse * ratio
    found = axes_mm(ellipse_mask(long, short, angle, off, (mm_x, mm_y)), mm_x, mm_y)
    for measured, truth in zip(found, (long, short), strict=True):
        assert abs(measured - truth) <= max(0.02 * truth, 0.5 * coarse)


@given(MASKS, MM, MM)
def test_axes_of_any_mask_are_positive_ordered_and_no_longer_than_the_mask(
    mask: Mask, mm_x: float, mm_y: float
) -> None:
    assume(mask.any())
    long, short = axes_mm(mask, mm_x, mm_y)
    diagonal = np.hypot(mask.shape[0] * mm_y, mask.shape[1] * mm_x)
    assert 0 < short <= long <= diagonal + 2 * max(mm_x, mm_y)


@given(MASKS, MM, MM, st.floats(0.1, 10), st.integers(0, 5), st.integers(0, 5))
def test_axes_scale_with_the_pixel_and_do_not_depend_on_where_the_lesion_lies(
    mask: Mask, mm_x: float, mm_y: float, factor: float, down: int, right: int
) -> None:
    assume(mask.any())
    found = axes_mm(mask, mm_x, mm_y)
    assert np.allclose(axes_mm(mask, mm_x * factor, mm_y * factor), np.multiply(found, factor), rtol=1e-6)
    assert np.allclose(axes_mm(np.pad(mask, ((down, 1), (right, 2))), mm_x, mm_y), found, rtol=1e-6)
