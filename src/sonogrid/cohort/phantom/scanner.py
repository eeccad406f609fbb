"""The scanner's export: scan area, frame, burned-in text, colour maps and bars; one invented device a hospital."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

from sonogrid.arrays import Box, Colours, Picture
from sonogrid.cohort.phantom.colour_maps import FLOW_MAPS, STIFFNESS_MAPS, colours
from sonogrid.cohort.phantom.scene import View
from sonogrid.cohort.phantom.speckle import ViewMap

PROBE_MM = 40.0
CANVAS = (640, 480)
DUAL_CANVAS = (800, 400)
SINGLE_HEIGHT = 400
DUAL_WIDTH = 350
DUAL_GAP = 6
OVERLAY = 0.62


@dataclass(frozen=True)
class Scanner:
    """An invented device and how its hospital sets it; nothing here depends on a patient's class."""

    hospital: str
    device: str
    depth_mm: float
    gain_db: float
    dynamic_range_db: float
    gamma: float
    left: int
    top: int
    background: tuple[int, int, int]
    ink: tuple[int, int, int]
    flow: Colours
    stiffness: Colours


SCANNERS = (
    Scanner(
        hospital="north",
        device="SimScan 100",
        depth_mm=32.0,
        gain_db=1.0,
        dynamic_range_db=62.0,
        gamma=1.0,
        left=70,
        top=42,
        background=(0, 0, 0),
        ink=(200, 208, 214),
        flow=FLOW_MAPS["simulated_north"],
        stiffness=STIFFNESS_MAPS["simulated_north"],
    ),
    Scanner(
        hospital="harbour",
        device="EchoPhantom 3",
        depth_mm=35.0,
        gain_db=-4.0,
        dynamic_range_db=66.0,
        gamma=0.95,
        left=96,
        top=36,
        background=(10, 12, 18),
        ink=(236, 190, 92),
        flow=FLOW_MAPS["simulated_harbour"],
        stiffness=STIFFNESS_MAPS["simulated_harbour"],
    ),
    Scanner(
        hospital="valley",
        device="Speckla M",
        depth_mm=38.0,
        gain_db=5.0,
        dynamic_range_db=57.0,
        gamma=1.05,
        left=118,
        top=48,
        background=(0, 0, 0),
        ink=(120, 220, 160),
        flow=FLOW_MAPS["simulated_valley"],
        stiffness=STIFFNESS_MAPS["simulated_valley"],
    ),
)


def single_view(scanner: Scanner) -> View:
    """The view of a B-mode or colour Doppler picture: full height, as wide as the probe."""
    pixel = scanner.depth_mm / SINGLE_HEIGHT
    return View(SINGLE_HEIGHT, round(PROBE_MM / pixel), pixel)


def dual_view(scanner: Scanner) -> View:
    """One of the two views of an elastography picture."""
    pixel = PROBE_MM / DUAL_WIDTH
    return View(round(scanner.depth_mm / pixel), DUAL_WIDTH, pixel)


def grey_picture(grey: ViewMap, scanner: Scanner) -> ViewMap:
    """Grey level in 0..1 to RGB in 0..255 through the device's grey map."""
    level = 255 * np.power(grey, np.float32(scanner.gamma))
    return np.repeat(level[:, :, None], 3, axis=2)


def overlay_flow(picture: ViewMap, velocity: ViewMap, box: Box, scanner: Scanner) -> ViewMap:
    """Paint velocity (-1..1, 0: none) inside the colour box, and the box's outline."""
    shown, (x0, y0, x1, y1) = picture.copy(), box
    part = velocity[y0:y1, x0:x1]
    seen = np.abs(part) > 0.3
    index = np.clip(np.rint(127.5 + 127.5 * part), 0, 255).astype(np.uint8)
    shown[y0:y1, x0:x1][seen] = scanner.flow[index[seen]]
    return outline(shown, box, (235, 235, 235))


def overlay_stiffness(picture: ViewMap, stiffness: ViewMap, box: Box, scanner: Scanner) -> ViewMap:
    """Blend the stiffness colour (0 soft .. 1 hard) over the picture inside the box, and outline the box."""
    shown, (x0, y0, x1, y1) = picture.copy(), box
    index = np.clip(np.rint(255 * stiffness[y0:y1, x0:x1]), 0, 255).astype(np.uint8)
    shown[y0:y1, x0:x1] *= np.float32(1 - OVERLAY)
    shown[y0:y1, x0:x1] += np.float32(OVERLAY) * scanner.stiffness[index]
    return outline(shown, box, (225, 225, 225))


