"""Colours that are measurements: elastogram overlay to stiffness, colour Doppler to velocity, and back.

The model of a pixel is (1 - a) * grey * (1, 1, 1) + a * C(s): a colour of the map C laid over a grey level with
blending a; flow is opaque, a = 1. What is left of a colour when its mean is taken away (its chroma) does not depend
on the grey level, so the chroma says s, and the mean then says the grey level. Where two places of a map have one
chroma, the one whose grey level lies within 0..255 is taken.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonogrid.arrays import Colours, Mask, Picture
from sonogrid.config.modalities import MODALITIES
from sonogrid.images.messages import no_measurement

Plane = NDArray[np.float32]
"""H x W."""
_Ints = NDArray[np.intp]

COLOURED = 10
"""Range of a pixel's channels from which it has a colour; JPEG gives grey pixels beside colour less than this."""
FLOW_COLOURED = 24
"""The same for flow: slow flow is not shown (wall filter), and dim colour is the fringe of an edge in JPEG."""
OFF_MAP = 24.0
"""Distance in RGB from which a colour is none of the map's: text, callipers, the outline of the colour box."""
OPAQUE = 0.95
"""Blending from which nothing is said of the grey level below: rounding alone would move it by 10 levels of 255."""
BLENDING = (0.25, 1.0)
"""Range in which blending is estimated."""
OFF_FLOW = 40.0
"""The same for flow."""
MIRRORED = 16.0
"""Mean difference of a bar from its mirror image below which it has no direction."""
ROUNDING = float(np.sqrt(0.75))
"""Distance by which rounding to 8 bits moves a colour at most."""

_CHUNK = 4096
_CELL = 4
_TO_PLANE: NDArray[np.float32] = np.divide([[1, 1], [-1, 1], [0, -2]], np.sqrt([2, 6]), dtype=np.float32)


class Tolerance(NamedTuple):
    """Largest error of a decoded picture that was encoded with the same map and blending, in shares of 0..1."""

    stiffness: float
    grey: float


class Stiffness(NamedTuple):
    """A decoded elastogram; all planes are H x W."""

    stiffness: Plane
    """0 (low end of the bar) to 1; 0 where nothing is coloured."""
    grey: Plane
    """0..1; below the overlay as far as blending allows, 0 there from OPAQUE on."""
    coloured: Mask
    blending: float
    """0 where nothing is coloured."""


class Flow(NamedTuple):
    """A decoded colour Doppler picture; all planes are H x W."""

    velocity: Plane
    """-1 (away) to 1 (towards the probe) of the scale, 0 where there is no flow; power Doppler is never negative."""
    grey: Plane
    """0..1; 0 where there is flow, as flow is opaque."""
    mask: Mask


def tolerance(colours: Colours, blending: float) -> Tolerance:
    """The largest errors of decode(encode(x)) that 8-bit rounding can cause, wherever a pixel is seen as coloured.

    A pixel is rounded by at most ROUNDING, and the decoder answers with a place of the map at most as far from it as
    the true one. So the answer is a place whose line of grey levels comes within 2 * ROUNDING of the true one's; the
    largest distance between two such places is the tolerance. It is large where a map crosses itself.
    """
    level = colours.mean(axis=1)
    apart = np.square(blending * (_chroma(colours)[:, None] - _chroma(colours)[None])).sum(axis=2)
    lift = blending * np.abs(level[:, None] - level[None])
    beyond = np.maximum(lift - (1 - blending) * 255, 0)
    alike = apart + 3 * np.square(beyond) <= (2 * ROUNDING + 1e-3) ** 2
    first, second = np.nonzero(alike)
    stiffness = (float(np.abs(first - second).max()) + 0.5) / 255 + 1e-6
    if blending > OPAQUE:
        return Tolerance(stiffness, 1.0)
    return Tolerance(stiffness, min(1.0, (0.5 + float(lift[alike].max())) / (1 - blending) / 255 + 1e-6))


