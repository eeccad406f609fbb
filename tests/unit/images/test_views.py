"""Dual views: split where one scan is shown twice, kept whole otherwise, and what a layout changes."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.phantom.scanner import DUAL_GAP, SCANNERS, Scanner, dual_export, overlay_flow, overlay_stiffness
from sonogrid.cohort.picture_files import open_picture
from sonogrid.config.cohort import ScreenLayout
from sonogrid.images.boxes import whole
from sonogrid.images.views import find_views, view_of

SHARED = Path(__file__).parents[4] / "shared" / "data"
HEIGHT, WIDTH = 220, 260
COLOUR_BOX = (60, 40, 200, 160)


def speckle(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Picture:
    """Grey tissue: speckle of a few pixels, darker with depth, as RGB."""
    noise = np.random.default_rng(seed).rayleigh(1.0, (height, width)).astype(np.float32)
    level = cv2.GaussianBlur(noise, (5, 5), 1.0) * np.linspace(110, 40, height, dtype=np.float32)[:, None]
    return np.repeat(np.clip(level, 0, 255)[..., None], 3, axis=2).astype(np.uint8)


def elastogram(grey: Picture, scanner: Scanner = SCANNERS[0]) -> Picture:
    stiffness = np.tile(np.linspace(0, 1, grey.shape[1], dtype=np.float32), (grey.shape[0], 1))
    return np.rint(overlay_stiffness(grey.astype(np.float32), stiffness, COLOUR_BOX, scanner)).astype(np.uint8)


def doppler(grey: Picture, scanner: Scanner = SCANNERS[0]) -> Picture:
    velocity = np.zeros(grey.shape[:2], dtype=np.float32)
    velocity[80:100, 90:150], velocity[120:130, 100:170] = 0.7, -0.6
    return np.rint(overlay_flow(grey.astype(np.float32), velocity, COLOUR_BOX, scanner)).astype(np.uint8)


def spot(grey: Picture) -> Picture:
    """Colour in a tenth as many pixels as in `doppler`."""
    shown = grey.copy()
    shown[100:110, 100:120] = (255, 40, 10)
    return shown


def joined(first: Picture, second: Picture, gap: int, line: int = 0, stacked: bool = False) -> Picture:
    axis = 0 if stacked else 1
    shape = list(first.shape)
    shape[axis] = gap
    return np.concatenate([first, np.full(shape, line, dtype=np.uint8), second], axis=axis)


def jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize(("gap", "line"), [(0, 0), (1, 230), (2, 0), (6, 0), (20, 0)])
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("quality", [None, 80])
def test_each_modality_gets_its_view(gap: int, line: int, stacked: bool, quality: int | None) -> None:
    grey = speckle(1)
    first = Box(0, 0, WIDTH, HEIGHT)
    x, y = (0, HEIGHT + gap) if stacked else (WIDTH + gap, 0)
    second = Box(x, y, x + WIDTH, y + HEIGHT)
    for coloured, modality in ((elastogram(grey), "elastography"), (doppler(grey), "cdfi")):
        for swapped in (False, True):
            one, other = (coloured, grey) if swapped else (grey, coloured)
            picture = joined(one, other, gap, line, stacked)
            picture = picture if quality is None else jpeg(picture, quality)
            views = (second, first) if swapped else (first, second)
            assert view_of(picture, whole(picture), "bmode") == views[0]
            assert view_of(picture, whole(picture), modality) == views[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
def test_exports_of_the_simulated_scanners(scanner: Scanner) -> None:
    grey = speckle(2, 300, 350)
    left, right = grey.astype(np.float32), elastogram(grey, scanner).astype(np.float32)
    picture, (x0, y0, x1, y1) = dual_export(left, right, scanner, ("ELASTO",))
    scan, second = Box(x0, y0, x1, y1), Box(x0 + 350 + DUAL_GAP, y0, x1, y1)
    assert view_of(picture, scan, "elastography") == second
    assert view_of(picture, scan, "bmode") == Box(x0, y0, x0 + 350, y1)
    # A scan area that took in the ruler and a part of the frame: the views end where they are alike.
    loose = Box(x0 - 40, y0, x1 + 30, y1)
    found = view_of(picture, loose, "elastography")
    assert np.abs(np.subtract(found, second)).max() <= 6


@pytest.mark.parametrize("modality", ["bmode", "cdfi", "elastography"])
def test_what_shows_no_scan_twice_is_kept_whole(modality: str) -> None:
    grey, other = speckle(3), speckle(4)
    kept = [
        speckle(5, 300, 500),
        doppler(speckle(6, 300, 500)),
        elastogram(grey),
        # Two planes, grey or in colour: different speckle.
        joined(grey, other, 6),
        joined(doppler(grey), doppler(other), 0),
        joined(grey, doppler(other), 6),
        # One scan twice, but nobody said which of two alike views is meant.
        joined(grey, grey, 6),
        joined(doppler(grey), doppler(grey), 6),
        # Colour in both, though little of it in one.
        joined(spot(grey), doppler(grey), 6),
        np.zeros((4, 4, 3), dtype=np.uint8),
        np.full((100, 300, 3), 90, dtype=np.uint8),
    ]
    for picture in kept:
        assert view_of(picture, whole(picture), modality) == whole(picture)  # type: ignore[arg-type]


def test_a_layout_says_which_of_two_grey_views_is_meant() -> None:
    grey = speckle(7)
    picture = joined(grey, grey, 6)
    layout = ScreenLayout(views=("elastography", "bmode"))
    scan = whole(picture)
    assert view_of(picture, scan, "bmode", layout) == Box(WIDTH + 6, 0, scan.x1, HEIGHT)
    assert view_of(picture, scan, "elastography", layout) == Box(0, 0, WIDTH, HEIGHT)
    assert view_of(picture, scan, "cdfi", layout) == scan
    # The same device also exports single views.
    assert view_of(grey, whole(grey), "bmode", layout) == whole(grey)
    # A layout that is silent about views leaves them to detection.
    dual = joined(grey, elastogram(grey), 6)
    assert view_of(dual, scan, "bmode", ScreenLayout(colour_bar=(0, 0, 5, 90))) == Box(0, 0, WIDTH, HEIGHT)


def test_a_layout_with_a_place_is_followed_without_looking() -> None:
    picture = joined(speckle(8), speckle(9), 10)
    scan = Box(0, 10, 2 * WIDTH + 10, 200)
    side = ScreenLayout(views=("bmode", "cdfi"), at=(WIDTH + 10) / (2 * WIDTH + 10))
    assert view_of(picture, scan, "bmode", side) == Box(0, 10, WIDTH, 200)
    assert view_of(picture, scan, "cdfi", side) == Box(WIDTH + 10, 10, scan.x1, 200)
    stacked = ScreenLayout(views=("bmode", "cdfi"), at=0.5, direction="stacked")
    assert view_of(picture, scan, "cdfi", stacked) == Box(0, 105, scan.x1, 200)


@pytest.mark.skipif(not (SHARED / "busi").is_dir(), reason="the shared real data are not there")
def test_no_real_bmode_picture_is_split() -> None:
    files = [file for file in sorted((SHARED / "busi").glob("*/*.png")) if "_mask" not in file.name][::4]
    files += sorted((SHARED / "busbra" / "Images").glob("*.png"))[::8]
    for picture in map(open_picture, files):
        for modality in ("bmode", "cdfi"):
            assert view_of(picture, whole(picture), modality) == whole(picture)  # type: ignore[arg-type]
        # Many show two planes side by side; none of them shows one scan twice.
        assert find_views(picture, whole(picture), "side_by_side") is None
        assert find_views(picture, whole(picture), "stacked") is None
