"""The scan area: known answers on drawn exports, and what happens to real pictures without a frame."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.picture_files import open_picture
from sonogrid.images.boxes import crop, whole
from sonogrid.images.frame import scan_area

SHARED = Path(__file__).parents[4] / "shared" / "data"
SCAN = Box(100, 60, 700, 560)


def export(scan: Box = SCAN, background: tuple[int, int, int] = (0, 0, 0)) -> Picture:
    """A screen of 800 x 600 pixels with speckle in `scan`, lines of text around it and a colour bar."""
    screen = Image.new("RGB", (800, 600), background)
    draw = ImageDraw.Draw(screen)
    for y, text in ((5, "SIMULATED HOSPITAL  GAIN 52"), (20, "L12-5  3.5 cm"), (580, "TIS 0.4 MI 0.8")):
        draw.text((110, y), text, fill=(255, 255, 255))
    for row in range(200):
        draw.line((30, 200 + row, 42, 200 + row), fill=(255 - row, row, 0))
    pixels = np.array(screen)
    speckle = np.random.default_rng(0).integers(20, 200, (scan.y1 - scan.y0, scan.x1 - scan.x0, 1))
    pixels[scan.y0 : scan.y1, scan.x0 : scan.x1] = speckle
    return pixels


@pytest.mark.parametrize("background", [(0, 0, 0), (8, 8, 12), (60, 60, 60)])
def test_frame_text_and_colour_bar_are_cut_away(background: tuple[int, int, int]) -> None:
    found = scan_area(export(background=background))
    assert np.abs(np.subtract(found, SCAN)).max() <= 2


def test_dual_view_keeps_both_views() -> None:
    picture = export(Box(100, 60, 380, 560))
    picture[60:560, 420:700] = picture[60:560, 100:380]
    assert np.abs(np.subtract(scan_area(picture), SCAN)).max() <= 2


def test_dark_shadow_inside_the_scan_is_kept() -> None:
    picture = export()
    picture[300:560, 300:500] = 0
    assert np.abs(np.subtract(scan_area(picture), SCAN)).max() <= 2


def test_jpeg_noise_in_the_frame_is_no_scan(tmp_path: Path) -> None:
    Image.fromarray(export()).save(tmp_path / "x.jpg", quality=85)
    assert np.abs(np.subtract(scan_area(open_picture(tmp_path / "x.jpg")), SCAN)).max() <= 8


def test_a_picture_without_a_frame_keeps_everything() -> None:
    speckle = np.random.default_rng(1).integers(20, 200, (300, 400, 1)).repeat(3, axis=2).astype(np.uint8)
    assert scan_area(speckle) == whole(speckle)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3), (200, 300)])
def test_nothing_to_find_keeps_the_whole_picture(shape: tuple[int, int]) -> None:
    flat = np.full((*shape, 3), 90, dtype=np.uint8)
    assert scan_area(flat) == Box(0, 0, shape[1], shape[0])


def test_crop_is_half_open_and_refuses_a_box_outside() -> None:
    picture = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(crop(picture, Box(1, 2, 3, 4)), picture[2:4, 1:3])
    for box in (Box(0, 0, 6, 4), Box(-1, 0, 3, 3), Box(2, 2, 2, 3)):
        with pytest.raises(ValueError, match="not inside a picture of 5 x 4"):
            crop(picture, box)


@pytest.mark.skipif(not (SHARED / "busi").is_dir(), reason="the shared real data are not there")
def test_real_pictures_that_were_cropped_by_their_authors_keep_nearly_everything() -> None:
    pictures = [file for file in sorted((SHARED / "busi").glob("*/*.png")) if "_mask" not in file.name][::20]
    pictures += sorted((SHARED / "busbra" / "Images").glob("*.png"))[::40]
    kept = [scan_area(one).area / whole(one).area for one in map(open_picture, pictures)]
    assert np.median(kept) > 0.99 and np.mean(np.array(kept) > 0.9) > 0.95 and min(kept) > 0.4
