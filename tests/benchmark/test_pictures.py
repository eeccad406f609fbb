"""Time from picture files to canvases: reading, scan area, text, colours, letterbox, and the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from burned_in import export
from dicoms import write
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from pytest_benchmark.fixture import BenchmarkFixture

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.phantom.colour_maps import FLOW_MAPS, STIFFNESS_MAPS
from sonogrid.cohort.registry import decoder_of
from sonogrid.config.images import Canvas
from sonogrid.files import sha256
from sonogrid.images.canvas import Canonical, canonical
from sonogrid.images.colour import encode_flow, encode_stiffness, stiffness_channels, velocity_channels
from sonogrid.images.frame import scan_area
from sonogrid.images.framing import SCAN, Framing
from sonogrid.images.store import INDEX_COLUMNS, build, open_store
from sonogrid.images.text import find_text
from sonogrid.perf.measuring import measure_speed
from sonogrid.stored import Store

SIDE = 224
HEIGHT, WIDTH = 300, 400
SCAN_BOX = (60, 30, 340, 270)
CODINGS = {
    "native": ExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg": JPEGBaseline8Bit,
    "jpeg_lossless": JPEGLosslessSV1,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
}
LOSSY = ("file_jpeg", "dicom_jpeg")
KINDS = ("file_png", "file_jpeg", *(f"dicom_{coding}" for coding in CODINGS))
WRITTEN = ("file_png", "file_jpeg", "dicom_native")
"""Kinds in the fast suite; the others differ in the decoder alone, whose time test_reading has."""


def screenshot() -> Picture:
    """An export of 400 x 300 pixels: speckle within SCAN_BOX, black around it. Simulated."""
    picture = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    left, top, right, bottom = SCAN_BOX
    speckle = np.random.default_rng(1).rayleigh(40, (bottom - top, right - left))
    picture[top:bottom, left:right] = np.clip(speckle + 20, 0, 255)[..., None]
    return picture


def source(kind: str, folder: Path, picture: Picture) -> Path:
    """Write a picture as a file of this kind: a picture file, or DICOM in one of CODINGS."""
    form, _, coding = kind.partition("_")
    if form == "file":
        path = folder / f"picture.{coding}"
        Image.fromarray(picture).save(path, **({"quality": 92} if coding == "jpeg" else {}))
        return path
    return write(folder / "picture.dcm", picture, CODINGS[coding], SOPInstanceUID="1.2.826.0.1.3680043.8.498.1")


def decoding(kind: str) -> tuple[str, dict[str, int]]:
    """The name of the decoder of a kind of file, and what it is told."""
    return ("dicom", {"frame": 0}) if kind.startswith("dicom") else ("pictures", {})


@pytest.mark.parametrize("kind", KINDS)
def test_reading(benchmark: BenchmarkFixture, tmp_path: Path, kind: str) -> None:
    """One picture of 400 x 300 pixels from its file to RGB, as the readers decode it; compressed DICOM in a worker."""
    picture = screenshot()
    path = source(kind, tmp_path, picture)
    decoder, told = decoding(kind)

    def check(read: Picture) -> None:
        difference = np.abs(read.astype(int) - picture)
        assert difference.mean() < 4 if kind in LOSSY else not difference.any()

    measure_speed(
        benchmark,
        lambda: decoder_of(decoder).decode(path, told),
        check=check,
        unit="picture",
        inputs=path.read_bytes(),
    )


def manifest(kind: str, folder: Path, count: int = 4) -> pd.DataFrame:
    """Rows of a manifest of as many pictures."""
    decoder, _ = decoding(kind)
    rows = []
    for number in range(count):
        own = folder / str(number)
        own.mkdir()
        path = source(kind, own, np.roll(screenshot(), number, axis=0))
        rows.append(
            {
                "image_id": f"image{number}",
                "patient_id": f"patient{number}",
                "modality": "bmode",
                "path": str(path),
                "decoder": decoder,
                "decoding": '{"frame": 0}' if decoder == "dicom" else "",
                "sha256": sha256(path),
                "device": "",
                "masked": "",
                **dict(zip(SCAN, SCAN_BOX, strict=True)),
                **dict.fromkeys(("mm_per_pixel_x", "mm_per_pixel_y"), None),
            }
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind in WRITTEN else pytest.mark.full) for kind in KINDS]
)
def test_store_writing(benchmark: BenchmarkFixture, tmp_path: Path, kind: str) -> None:
    """A store of four pictures: read, hashed, letterboxed to 224 px and written with its index."""
    images = manifest(kind, tmp_path)
    npy, csv = tmp_path / "out" / "bmode.npy", tmp_path / "out" / "bmode.csv"

    def make() -> int:
        npy.unlink(missing_ok=True)
        return build(images, Canvas(size=SIDE), npy, csv)

    def check(new: int) -> None:
        assert new == len(images) == len(open_store(npy, csv).pixels)

    measure_speed(
        benchmark,
        make,
        check=check,
        unit="image",
        count=len(images),
        inputs=[[Path(path).read_bytes() for path in images["path"]], images[list(SCAN)], images["decoder"], SIDE],
        numbers=lambda _: np.load(npy),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store in which every pixel of a row is the row's number, modulo 256."""
    numbers = np.arange(128, dtype=np.int64)
    pixels = np.broadcast_to((numbers % 256).astype(np.uint8)[:, None, None, None], (len(numbers), SIDE, SIDE, 3))
    np.save(tmp_path / "bmode.npy", pixels)
    index = pd.DataFrame(0, index=numbers, columns=list(INDEX_COLUMNS)).assign(row=numbers)
    index.to_csv(tmp_path / "bmode.csv", index=False)
    return open_store(tmp_path / "bmode.npy", tmp_path / "bmode.csv")


