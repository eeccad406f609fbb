"""Simulated frames with burned-in text of which every pixel is known; all names, dates and numbers are invented."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.cohort.phantom.exposure import Subject, expose
from sonogrid.cohort.phantom.scanner import SCANNERS
from sonogrid.cohort.phantom.scene import draw_anatomy
from sonogrid.images.boxes import crop

SIZES = (8, 10, 12, 14, 16, 20, 24, 28)
"""Font sizes in pixels; capitals are about 0.7 of it high."""
COLOURS = {
    "white": (255, 255, 255),
    "yellow": (255, 230, 60),
    "green": (60, 230, 90),
    "cyan": (90, 220, 240),
    "grey": (165, 165, 165),
}
FONTS = ("Pillow", "DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf")
"""Pillow's own font, and fonts that matplotlib ships: the same on every machine."""
TRAITS = {
    "ratio": 0.6,
    "echogenicity": -15.0,
    "margin": "sharp",
    "hilum": "absent",
    "necrosis": "none",
    "calcification": "none",
    "flow": "hilar",
    "stiffness": 0.8,
}
_FAMILIES = ("NOVAK", "Okafor", "LINDQVIST", "Moreau", "TANAKA", "Haddad", "O'Brien", "SILVA-COSTA", "Weiss", "Petrov")
_GIVEN = ("ANNA", "Jonas", "MEI", "Karim", "LUCIA", "Peter", "Ingrid", "OMAR", "Chloe", "Yuki")
_PLACES = ("Northgate Hospital", "St. Elena Clinic", "HARBOUR MEDICAL", "Univ. Hosp. Valley")
_CHINESE = ("王小明 女 45岁", "李建国 男 62岁", "张丽华", "淋巴结 左侧颈部", "第一人民医院", "超声科 陈医生")
KINDS = ("name", "date", "id", "place", "calliper", "setting")


@dataclass(frozen=True)
class Item:
    """One piece of text in a picture: what it says, how it is drawn, and its ink as H x W booleans."""

    text: str
    kind: str
    size: int
    colour: str
    smooth: bool
    turned: bool
    cut: bool
    ink: Mask


@dataclass(frozen=True)
class Ink:
    """How a piece of text is to be drawn; `turned` is a quarter turn, to be read from bottom to top."""

    size: int
    colour: str = "white"
    font: str = "Pillow"
    smooth: bool = True
    turned: bool = False


def export(modality: str, seed: int) -> tuple[Picture, Box]:
    """A simulated picture as its scanner exports it, frame, bars and text included, and its scan area."""
    rng = np.random.default_rng(seed)
    subject = Subject(TRAITS, 16.0, draw_anatomy("neck", rng), SCANNERS[seed % len(SCANNERS)])
    exposure = expose(modality, subject, rng)
    return exposure.picture, exposure.scan


def phantom(modality: str, seed: int, size: tuple[int, int] | None = None) -> Picture:
    """The scan area of a simulated picture, without any text; resized to (width, height) if a size is given."""
    scan = Image.fromarray(crop(*export(modality, seed)))
    return np.array(scan if size is None else scan.resize(size, Image.Resampling.BICUBIC))


def as_jpeg(picture: Picture, quality: int) -> Picture:
    """The picture after JPEG compression."""
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