def encode_stiffness(
    stiffness: Plane, grey: Plane, colours: Colours, blending: float, inside: Mask | None = None
) -> Picture:
    """Lay stiffness (0..1) over a grey picture (0..1), as a scanner shows it; only where `inside`, if it is given."""
    level = np.repeat(255 * np.asarray(grey, dtype=np.float32)[..., None], 3, axis=2)
    index = np.clip(np.rint(255 * stiffness), 0, 255).astype(np.intp)
    shown = np.float32(1 - blending) * level + np.float32(blending) * colours[index]
    if inside is not None:
        shown = np.where(inside[..., None], shown, level)
    return _to_bytes(shown)


def decode_stiffness(picture: Picture, colours: Colours, blending: float | None = None) -> Stiffness:
    """Invert encode_stiffness on an H x W x 3 picture by its colour map; blending is estimated where it is not given.

    The errors are at most `tolerance` where blending is given and the picture was not compressed. Pixels without a
    colour, or with one that is none of the map's, are not coloured and keep their grey level.
    """
    code = _chroma_code(picture)
    counts = np.bincount(code.ravel(), minlength=_CODES)
    present = np.flatnonzero(counts)
    present = present[_spread(present) >= COLOURED]
    level = _level(picture)
    if present.size == 0:
        nothing = np.zeros(level.shape, dtype=np.float32)
        return Stiffness(nothing, level / np.float32(255), nothing.astype(np.bool_), 0.0)
    if blending is None:
        blending = _estimate_blending(present, counts[present], colours)
    nearest = np.zeros(_CODES, dtype=np.intp)
    distance = np.full(_CODES, np.inf, dtype=np.float32)
    nearest[present], distance[present] = _nearest(_from_code(present), np.float32(blending) * _chroma(colours))
    index, off = nearest[code], distance[code]
    coloured: Mask = np.isfinite(off)
    bar_level = np.float32(blending) * colours.mean(axis=1)
    below = level - bar_level[index]
    violation = np.maximum(np.maximum(-below, below - np.float32((1 - blending) * 255)), 0)
    off = np.square(off) + 3 * np.square(violation)
    unsure = coloured & (off > ROUNDING**2) & (violation > 0)
    if unsure.any():
        index[unsure], off[unsure] = _nearest_segment(picture[unsure], colours, blending)
        below[unsure] = level[unsure] - bar_level[index[unsure]]
    coloured &= off <= OFF_MAP**2
    grey = level
    if blending <= OPAQUE:
        grey = np.where(coloured, np.clip(below / np.float32(1 - blending), 0, 255), level)
    else:
        grey = np.where(coloured, np.float32(0), level)
    stiffness = np.where(coloured, index.astype(np.float32) / np.float32(255), np.float32(0))
    return Stiffness(stiffness, grey / np.float32(255), coloured, blending)


def velocities(colours: Colours) -> NDArray[np.float32]:
    """The velocity -1..1 that each of a flow map's 256 colours means.

    No flow is where the map is darkest, and the scale is linear, so that a baseline off the middle is kept. A bar
    whose halves mirror each other is power Doppler shown in both directions: its velocities are not negative.
    """
    place = np.arange(256, dtype=np.float32)
    bright = colours.max(axis=1)
    zero = float(place[bright <= bright.min() + 1].mean())
    scale = ((place - zero) / max(zero, 255 - zero)).astype(np.float32)
    mirrored = float(np.abs(colours - colours[::-1]).mean()) < MIRRORED
    return np.abs(scale) if mirrored else scale


