"""Colour bars: found where they were drawn, whatever their map, height, outline and compression."""

import io
from itertools import product

import numpy as np
import pytest
from colour_maps import FLOW_MAPS, STIFFNESS_MAPS, colours
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sonogrid.arrays import Box, Colours, Picture
from sonogrid.cohort.phantom.scanner import SCANNERS, Scanner, dual_export, single_export
from sonogrid.config.cohort import ScreenLayout
from sonogrid.images.boxes import only
from sonogrid.images.colour_bar import bar_for, find_bars
from sonogrid.images.messages import NoCanvas

SCAN = Box(100, 40, 400, 300)
GREYS = colours("000000 ffffff")


def speckle(height: int, width: int) -> NDArray[np.float32]:
    grey = np.random.default_rng(0).integers(10, 200, (height, width, 1))
    return np.repeat(grey, 3, axis=2).astype(np.float32)


def screen(bar: Colours | None, box: Box, ink: tuple[int, int, int] | None = None, horizontal: bool = False) -> Picture:
    """A screen of 480 x 360 pixels with speckle in SCAN and a bar, its high end on top or at the right."""
    canvas = Image.new("RGB", (480, 360))
    draw = ImageDraw.Draw(canvas)
    draw.text((10, 5), "SIMULATED  not a real person", fill=(255, 255, 255))
    if ink is not None:
        draw.rectangle((box.x0 - 1, box.y0 - 1, box.x1, box.y1), outline=ink)
        draw.text((box.x0 - 4, box.y0 - 13), "HARD", fill=ink)
        draw.text((box.x0 - 4, box.y1 + 2), "SOFT", fill=ink)
    pixels = np.array(canvas)
    pixels[SCAN.y0 : SCAN.y1, SCAN.x0 : SCAN.x1] = speckle(SCAN.y1 - SCAN.y0, SCAN.x1 - SCAN.x0)
    if bar is not None:
        length = box.x1 - box.x0 if horizontal else box.y1 - box.y0
        along = bar[np.rint(np.linspace(0, 255, length)).astype(int)]
        pixels[box.y0 : box.y1, box.x0 : box.x1] = np.rint(along[None] if horizontal else along[::-1, None])
    return pixels