def invented(kind: str, rng: np.random.Generator) -> str:
    """A text of one of KINDS (or 'chinese'), invented."""
    number = "".join(rng.choice(list("0123456789"), 8))
    given, family, place = rng.choice(_GIVEN), rng.choice(_FAMILIES), rng.choice(_PLACES)
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1931, 2025)
    choices = {
        "name": (f"{family}, {given}", f"{given} {family}", f"{family}^{given}", f"{family} {given} F 0{number[0]}4Y"),
        "date": (
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{day:02}/{month:02}/{year} 14:0{number[0]}",
        ),
        "id": (f"ID {number}", f"ID: {number[:4]}-{number[4:]}", f"MRN {number[:6]}", f"{number}"),
        "place": (str(place),),
        "calliper": (f"D1 {number[0]}.{number[1]} mm", f"1 L 0.{number[:2]} cm", f"Dist {number[0]}.{number[1:3]} cm"),
        "setting": (f"Gn {number[:2]}", f"DR {number[:2]}", f"L12-5  {number[0]}.{number[1]} cm", "MI 0.8 TIS 0.4"),
        "chinese": _CHINESE,
    }
    return str(rng.choice(choices[kind]))


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if name == "Pillow":
        return ImageFont.load_default(size)
    if not Path(name).is_absolute():
        name = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name)
    return ImageFont.truetype(name, size)


def coverage(text: str, how: Ink) -> npt.NDArray[np.float32]:
    """How far each pixel of the smallest rectangle around a text is covered by ink, 0..1."""
    font = _font(how.font, how.size)
    left, top, right, bottom = (round(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (right - left + 4, bottom - top + 4))
    draw = ImageDraw.Draw(canvas)
    draw.fontmode = "L" if how.smooth else "1"
    draw.text((2 - left, 2 - top), text, fill=255, font=font)
    drawn = np.asarray(canvas, dtype=np.float32) / 255
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    drawn = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.rot90(drawn) if how.turned else drawn


def write(picture: Picture, text: str, x: int, y: int, how: Ink) -> Mask:
    """Draw a text into the picture with its left upper corner at (x, y), cut at the edges; its ink, H x W."""
    drawn = coverage(text, how)
    height, width = picture.shape[:2]
    y0, x0 = min(max(y, 0), height), min(max(x, 0), width)
    y1, x1 = max(y0, min(y + drawn.shape[0], height)), max(x0, min(x + drawn.shape[1], width))
    part = drawn[y0 - y : y1 - y, x0 - x : x1 - x, None]
    below = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = np.rint(below * (1 - part) + np.float32(COLOURS[how.colour]) * part).astype(np.uint8)
    ink = np.zeros((height, width), dtype=np.bool_)
    ink[y0:y1, x0:x1] = part[..., 0] > 0
    return ink


def burn(picture: Picture, items: int, rng: np.random.Generator, chinese: str = "") -> tuple[Picture, list[Item]]:
    """A copy of the picture with up to `items` texts at random places, apart from each other.

    One in eight is a quarter turned, one in eight cut by the picture's edge, one in four without smooth edges.
    `chinese` is the path of a font with Chinese characters: then all texts are Chinese.
    """
    picture, written = picture.copy(), []
    height, width = picture.shape[:2]
    taken = np.zeros((height, width), dtype=np.bool_)
    for _ in range(8 * items):
        if len(written) == items:
            break
        kind = "chinese" if chinese else str(rng.choice(KINDS))
        how = Ink(
            int(rng.choice(SIZES)),
            str(rng.choice(list(COLOURS))),
            chinese or str(rng.choice(FONTS)),
            smooth=bool(rng.random() < 0.75),
            turned=bool(rng.random() < 0.125),
        )
        text, cut = invented(kind, rng), bool(rng.random() < 0.125)
        high, wide = coverage(text, how).shape
        if high + 8 > height or wide + 8 > width:
            continue
        x, y = int(rng.integers(4, width - wide - 3)), int(rng.integers(4, height - high - 3))
        if cut:
            x, y = (x, -int(0.3 * high)) if how.turned else (int(rng.choice([-0.3 * wide, width - 0.7 * wide])), y)
        place = np.s_[max(y - 14, 0) : y + high + 14, max(x - 14, 0) : x + wide + 14]
        if taken[place].any():
            continue
        taken[place] = True
        ink = write(picture, text, x, y, how)
        written.append(Item(text, kind, how.size, how.colour, how.smooth, how.turned, cut, ink))
    return picture, written
