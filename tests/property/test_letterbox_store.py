"""Laws of the canonical picture: scan area, letterbox and store, for any picture."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sonogrid.arrays import Box, Picture
from sonogrid.config.images import Canvas
from sonogrid.files import sha256
from sonogrid.images.boxes import crop, whole
from sonogrid.images.canvas import canonical
from sonogrid.images.frame import scan_area
from sonogrid.images.framing import SCAN, Framing
from sonogrid.images.store import build, open_store

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


@settings(max_examples=15)
@given(st.lists(PICTURES, min_size=1, max_size=5), st.integers(4, 40), st.integers(1, 3))
def test_the_store_holds_the_canonical_form_of_every_picture(pictures: list[Picture], size: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for number, picture in enumerate(pictures):
            path = folder / f"{number}.png"
            Image.fromarray(picture).save(path)
            known = (f"{number:03d}", "NA", "bmode", str(path), "pictures", "", sha256(path), "", "", None, None)
            rows.append((*known, *whole(picture)))
        columns = ["image_id", "patient_id", "modality", "path", "decoder", "decoding", "sha256", "device", "masked"]
        columns += ["mm_per_pixel_x", "mm_per_pixel_y", *SCAN]
        build(
            pd.DataFrame(rows, columns=columns), Canvas(size=size), folder / "s.npy", folder / "s.csv", workers=workers
        )
        store = open_store(folder / "s.npy", folder / "s.csv")
        for row, picture in zip(store.index.to_dict("records"), pictures, strict=True):
            made = canonical(picture, Framing(whole(picture)), size)
            assert np.array_equal(store.pixels[row["row"]], made.canvas)
            assert row["image_id"] == f"{row['row']:03d}" and row["patient_id"] == "NA"
            assert tuple(row[side] for side in SCAN) == whole(picture)
            assert (row["scale_x"], row["scale_y"], row["left"], row["top"]) == made.place
