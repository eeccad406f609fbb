"""Letterbox: known answers."""

import numpy as np

from sonogrid.images.geometry import Placement, letterbox, letterbox_mask, placement


def test_wide_picture_fills_the_width_and_is_centred() -> None:
    white = np.full((100, 200, 3), 255, dtype=np.uint8)
    canvas, place = letterbox(white, 100)
    assert place == Placement(0.5, 0, 25)
    assert canvas.shape == (100, 100, 3) and canvas.dtype == np.uint8
    assert canvas[:25].max() == 0 and canvas[25:75].min() == 255 and canvas[75:].max() == 0


def test_tall_picture_is_enlarged_and_centred() -> None:
    canvas, place = letterbox(np.full((10, 5, 3), 7, dtype=np.uint8), 40)
    assert place == Placement(4.0, 10, 0)
    assert (canvas[:, 10:30] == 7).all() and canvas[:, :10].max() == 0 and canvas[:, 30:].max() == 0


def test_odd_remainder_goes_right_or_below() -> None:
    assert placement(10, 5, 10) == (Placement(1.0, 0, 2), 10, 5)


def test_square_canvas_of_that_size_comes_back_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    canvas, place = letterbox(picture, 64)
    assert np.array_equal(canvas, picture) and place == Placement(1.0, 0, 0)


def test_reduction_averages_instead_of_picking_pixels() -> None:
    # A checkerboard of single pixels has mean 127.5 everywhere; picking pixels would give 0 or 255.
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    canvas, _ = letterbox(board, 32)
    assert np.abs(canvas.astype(float) - 127.5).max() <= 2


def test_very_long_picture_keeps_at_least_one_pixel() -> None:
    canvas, place = letterbox(np.full((1, 1000, 3), 255, dtype=np.uint8), 16)
    assert (canvas.max(axis=(1, 2)) > 0).sum() == 1 and place.scale == 0.016


def test_mask_lies_where_its_picture_lies() -> None:
    mask = np.zeros((100, 200), dtype=bool)
    mask[20:60, 50:150] = True
    placed = letterbox_mask(mask, 100)
    canvas, _ = letterbox((mask[..., None] * np.uint8(255)).repeat(3, axis=2), 100)
    assert placed.dtype == np.bool_ and placed.sum() == 20 * 50
    assert np.array_equal(placed, canvas[..., 0] > 127)
