"""Time to read from a store, to make a picture canonical, and to bootstrap a whole grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from sonogrid.arrays import Box
from sonogrid.cohort.picture_files import open_picture
from sonogrid.evaluation.intervals import Interval, Resamples, bca_interval, draw_resamples, pair_tables
from sonogrid.evaluation.metrics import auc_ovo
from sonogrid.images.canvas import Canonical, canonical
from sonogrid.images.frame import scan_area
from sonogrid.images.framing import Framing
from sonogrid.images.store import INDEX_COLUMNS, open_store
from sonogrid.stored import Store

SHORT = pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, warmup_iterations=1)
STORED, SIDE, READ = 600, 224, 64
SCAN = (120, 60, 680, 540)
CONFIGURATIONS, RESAMPLES, PATIENTS, FOLDS = 24, 2000, 120, 5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store in which every pixel of a row is the row's number, modulo 256."""
    folder = tmp_path_factory.mktemp("store")
    numbers = np.arange(STORED, dtype=np.int64)
    pixels = np.broadcast_to((numbers % 256).astype(np.uint8)[:, None, None, None], (STORED, SIDE, SIDE, 3))
    np.save(folder / "bmode.npy", pixels)
    index = pd.DataFrame(0, index=numbers, columns=list(INDEX_COLUMNS)).assign(row=numbers)
    index.to_csv(folder / "bmode.csv", index=False)
    return open_store(folder / "bmode.npy", folder / "bmode.csv")


@SHORT
def test_store_reading(benchmark: BenchmarkFixture, store: Store) -> None:
    """64 random rows of 224 px from the memory map, in the page cache."""
    rows = np.random.default_rng(1).choice(STORED, READ, replace=False)
    read: NDArray[np.uint8] = benchmark(lambda: np.array(store.pixels[rows]))
    assert read.shape == (READ, SIDE, SIDE, 3)
    assert (read == (rows % 256)[:, None, None, None]).all()


@pytest.fixture(scope="module")
def screenshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 800 x 600 pixels: speckle within SCAN, black around it."""
    picture = np.zeros((600, 800, 3), dtype=np.uint8)
    left, top, right, bottom = SCAN
    speckle = np.random.default_rng(1).rayleigh(40, (bottom - top, right - left))
    picture[top:bottom, left:right] = np.clip(speckle + 20, 0, 255)[..., None]
    path = tmp_path_factory.mktemp("pictures") / "screenshot.png"
    Image.fromarray(picture).save(path)
    return path


@SHORT
def test_preprocessing(benchmark: BenchmarkFixture, screenshot: Path) -> None:
    """One picture of 800 x 600 pixels from its file to its canvas: decoded, scan area found, letterboxed."""

    def preprocess() -> tuple[Box, Canonical]:
        picture = open_picture(screenshot)
        scan = scan_area(picture)
        return scan, canonical(picture, Framing(scan), SIDE)

    scan, made = benchmark(preprocess)
    assert scan == SCAN
    assert made.canvas.shape == (SIDE, SIDE, 3)
    # 560 x 480 pixels on 224: 192 rows, 16 black ones above and below.
    assert not made.canvas[:16].any() and not made.canvas[-16:].any()
    assert made.canvas[16:-16].all()


@pytest.mark.benchmark(min_rounds=1, max_time=1.0, warmup=False)
def test_bootstrap(benchmark: BenchmarkFixture) -> None:
    """BCa intervals of the macro AUC of 24 configurations on the same 2,000 resamples of 120 patients."""
    random = np.random.default_rng(1)
    y = np.arange(PATIENTS) % 3
    fold = np.arange(PATIENTS) // 3 % FOLDS
    scores = random.normal(size=(CONFIGURATIONS, PATIENTS, 3)) + 1.5 * np.eye(3)[y]
    patients = [f"P{number:03d}" for number in range(PATIENTS)]

    def bootstrap() -> tuple[list[float], list[Interval]]:
        drawn: Resamples = draw_resamples(patients, [str(one) for one in y], fold.tolist(), RESAMPLES, seed=1)
        position = drawn.positions(patients)
        estimates = [pair_tables(y, one, fold, position, drawn).estimate(auc_ovo) for one in scores]
        return [one.value for one in estimates], [bca_interval(one, 0.95) for one in estimates]

    values, intervals = benchmark(bootstrap)
    assert len(intervals) == CONFIGURATIONS
    # In the score of a class its patients lie 1.5 above all others, with unit variance: AUC = Phi(1.5 / sqrt(2)).
    assert np.mean(values) == pytest.approx(0.856, abs=0.03)
    assert all(one.low < value < one.high for one, value in zip(intervals, values, strict=True))