def encode_flow(velocity: Plane, mask: Mask, grey: Plane, colours: Colours) -> Picture:
    """Paint velocity (-1..1) where `mask` over a grey picture (0..1), as a scanner shows it."""
    scale = velocities(colours)
    shown = np.repeat(255 * np.asarray(grey, dtype=np.float32)[..., None], 3, axis=2)
    wanted = velocity[mask].astype(np.float32)
    # Half a step for each place: the nearest place of an increasing scale; a mirrored one increases from its middle.
    first = int(scale.argmin())
    index = first + np.rint(np.interp(wanted, scale[first:], np.arange(256 - first))).astype(np.intp)
    shown[mask] = colours[index]
    return _to_bytes(shown)


def decode_flow(picture: Picture, colours: Colours) -> Flow:
    """Invert encode_flow on an H x W x 3 picture by its colour map.

    The error is at most that of `tolerance` at blending 1, on the scale of `velocities`. Grey pixels, and colours
    that are none of the map's (text, outline of the colour box, fringes of JPEG), are no flow.
    """
    level = _level(picture)
    mask: Mask = _spread(_chroma_code(picture)) >= FLOW_COLOURED
    velocity = np.zeros(level.shape, dtype=np.float32)
    if mask.any():
        index, off = _nearest_segment(picture[mask], colours, 1.0)
        velocity[mask] = np.where(off <= OFF_FLOW**2, velocities(colours)[index], np.float32(0))
        mask[mask] = off <= OFF_FLOW**2
    grey = np.where(mask, np.float32(0), level / np.float32(255))
    return Flow(velocity, grey, mask)


def stiffness_channels(view: Picture, colours: Colours) -> Picture:
    """Return one view as stiffness, 255 where coloured, and grey, 0..255."""
    stiffness, grey, coloured, _ = decode_stiffness(view, colours)
    return _stacked(stiffness, coloured.astype(np.float32), grey)


def velocity_channels(view: Picture, colours: Colours) -> Picture:
    """Return one view as flow towards, flow away, and grey, 0..255."""
    velocity, grey, _ = decode_flow(view, colours)
    return _stacked(np.maximum(velocity, 0), np.maximum(-velocity, 0), grey)


CHANNELS = {decode.__name__: decode for decode in (stiffness_channels, velocity_channels)}
"""The functions that a measurement of the table of modalities names."""


def measurement_channels(view: Picture, colours: Colours, modality: str) -> Picture:
    """Return one view as measurements in three channels, 0..255, so that black is nothing at all.

    Raises ValueError for a modality whose colours mean nothing that can be decoded.
    """
    measurement = MODALITIES[modality].measurement
    if measurement is None:
        raise no_measurement(modality)
    return CHANNELS[measurement.decode](view, colours)


def inverted(bar: Colours) -> Colours:
    """Return the same bar for devices that put the other end on top: its low end becomes the high one."""
    return bar[::-1].copy()


def _stacked(*channels: Plane) -> Picture:
    return _to_bytes(255 * np.stack(channels, axis=2))


