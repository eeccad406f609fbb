"""Sequence of Ultrasound Regions (0018,6011): where the scan is, what it shows, and mm per pixel.

Codes are those of PS3.3 C.8.5.5.1: spatial format 1 is 2D; data type 1 is tissue, 2 colour flow; physical unit 3 is cm.
What is kept are 2D regions of tissue or flow; bars, traces, spectra and graphics are no views.

A region wholly outside the pixels is dropped. One that leaves them to one side, as where a file was cropped or a writer
counts from 1, is clipped. One that leaves them to the right and below is of a picture that was made smaller after its
regions were written, most likely (pydicom's examples_ybr_color.dcm was halved): neither its place nor its mm are
believed, and it is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sonogrid.arrays import Box
from sonogrid.dicom import messages
from sonogrid.dicom.header import DAMAGE, Header, value
from sonogrid.dicom.messages import unusable
from sonogrid.dicom.spacing import is_spacing

KEYWORD = "SequenceOfUltrasoundRegions"
MAX_REGIONS = 64
TWO_DIMENSIONAL = 1
"""Region Spatial Format (0018,6012) of 2D; 2 is M-mode, 3 spectral, 4 a trace, 5 graphics."""
NOT_SAID, TISSUE, COLOUR_FLOW = 0, 1, 2
"""Region Data Type (0018,6014) of what can be a view; 3 and 4 are spectral Doppler, 13 and 14 bars, others traces."""
CENTIMETRES = 3
"""Physical Units X and Y Direction (0018,6024) and (0018,6026) of a length."""
SLACK = 1
"""Pixels by which a region may leave the picture without a remark: some writers count from 1 or beyond the last."""


@dataclass(frozen=True)
class Region:
    """A 2D region, clipped to the pixels; mm_per_pixel is (x, y), None where it is not told."""

    box: Box
    data_type: int
    mm_per_pixel: tuple[float, float] | None


def read_regions(header: Header, width: int, height: int) -> tuple[tuple[Region, ...], tuple[str, ...]]:
    """The usable 2D regions from left to right and from top to bottom, and what was dropped and why.

    Raises InputError if there are regions and all lie outside the pixels, or none is 2D.
    """
    items = value(header, KEYWORD)
    if not items:
        return (), ()
    if len(items) > MAX_REGIONS:
        raise unusable(header.path, KEYWORD, messages.many_regions(len(items), MAX_REGIONS))
    kept, notes, misplaced = [], [], False
    for number, item in enumerate(items, start=1):
        try:
            found = _region(item, width, height)
        except DAMAGE as error:
            raise unusable(header.path, KEYWORD, messages.damaged_region(number)) from error
        if isinstance(found, Region):
            kept.append(found)
        else:
            notes.append(f"region {number} {found}")
            misplaced |= found == _ELSEWHERE
    # Regions of a larger picture are no reason to refuse this one: its scan area can be detected.
    if not kept and not misplaced:
        raise unusable(header.path, KEYWORD, messages.no_region(notes))
    return tuple(sorted(kept, key=lambda region: (region.box.x0, region.box.y0))), tuple(notes)


_OUTSIDE = "lies outside the pixels"
_ELSEWHERE = "is of a larger picture than this one"
_NO_VIEW = "is no 2D tissue or flow"


def _region(item: Any, width: int, height: int) -> Region | str:
    """One region, or why it is none."""
    spatial, data_type = int(item.RegionSpatialFormat), int(item.RegionDataType)
    if spatial != TWO_DIMENSIONAL or data_type not in (NOT_SAID, TISSUE, COLOUR_FLOW):
        return _NO_VIEW
    x0, y0 = int(item.RegionLocationMinX0), int(item.RegionLocationMinY0)
    # The standard names the corners' pixels, so the last column and row belong to the region.
    x1, y1 = int(item.RegionLocationMaxX1) + 1, int(item.RegionLocationMaxY1) + 1
    box = Box(max(0, x0), max(0, y0), min(width, x1), min(height, y1))
    if box.x0 >= box.x1 or box.y0 >= box.y1:
        return _OUTSIDE
    if x1 > width + SLACK and y1 > height + SLACK:
        return _ELSEWHERE
    return Region(box, data_type, _spacing(item))


def _spacing(item: Any) -> tuple[float, float] | None:
    if {int(item.PhysicalUnitsXDirection), int(item.PhysicalUnitsYDirection)} != {CENTIMETRES}:
        return None
    # A negative delta says that values fall with the pixel's number, as above the skin line.
    x, y = 10 * abs(float(item.PhysicalDeltaX)), 10 * abs(float(item.PhysicalDeltaY))
    return (x, y) if is_spacing(x, y) else None


def views(regions: Sequence[Region]) -> tuple[Box, ...]:
    """The boxes of separate views, in the order of the regions: one that lies mostly in another is part of it."""
    found: list[Box] = []
    for box in sorted((region.box for region in regions), key=lambda box: -box.area):
        for at, other in enumerate(found):
            if 2 * _overlap(box, other) >= box.area:
                found[at] = hull([box, other])
                break
        else:
            found.append(box)
    return tuple(sorted(found))


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around all."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))


def _overlap(one: Box, other: Box) -> int:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0, width) * max(0, height)


def agreed_spacing(regions: Sequence[Region]) -> tuple[float, float] | None:
    """mm per pixel (x, y) if every region tells it and they agree to 1%."""
    told = [region.mm_per_pixel for region in regions]
    first = told[0] if told else None
    if first is None or any(one is None for one in told):
        return None
    same = all(math.isclose(a, b, rel_tol=0.01) for one in told if one for a, b in zip(one, first, strict=True))
    return first if same else None