def test_store_reading(benchmark: BenchmarkFixture, store: Store) -> None:
    """16 random rows of 224 px from the memory map, in the page cache."""
    rows = np.random.default_rng(1).choice(len(store.pixels), 16, replace=False)

    def check(read: NDArray[np.uint8]) -> None:
        assert read.shape == (16, SIDE, SIDE, 3)
        assert (read == (rows % 256)[:, None, None, None]).all()

    measure_speed(
        benchmark,
        lambda: np.array(store.pixels[rows]),
        check=check,
        unit="image",
        count=16,
        inputs=[rows, store.pixels[rows]],
    )


def test_scan_area(benchmark: BenchmarkFixture) -> None:
    """The scan area of an export of 400 x 300 pixels."""
    picture = screenshot()

    def check(found: Box) -> None:
        assert found == SCAN_BOX

    measure_speed(benchmark, lambda: scan_area(picture), check=check, unit="picture", inputs=picture)


def test_canvas(benchmark: BenchmarkFixture) -> None:
    """One export of 400 x 300 pixels with known scan area to its canvas of 224 px."""
    picture, framing = screenshot(), Framing(Box(*SCAN_BOX))

    def check(made: Canonical) -> None:
        # 280 x 240 pixels on 224: 192 rows, 16 black ones above and below.
        assert not made.canvas[:16].any() and not made.canvas[-16:].any()
        assert made.canvas[16:-16].all()

    measure_speed(
        benchmark,
        lambda: canonical(picture, framing, SIDE),
        check=check,
        unit="image",
        inputs=[picture, SCAN_BOX, SIDE],
        numbers=lambda made: made.canvas,
    )


def test_colours_of_stiffness(benchmark: BenchmarkFixture) -> None:
    """The view of an elastogram of 100 x 100 pixels from colours to stiffness."""
    bar = STIFFNESS_MAPS["simulated_north"]
    true = np.repeat(np.linspace(0.1, 0.9, 100, dtype=np.float32)[None], 100, axis=0)
    picture = encode_stiffness(true, np.full_like(true, 0.4), bar, 0.6)

    def check(made: Picture) -> None:
        assert np.abs(made[..., 0] / 255 - true).max() < 0.05

    measure_speed(
        benchmark, lambda: stiffness_channels(picture, bar), check=check, unit="picture", inputs=[picture, bar]
    )


def test_colours_of_flow(benchmark: BenchmarkFixture) -> None:
    """The view of a colour Doppler picture of 100 x 100 pixels from colours to velocity."""
    bar = FLOW_MAPS["simulated_north"]
    true = np.repeat(np.linspace(-0.9, 0.9, 100, dtype=np.float32)[None], 100, axis=0)
    moving = np.abs(true) > 0.2
    picture = encode_flow(true, moving, np.full_like(true, 0.3), bar)

    def check(made: Picture) -> None:
        found = (made[..., 0].astype(float) - made[..., 1]) / 255
        assert np.abs(found - true)[moving].mean() < 0.05

    measure_speed(
        benchmark, lambda: velocity_channels(picture, bar), check=check, unit="picture", inputs=[picture, bar]
    )


def test_text(benchmark: BenchmarkFixture) -> None:
    """Text searched in the corner of a simulated export, 240 x 64 pixels."""
    picture = np.ascontiguousarray(export("bmode", 1)[0][:64, :240])

    def check(boxes: list[Box]) -> None:
        # The line at the top begins at (12, 9) and ends at 218.
        assert any(box.x0 < 20 and box.y0 < 12 and box.x1 > 200 for box in boxes), boxes

    measure_speed(benchmark, lambda: find_text(picture), check=check, unit="picture", inputs=picture)
