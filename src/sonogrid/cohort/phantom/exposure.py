"""One exposure: from a patient's traits to a picture of one modality as the scanner exports it, and its mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.cohort.phantom.flow import draw_flow
from sonogrid.cohort.phantom.scanner import (
    DUAL_GAP,
    Scanner,
    dual_export,
    dual_view,
    grey_picture,
    overlay_flow,
    overlay_stiffness,
    single_export,
    single_view,
)
from sonogrid.cohort.phantom.scene import (
    Anatomy,
    Node,
    Tissue,
    TraitValues,
    View,
    draw_tissue,
    node_frame,
    place_node,
)
from sonogrid.cohort.phantom.speckle import PointSpread, ViewMap, echo_envelope, log_compress
from sonogrid.config.modalities import MODALITIES

NOISE_FLOOR_DB = -64.0
WHITE_DB = -4.0
"""Echo level that a gain of 0 dB shows white."""


@dataclass(frozen=True)
class Subject:
    """Who is examined with which scanner: all that the pictures of one patient have in common."""

    traits: TraitValues
    size_mm: float
    anatomy: Anatomy
    scanner: Scanner


@dataclass(frozen=True)
class _Scan:
    """One view as the probe sees it."""

    node: Node
    tissue: Tissue
    picture: ViewMap
    settings: tuple[str, ...]


def _scan(subject: Subject, view: View, loss_db: float, rng: np.random.Generator) -> _Scan:
    """Place the lesion, lay out the tissue and form the B-mode picture, `loss_db` darker than plain B-mode."""
    scanner, anatomy = subject.scanner, subject.anatomy
    node = place_node(subject.traits, subject.size_mm, view, anatomy, rng)
    tissue = draw_tissue(view, anatomy, node, node_frame(view, node), rng)
    shading = np.cumsum(tissue.attenuation_db, axis=0, dtype=np.float32)
    level = np.maximum(tissue.level_db - 0.10 * view.depth - shading, np.float32(NOISE_FLOOR_DB))
    gain = scanner.gain_db + rng.normal(0.0, 1.2) - loss_db
    slope = rng.normal(0.0, 0.04)
    compensated = level + np.float32(0.10 + slope) * view.depth
    envelope = echo_envelope(compensated, view.mm_per_pixel, PointSpread(), rng)
    grey = log_compress(envelope, gain - WHITE_DB, scanner.dynamic_range_db)
    settings = (
        f"Gn {50 + gain:.0f}",
        f"DR {scanner.dynamic_range_db:.0f}",
        f"D {scanner.depth_mm / 10:.1f} cm",
        "not a real patient",
    )
    return _Scan(node, tissue, grey_picture(grey, scanner), settings)


def _box_around(node: Node, view: View, margin_mm: float) -> Box:
    """The node's surroundings as a box of pixels, clear of the skin and of the view's edges."""
    half = node.long_mm / 2 + margin_mm
    pixel, middle = view.mm_per_pixel, view.width / 2
    return Box(
        max(6, round(middle + (node.x_mm - half) / pixel)),
        max(round(3.0 / pixel), round((node.depth_mm - half) / pixel)),
        min(view.width - 6, round(middle + (node.x_mm + half) / pixel)),
        min(view.height - 6, round((node.depth_mm + half) / pixel)),
    )


def _on_canvas(node: Mask, picture: Picture, *corners: tuple[int, int]) -> Picture:
    """The node's mask, 0 or 255, at each corner (x, y) of a canvas as large as the picture."""
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    height, width = node.shape
    for x, y in corners:
        mask[y : y + height, x : x + width] = 255 * node
    return mask


class Exposure(NamedTuple):
    """A picture, its mask (H x W, 0 or 255), its scan area, and the side of a pixel in mm."""

    picture: Picture
    mask: Picture
    scan: Box
    mm_per_pixel: float


Expose = Callable[[Subject, np.random.Generator], Exposure]


def _bmode(subject: Subject, rng: np.random.Generator) -> Exposure:
    view = single_view(subject.scanner)
    scan = _scan(subject, view, 0.0, rng)
    picture, box = single_export(scan.picture, subject.scanner, ("2D", *scan.settings), None)
    return Exposure(picture, _on_canvas(scan.tissue.node, picture, box[:2]), box, view.mm_per_pixel)


def _flow(subject: Subject, rng: np.random.Generator) -> Exposure:
    view, scanner = single_view(subject.scanner), subject.scanner
    scan = _scan(subject, view, 3.0, rng)
    velocity = draw_flow(view, subject.anatomy, scan.node, scan.tissue, rng)
    shown = overlay_flow(scan.picture, velocity, _box_around(scan.node, view, 4.0), scanner)
    picture, box = single_export(shown, scanner, ("CFI  PRF 0.9k", *scan.settings), scanner.flow)
    return Exposure(picture, _on_canvas(scan.tissue.node, picture, box[:2]), box, view.mm_per_pixel)


def _stiffness(subject: Subject, rng: np.random.Generator) -> Exposure:
    view, scanner = dual_view(subject.scanner), subject.scanner
    scan = _scan(subject, view, 0.0, rng)
    shown = overlay_stiffness(scan.picture, scan.tissue.stiffness, _box_around(scan.node, view, 6.0), scanner)
    picture, box = dual_export(scan.picture, shown, scanner, ("ELASTO", *scan.settings))
    second = (box.x0 + view.width + DUAL_GAP, box.y0)
    mask = _on_canvas(scan.tissue.node, picture, box[:2], second)
    return Exposure(picture, mask, box, view.mm_per_pixel)


DRAWINGS: dict[str | None, Expose] = {None: _bmode, "flow": _flow, "stiffness": _stiffness}
"""`drawing` of a modality's row -> what draws its pictures; the class enters through the traits alone."""


def expose(modality: str, subject: Subject, rng: np.random.Generator) -> Exposure:
    """Draw a picture of one modality."""
    return DRAWINGS[MODALITIES[modality].drawing](subject, rng)