def jpeg(picture: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize("height", [60, 90, 150, 240])
@pytest.mark.parametrize("name", STIFFNESS_MAPS)
def test_the_only_coloured_bar_is_found_where_it_is(name: str, height: int) -> None:
    box, bar = Box(30, 70, 42, 70 + height), STIFFNESS_MAPS[name]
    for ink in (None, (200, 208, 214)):
        found = bar_for(screen(bar, box, ink), SCAN, "elastography")
        assert found.box == box and found.orientation == "vertical" and not found.grey
        assert np.abs(found.colours - bar).mean() < 2


@pytest.mark.parametrize("name", [name for name in FLOW_MAPS if name != "power"])
def test_a_flow_bar_is_not_cut_at_its_black_middle(name: str) -> None:
    box = Box(30, 80, 44, 200)
    for ink in (None, (236, 190, 92)):
        found = bar_for(screen(FLOW_MAPS[name], box, ink), SCAN, "cdfi")
        assert found.box == box and np.abs(found.colours - FLOW_MAPS[name]).mean() < 2


def test_a_horizontal_bar_has_its_high_end_at_the_right() -> None:
    box, bar = Box(150, 320, 270, 332), STIFFNESS_MAPS["jet"]
    found = bar_for(screen(bar, box, horizontal=True), SCAN, "elastography")
    assert found.box == box and found.orientation == "horizontal"
    assert np.abs(found.colours - bar).mean() < 2


def test_a_bar_inside_the_scan_area_is_found_too() -> None:
    box = Box(110, 100, 122, 220)
    found = bar_for(screen(STIFFNESS_MAPS["jet"], box, (225, 225, 225)), SCAN, "elastography")
    assert found.box == box


def test_the_grey_scale_is_told_apart() -> None:
    box = Box(30, 80, 42, 200)
    (found,) = find_bars(screen(GREYS, box, (200, 208, 214)), SCAN)
    assert found.grey and np.abs(np.subtract(found.box, box)).max() <= 2
    with pytest.raises(NoCanvas, match="no colour bar is found") as caught:
        bar_for(screen(GREYS, box), SCAN, "elastography")
    assert caught.value.remedy == "Set cohort.layouts.DEVICE.colour_bar, or images.elastography: rgb"


def test_a_screen_without_a_bar_has_none() -> None:
    assert find_bars(screen(None, SCAN), SCAN) == []
    assert find_bars(np.zeros((1, 1, 3), dtype=np.uint8)) == []


def test_the_layout_has_the_last_word() -> None:
    box, bar = Box(30, 80, 42, 200), STIFFNESS_MAPS["turbo"]
    picture = screen(bar, box)
    found = bar_for(picture, SCAN, "elastography", ScreenLayout(colour_bar=(30, 80, 42, 140)))
    assert found.box == Box(30, 80, 42, 140)
    # The upper half of the bar: from the middle of the map to its high end.
    assert np.abs(found.colours[[0, 255]] - bar[[128, 255]]).max() < 6
    with pytest.raises(ValueError, match="not inside a picture of 480 x 360"):
        bar_for(picture, SCAN, "elastography", ScreenLayout(colour_bar=(30, 80, 42, 1400)))
    with pytest.raises(ValueError, match="has no colour"):
        bar_for(picture, SCAN, "elastography", ScreenLayout(colour_bar=(0, 80, 12, 140)))


def test_one_scale_shown_twice_is_one_bar_and_two_scales_are_refused() -> None:
    first, second = Box(30, 80, 42, 200), Box(430, 80, 442, 200)
    picture = screen(STIFFNESS_MAPS["jet"], first)
    other = screen(STIFFNESS_MAPS["jet"], second)
    picture[:, 410:] = other[:, 410:]
    found = bar_for(picture, SCAN, "elastography")
    assert found.box == first and found.again == (second,)
    picture[:, 410:] = screen(FLOW_MAPS["red_blue"], second)[:, 410:]
    with pytest.raises(ValueError, match="2 colour bars that differ"):
        bar_for(picture, SCAN, "elastography")


def test_a_dark_end_without_an_outline_ends_with_the_bar() -> None:
    # What is as black as the background cannot be told from it: the last places of 120.
    for bar in (GREYS, FLOW_MAPS["power"]):
        box = Box(30, 80, 42, 200)
        (found,) = find_bars(screen(bar, box), SCAN)
        assert np.abs(np.subtract(found.box, box)).max() <= 3
        assert np.abs(found.colours - bar).mean() < 6


def test_a_letter_on_a_wide_bar_is_in_no_box() -> None:
    canvas = Image.fromarray(screen(STIFFNESS_MAPS["jet"], Box(30, 80, 70, 280)))
    ImageDraw.Draw(canvas).text((47, 170), "I", fill=(255, 255, 255))
    for bar in find_bars(np.array(canvas), SCAN):
        assert bar.box.y1 <= 176 or bar.box.y0 >= 176


def test_writing_on_a_coloured_strip_is_no_bar() -> None:
    box = Box(20, 320, 300, 340)
    canvas = Image.fromarray(screen(colours("000040 4060ff"), box, horizontal=True))
    ImageDraw.Draw(canvas).text((40, 324), "A NAME STANDS HERE, AND A DATE", fill=(255, 255, 255))
    assert find_bars(np.array(canvas), SCAN) == []


@pytest.mark.parametrize(("scanner", "quality"), list(product(SCANNERS, (None, 90, 75))))
def test_bars_of_the_simulated_scanners(scanner: Scanner, quality: int | None) -> None:
    dual, _ = dual_export(speckle(300, 350), speckle(300, 350), scanner, ("ELASTO",))
    single, area = single_export(speckle(400, 440), scanner, ("CFI",), scanner.flow)
    y = scanner.top
    known = [
        (dual, Box(50, y - 6, 756, y + 294), "elastography", Box(14, y + 34, 26, y + 194), scanner.stiffness),
        (single, Box(*area), "cdfi", Box(14, y + 190, 26, y + 340), scanner.flow),
    ]
    for picture, scan, modality, box, bar in known:
        shown = picture if quality is None else jpeg(picture, quality)
        found = bar_for(shown, scan, modality)  # type: ignore[arg-type]
        assert np.abs(np.subtract(found.box, box)).max() <= (0 if quality is None else 2)
        assert np.abs(found.colours - bar).mean() < (1 if quality is None else 4)
        # A copy that keeps nothing but scan area and bar says the same.
        again = bar_for(only(shown, [scan, found.box]), scan, modality)  # type: ignore[arg-type]
        assert again.box == found.box and np.array_equal(again.colours, found.colours)
