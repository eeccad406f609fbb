"""Letterbox: known answers."""

import numpy as np
import pytest

from sonogrid.images.geometry import Placement, letterbox, placement
from sonogrid.images.placed_mask import letterbox_mask


def test_wide_picture_fills_the_width_and_is_centred() -> None:
    white = np.full((100, 200, 3), 255, dtype=np.uint8)
    canvas, place = letterbox(white, 100)
    assert place == Placement(0.5, 0.5, 0, 25)
    assert canvas.shape == (100, 100, 3) and canvas.dtype == np.uint8
    assert canvas[:25].max() == 0 and canvas[25:75].min() == 255 and canvas[75:].max() == 0


def test_tall_picture_is_enlarged_and_centred() -> None:
    canvas, place = letterbox(np.full((10, 5, 3), 7, dtype=np.uint8), 40)
    assert place == Placement(4.0, 4.0, 10, 0)
    assert (canvas[:, 10:30] == 7).all() and canvas[:, :10].max() == 0 and canvas[:, 30:].max() == 0


def test_odd_remainder_goes_right_or_below() -> None:
    assert placement(10, 5, 10) == (Placement(1.0, 1.0, 0, 2), 10, 5)


def test_square_canvas_of_that_size_comes_back_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    canvas, place = letterbox(picture, 64)
    assert np.array_equal(canvas, picture) and place == Placement(1.0, 1.0, 0, 0)


def test_reduction_averages_instead_of_picking_pixels() -> None:
    # A checkerboard of single pixels has mean 127.5 everywhere; picking pixels would give 0 or 255.
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    canvas, _ = letterbox(board, 32)
    assert np.abs(canvas.astype(float) - 127.5).max() <= 2


def test_very_long_picture_keeps_at_least_one_pixel() -> None:
    canvas, place = letterbox(np.full((1, 1000, 3), 255, dtype=np.uint8), 16)
    assert (canvas.max(axis=(1, 2)) > 0).sum() == 1 and place.scale_x == place.scale_y == 0.016


def test_mask_lies_where_its_picture_lies() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:60, 50:150] = True
    placed = letterbox_mask(mask, 100)
    canvas, _ = letterbox((mask[..., None] * np.uint8(255)).repeat(3, axis=2), 100)
    assert placed.dtype == np.bool_ and placed.sum() == 20 * 50
    assert np.array_equal(placed, canvas[..., 0] > 127)


@pytest.mark.parametrize(
    ("shape", "aspect", "expected"),
    [
        # 300 x 200 pixels of 0.1 x 0.15 mm are 30 x 30 mm: they fill the canvas.
        ((200, 300), 0.1 / 0.15, (Placement(0.4, 0.6, 0, 0), 120, 120)),
        # 100 x 100 pixels of 0.2 x 0.1 mm are 20 x 10 mm.
        ((100, 100), 2.0, (Placement(1.2, 0.6, 0, 30), 120, 60)),
        # ... and of 0.1 x 0.4 mm 10 x 40 mm.
        ((100, 100), 0.25, (Placement(0.3, 1.2, 45, 0), 30, 120)),
    ],
)
def test_anisotropic_pixels_are_made_square(
    shape: tuple[int, int], aspect: float, expected: tuple[Placement, int, int]
) -> None:
    place, wide, high = placement(shape[1], shape[0], 120, aspect)
    assert np.allclose(place, expected[0], rtol=1e-12) and (wide, high) == expected[1:]
    canvas, again = letterbox(np.full((*shape, 3), 255, dtype=np.uint8), 120, aspect)
    assert again == place
    assert (canvas[..., 0] == 255).sum(axis=1).max() == wide and (canvas[..., 0] == 255).sum(axis=0).max() == high


def test_a_disc_drawn_on_anisotropic_pixels_is_a_disc_on_the_canvas() -> None:
    # Pixels of 0.05 x 0.12 mm; a disc of radius 12 mm has the second moments radius^2 / 4 along both axes.
    y, x = np.ogrid[:300, :700]
    disc = (((x + 0.5) * 0.05 - 17) / 12) ** 2 + (((y + 0.5) * 0.12 - 18) / 12) ** 2 < 1
    rows, columns = np.nonzero(letterbox_mask(disc, 224, 0.05 / 0.12))
    assert columns.std() / rows.std() == pytest.approx(1, abs=0.01)
    canvas, place = letterbox((disc[..., None] * np.uint8(255)).repeat(3, axis=2), 224, 0.05 / 0.12)
    rows, columns = np.nonzero(canvas[..., 0] > 127)
    assert columns.std() / rows.std() == pytest.approx(1, abs=0.01)
    assert 2 * rows.std() * 0.12 / place.scale_y == pytest.approx(12, rel=0.01)


@pytest.mark.parametrize("aspect", [0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e9, 1e-9, 10.1, 0.099])
def test_an_aspect_that_no_scanner_has_is_refused(aspect: float) -> None:
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="times as wide as high"):
        letterbox(picture, 16, aspect)
    with pytest.raises(ValueError, match="times as wide as high"):
        letterbox_mask(picture[..., 0] > 0, 16, aspect)


@pytest.mark.parametrize("sides", [(0, 5, 16), (5, 0, 16), (5, 5, 0), (-3, 5, 16), (5, 5, -16)])
def test_sides_below_one_pixel_are_refused(sides: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        placement(*sides)