def outline(picture: ViewMap, box: Box, colour: tuple[int, int, int]) -> ViewMap:
    """Draw the box's border, one pixel wide and inside it."""
    x0, y0, x1, y1 = box
    for edge in (np.s_[y0, x0:x1], np.s_[y1 - 1, x0:x1], np.s_[y0:y1, x0], np.s_[y0:y1, x1 - 1]):
        picture[edge] = colour
    return picture


def single_export(
    picture: ViewMap, scanner: Scanner, lines: tuple[str, ...], bar: Colours | None
) -> tuple[Picture, Box]:
    """Put one view (RGB in 0..255) into the frame; with a colour bar when `bar` is given. Also the scan area."""
    height, width = picture.shape[:2]
    canvas, draw = _frame(CANVAS, scanner, lines)
    x0, y0 = scanner.left, scanner.top
    _ruler(draw, x0 + width + 4, y0, height, scanner)
    _bar(canvas, draw, 14, y0 + 30, 120, colours("000000 ffffff"), ("", ""), scanner)
    if bar is not None:
        _bar(canvas, draw, 14, y0 + 190, 150, bar, ("+12", "-12"), scanner)
    array = np.array(canvas)
    array[y0 : y0 + height, x0 : x0 + width] = np.rint(picture).astype(np.uint8)
    return array, Box(x0, y0, x0 + width, y0 + height)


def dual_export(left: ViewMap, right: ViewMap, scanner: Scanner, lines: tuple[str, ...]) -> tuple[Picture, Box]:
    """Put two views side by side into the frame with the stiffness bar. Also the box that holds both."""
    height, width = left.shape[:2]
    canvas, draw = _frame(DUAL_CANVAS, scanner, lines)
    x0, y0 = 50, scanner.top - 6
    x1 = x0 + 2 * width + DUAL_GAP
    _bar(canvas, draw, 14, y0 + 40, 160, scanner.stiffness, ("HARD", "SOFT"), scanner)
    _ruler(draw, x1 + 4, y0, height, scanner)
    array = np.array(canvas)
    array[y0 : y0 + height, x0:x1] = 0
    array[y0 : y0 + height, x0 : x0 + width] = np.rint(left).astype(np.uint8)
    array[y0 : y0 + height, x1 - width : x1] = np.rint(right).astype(np.uint8)
    return array, Box(x0, y0, x1, y0 + height)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _frame(
    size: tuple[int, int], scanner: Scanner, lines: tuple[str, ...]
) -> tuple[Pictures.Image, ImageDraw.ImageDraw]:
    """An empty export: title above, settings below; nothing in it is a real device, person or place."""
    canvas = Pictures.new("RGB", size, scanner.background)
    draw = ImageDraw.Draw(canvas)
    draw.text((14, 8), f"SIMULATED  {scanner.device}", fill=scanner.ink, font=_font(15))
    draw.text(
        (size[0] - 14, 10),
        f"phantom clinic {scanner.hospital}",
        fill=scanner.ink,
        font=_font(12),
        anchor="ra",
    )
    draw.text((14, size[1] - 20), "   ".join(lines), fill=scanner.ink, font=_font(12))
    return canvas, draw


def _ruler(draw: ImageDraw.ImageDraw, x: int, y0: int, height: int, scanner: Scanner) -> None:
    """Depth marks every 5 mm, longer every 10 mm, with the depth in cm."""
    for mm in range(0, int(scanner.depth_mm) + 1, 5):
        y = y0 + round(mm * height / scanner.depth_mm)
        draw.line((x, y, x + (7 if mm % 10 == 0 else 3), y), fill=scanner.ink)
        if mm % 10 == 0 and mm:
            draw.text((x + 10, y - 6), str(mm // 10), fill=scanner.ink, font=_font(11))


def _bar(
    canvas: Pictures.Image,
    draw: ImageDraw.ImageDraw,
    x: int,
    y: int,
    height: int,
    bar: Colours,
    ends: tuple[str, str],
    scanner: Scanner,
) -> None:
    """A colour bar, its high end on top, named at both ends."""
    index = np.rint(np.linspace(255, 0, height)).astype(np.int64)
    strip = np.repeat(np.rint(bar[index])[:, None, :], 12, axis=1).astype(np.uint8)
    canvas.paste(Pictures.fromarray(strip), (x, y))
    draw.rectangle((x - 1, y - 1, x + 12, y + height), outline=scanner.ink)
    draw.text((x - 4, y - 16), ends[0], fill=scanner.ink, font=_font(10))
    draw.text((x - 4, y + height + 3), ends[1], fill=scanner.ink, font=_font(10))
