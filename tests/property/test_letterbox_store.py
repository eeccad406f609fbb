"""Laws of the canonical picture: scan area, letterbox and store, for any picture."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sonogrid.files import sha256
from sonogrid.images.boxes import Box, crop, whole
from sonogrid.images.frame import scan_area
from sonogrid.images.geometry import letterbox, letterbox_mask, placement
from sonogrid.images.store import build, canonical, open_store
from sonogrid.pictures import Picture

SIDES = st.integers(1, 70)
PICTURES = st.tuples(SIDES, SIDES).flatmap(
    lambda shape: arrays(np.uint8, (*shape, 3), elements=st.integers(0, 255), fill=st.sampled_from((0, 9, 130)))
)


@given(PICTURES)
def test_scan_area_is_inside_and_not_empty(picture: Picture) -> None:
    box = scan_area(picture)
    limits = whole(picture)
    assert 0 <= box.x0 < box.x1 <= limits.x1 and 0 <= box.y0 < box.y1 <= limits.y1
    assert crop(picture, box).size == box.area * 3


@given(st.integers(60, 160), st.integers(60, 160), st.integers(0, 60), st.integers(0, 60), st.integers(0, 99))
def test_speckle_on_black_is_found_wherever_it_lies(width: int, height: int, x: int, y: int, seed: int) -> None:
    screen = np.zeros((240, 240, 3), dtype=np.uint8)
    screen[y : y + height, x : x + width] = np.random.default_rng(seed).integers(20, 220, (height, width, 1))
    assert np.abs(np.subtract(scan_area(screen), Box(x, y, x + width, y + height))).max() <= 2


@given(SIDES, SIDES, st.integers(1, 90))
def test_aspect_ratio_is_kept_to_a_pixel_and_the_picture_is_centred(width: int, height: int, size: int) -> None:
    place, wide, high = placement(width, height, size)
    assert max(wide, high) == size and min(wide, high) >= 1
    assert abs(wide - width * place.scale) <= 1 and abs(high - height * place.scale) <= 1
    for free, before in ((size - wide, place.left), (size - high, place.top)):
        assert before == free // 2


@given(PICTURES, st.integers(1, 90))
def test_letterbox_is_idempotent_and_stays_in_the_range_of_the_picture(picture: Picture, size: int) -> None:
    canvas, place = letterbox(picture, size)
    again, second = letterbox(canvas, size)
    assert np.array_equal(canvas, again) and second == (1.0, 0, 0)
    _, wide, high = placement(picture.shape[1], picture.shape[0], size)
    inside = canvas[place.top : place.top + high, place.left : place.left + wide]
    assert picture.min() <= inside.min() and inside.max() <= picture.max()
    assert int(canvas.sum()) == int(inside.sum())


@given(PICTURES, st.integers(1, 90))
def test_letterbox_commutes_with_mirroring_of_pictures_that_fill_the_canvas(picture: Picture, size: int) -> None:
    mirrored, _ = letterbox(picture[:, ::-1], size)
    canvas, place = letterbox(picture, size)
    _, wide, _ = placement(picture.shape[1], picture.shape[0], size)
    if 2 * place.left + wide == size:
        assert np.abs(mirrored[:, ::-1].astype(int) - canvas.astype(int)).max() <= 1


@given(SIDES, SIDES, st.integers(1, 90))
def test_a_full_mask_covers_exactly_the_picture(width: int, height: int, size: int) -> None:
    canvas, _ = letterbox(np.full((height, width, 3), 255, dtype=np.uint8), size)
    assert np.array_equal(letterbox_mask(np.ones((height, width), dtype=bool), size), canvas[..., 0] == 255)


@settings(max_examples=15)
@given(st.lists(PICTURES, min_size=1, max_size=5), st.integers(4, 40), st.integers(1, 3))
def test_the_store_holds_the_canonical_form_of_every_picture(pictures: list[Picture], size: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for number, picture in enumerate(pictures):
            path = folder / f"{number}.png"
            Image.fromarray(picture).save(path)
            rows.append((f"{number:03d}", "NA", "bmode", str(path), sha256(path), pd.NA, pd.NA, pd.NA, pd.NA))
        columns = ["image_id", "patient_id", "modality", "path", "sha256"]
        columns += ["scan_x0", "scan_y0", "scan_x1", "scan_y1"]
        build(pd.DataFrame(rows, columns=columns), size, folder / "s.npy", folder / "s.csv", workers=workers)
        store = open_store(folder / "s.npy", folder / "s.csv")
        for row, picture in zip(store.index.to_dict("records"), pictures, strict=True):
            made = canonical(picture, size)
            assert np.array_equal(store.pixels[row["row"]], made.canvas)
            assert row["image_id"] == f"{row['row']:03d}" and row["patient_id"] == "NA"
            assert (row["scan_x0"], row["scan_y0"], row["scan_x1"], row["scan_y1"]) == made.scan
            assert (row["scale"], row["left"], row["top"]) == made.place
