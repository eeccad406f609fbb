"""From a picture to its canvas. All that this module imports decides a canvas (code.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sonogrid.arrays import Picture
from sonogrid.config.images import Canvas
from sonogrid.images.boxes import blackened, crop
from sonogrid.images.colour import inverted, measurement_channels
from sonogrid.images.colour_bar import bar_for
from sonogrid.images.framing import Framing, framing_of, layout_of
from sonogrid.images.geometry import Placement, letterbox


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