def _to_bytes(picture: NDArray[np.float32]) -> Picture:
    """Rounded and held to 0..255."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


_SIDE = 511
_CODES = _SIDE * _SIDE
"""Chroma of an 8-bit pixel as one number: R - G and G - B, each -255..255. Far fewer are in use than colours."""


def _chroma_code(picture: Picture) -> _Ints:
    wide = picture.astype(np.int32)
    red, green, blue = wide[..., 0], wide[..., 1], wide[..., 2]
    code: _Ints = ((red - green + 255) * _SIDE + (green - blue + 255)).astype(np.intp)
    return code


def _differences(code: _Ints) -> tuple[_Ints, _Ints]:
    return code // _SIDE - 255, code % _SIDE - 255


def _spread(code: _Ints) -> _Ints:
    """Largest channel less smallest."""
    first, second = _differences(code)
    both: _Ints = np.maximum(np.maximum(np.abs(first), np.abs(second)), np.abs(first + second))
    return both


def _from_code(code: _Ints) -> NDArray[np.float32]:
    """Chroma in the plane, as _chroma."""
    first, second = _differences(code)
    plane = np.stack([first / np.sqrt(2), (first + 2 * second) / np.sqrt(6)], axis=1)
    return plane.astype(np.float32)


def _chroma(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """n x 3 RGB to n x 2: coordinates in the plane of differences from grey, distances as in RGB."""
    plane: NDArray[np.float32] = colours @ _TO_PLANE
    return plane


def _level(picture: Picture) -> Plane:
    """Mean of the channels, 0..255."""
    total = picture[..., 0].astype(np.float32) + picture[..., 1] + picture[..., 2]
    return total / np.float32(3)


def _nearest(points: NDArray[np.float32], curve: NDArray[np.float32]) -> tuple[_Ints, NDArray[np.float32]]:
    """For each of n points the nearest of 256 places of a curve, and its distance."""
    index = np.empty(len(points), dtype=np.intp)
    length = np.square(curve).sum(axis=1)
    for start in range(0, len(points), _CHUNK):
        part = points[start : start + _CHUNK]
        index[start : start + _CHUNK] = (length - 2 * (part @ curve.T)).argmin(axis=1)
    return index, np.sqrt(np.square(points - curve[index]).sum(axis=1))


def _nearest_segment(pixels: Picture, colours: Colours, blending: float) -> tuple[_Ints, NDArray[np.float32]]:
    """For n x 3 pixels the place of the map that some grey level of 0..255 explains best; its squared distance."""
    wide = pixels.astype(np.int32)
    unique, back = np.unique((wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2], return_inverse=True)
    points = np.stack([unique >> 16, (unique >> 8) & 255, unique & 255], axis=1).astype(np.float32)
    curve = np.float32(blending) * colours
    plane, level = _chroma(curve), curve.mean(axis=1)
    index = np.empty(len(points), dtype=np.intp)
    off = np.empty(len(points), dtype=np.float32)
    room = np.float32((1 - blending) * 255)
    for start in range(0, len(points), _CHUNK):
        part = points[start : start + _CHUNK]
        apart = np.square(plane).sum(axis=1) - 2 * (_chroma(part) @ plane.T)
        below = part.mean(axis=1)[:, None] - level
        apart += 3 * np.square(below - np.clip(below, 0, room))
        index[start : start + _CHUNK] = best = apart.argmin(axis=1)
        off[start : start + _CHUNK] = apart[np.arange(len(part)), best] + np.square(_chroma(part)).sum(axis=1)
    return index[back], np.maximum(off[back], 0)


def _estimate_blending(codes: _Ints, counts: _Ints, colours: Colours) -> float:
    """The blending under which the map explains the chroma of the coloured pixels best.

    Pixels are pooled in cells of the chroma plane, so that a large patch of one stiffness does not drown the rest,
    and so that their order does not matter.
    """
    first, second = _differences(codes)
    cell = ((first + 256) // _CELL) * (512 // _CELL) + (second + 256) // _CELL
    weight = np.bincount(cell, counts)
    chroma = _from_code(codes)
    used = np.flatnonzero(weight)
    points = np.stack([np.bincount(cell, counts * chroma[:, axis])[used] for axis in (0, 1)], axis=1)
    points = (points / weight[used, None]).astype(np.float32)
    weight = np.sqrt(weight[used])
    curve = _chroma(colours)
    cross = points @ curve.T
    length, own = np.square(curve).sum(axis=1), np.square(points).sum(axis=1)

    def misfit(blending: float) -> float:
        off = (np.float32(blending**2) * length - np.float32(2 * blending) * cross).min(axis=1) + own
        return float((weight * np.minimum(np.sqrt(np.maximum(off, 0)), OFF_MAP)).sum())

    best = min(np.linspace(*BLENDING, 16), key=misfit)
    for step in (0.02, 0.005, 0.00125):
        near = np.clip(best + step * np.arange(-3, 4), *BLENDING)
        best = min(near, key=misfit)
    return float(best)
