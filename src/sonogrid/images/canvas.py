"""From a picture to its canvas. All that this module imports decides a canvas (code.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonogrid.arrays import Picture
from sonogrid.cohort.registry import decoder_of
from sonogrid.cohort.sources import decoding_of
from sonogrid.config.images import Canvas
from sonogrid.images.boxes import blackened, crop
from sonogrid.images.colour import inverted, measurement_channels
from sonogrid.images.colour_bar import bar_for
from sonogrid.images.framing import Framing, framing_of, layout_of
from sonogrid.images.geometry import Placement, letterbox, placement


@dataclass(frozen=True)
class Canonical:
    """One picture made canonical: S x S x 3 uint8, and where its scan area lies on the canvas."""

    canvas: Picture
    place: Placement


def canonical(picture: Picture, framing: Framing, size: int, aspect: float = 1.0) -> Canonical:
    """Make one H x W x 3 picture canonical: masked boxes black, scan area cut out, letterboxed.

    `aspect` is width by height of a pixel in mm. Raises ValueError if a box is not inside the picture.
    """
    shown = crop(blackened(picture, framing.masked) if framing.masked else picture, framing.scan)
    return Canonical(*letterbox(shown, size, aspect))


def canvas_of(row: Mapping[str, Any], how: Canvas) -> Canonical:
    """Decode the picture of a manifest's row and make its canvas. Raise InputError, and ValueError as make_canvas."""
    picture = decoder_of(row["decoder"]).decode(Path(row["path"]), decoding_of(row["decoding"]))
    return make_canvas(picture, row, how)


def place_of(row: Mapping[str, Any], how: Canvas) -> Placement:
    """Return where the scan area of a manifest's row lies on its canvas. Raise ValueError as make_canvas."""
    x0, y0, x1, y1 = framing_of(row).scan
    return placement(x1 - x0, y1 - y0, how.size, pixel_aspect(row))[0]


def make_canvas(picture: Picture, row: Mapping[str, Any], how: Canvas) -> Canonical:
    """Make the canvas of the picture of a manifest's row: as shown, or with its colours decoded to measurements.

    Raises ValueError for a row whose boxes or lengths the picture cannot have.
    """
    framing = framing_of(row)
    shown = picture if how.channels == "rgb" else _measured(picture, framing, row["modality"], row["device"], how)
    return canonical(shown, framing, how.size, pixel_aspect(row))


def pixel_aspect(row: Mapping[str, Any]) -> float:
    """Return width by height of a pixel in mm; 1 where the source does not say it (None or NaN)."""
    lengths = [row[f"mm_per_pixel_{axis}"] for axis in "xy"]
    wide, high = (np.nan if length is None else float(length) for length in lengths)
    return 1.0 if np.isnan(wide) or np.isnan(high) else wide / high


def _measured(picture: Picture, framing: Framing, modality: str, device: str, how: Canvas) -> Picture:
    """The picture with the colours of its scan area decoded to measurements; the rest is black."""
    layout = layout_of(device, how.layouts)
    bar = bar_for(picture, framing.scan, modality, layout)
    colours = inverted(bar.colours) if layout is not None and layout.high_end == "bottom" else bar.colours
    # A bar inside the scan area is no flow.
    scan = crop(blackened(picture, [bar.box, *bar.again]), framing.scan)
    decoded = np.zeros_like(picture)
    crop(decoded, framing.scan)[:] = measurement_channels(scan, colours, modality)
    return decoded
