"""What lies under the probe: tissue layers, vessels and the node, as maps on the pixels of one view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as Pictures

from sonogrid.arrays import Mask
from sonogrid.cohort.phantom.speckle import ViewMap

TraitValues = dict[str, float | str]
"""Trait name -> value in its own unit, or the level's name."""

LINE_DB = -12.0
LUMEN_DB = -62.0
ANGLES = 720
FULL = 2 * np.pi


@dataclass(frozen=True)
class View:
    """The pixels of one view; x in mm from the middle to the right, depth in mm from the skin."""

    height: int
    width: int
    mm_per_pixel: float

    @property
    def x(self) -> ViewMap:
        """1 x width."""
        columns = np.arange(self.width, dtype=np.float32) + np.float32(0.5 - self.width / 2)
        return np.asarray(columns[None, :] * np.float32(self.mm_per_pixel))

    @property
    def depth(self) -> ViewMap:
        """height x 1."""
        rows = np.arange(self.height, dtype=np.float32) + np.float32(0.5)
        return np.asarray(rows[:, None] * np.float32(self.mm_per_pixel))

    def texture(self, rng: np.random.Generator, x_mm: float, depth_mm: float) -> ViewMap:
        """Smooth noise with mean about 0, sd about 0.8 and grains of the given size."""
        columns = max(2, round(self.width * self.mm_per_pixel / x_mm))
        rows = max(2, round(self.height * self.mm_per_pixel / depth_mm))
        coarse = Pictures.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
        return np.asarray(coarse.resize((self.width, self.height), Pictures.Resampling.BICUBIC))


@dataclass(frozen=True)
class Bed:
    """The tissue around the lesion, the reference of its echogenicity."""

    level_db: float
    grain_db: float
    septa_db: float
    stiffness: float


BEDS = {"neck": Bed(-28.0, 2.6, 10.0, 0.28), "thyroid": Bed(-23.0, 0.6, 0.0, 0.38)}
"""Fibrofatty tissue around a neck node; the homogeneous, bright thyroid gland."""


@dataclass(frozen=True)
class Anatomy:
    """What is one patient's own and stays the same in all pictures of that patient, whatever the class."""

    organ: str
    skin_mm: float
    fat_mm: float
    muscle_mm: float
    deep_mm: float
    side: int
    vessel_x_mm: float
    vessel_depth_mm: float
    vessel_mm: float
    brightness_db: float


def draw_anatomy(organ: str, rng: np.random.Generator) -> Anatomy:
    """Draw layer depths (mm below the skin), the side (-1 or 1) of the great vessel, and how well tissue echoes."""
    skin = rng.uniform(1.1, 1.6)
    fat = skin + rng.uniform(1.6, 3.2)
    side = int(rng.choice((-1, 1)))
    return Anatomy(
        organ=organ,
        skin_mm=skin,
        fat_mm=fat,
        muscle_mm=fat + (rng.uniform(1.6, 2.6) if organ == "thyroid" else rng.uniform(2.8, 4.6)),
        deep_mm=rng.uniform(26.5, 29.0),
        side=side,
        vessel_x_mm=side * rng.uniform(15.2, 17.2),
        vessel_depth_mm=rng.uniform(17.0, 22.0),
        vessel_mm=rng.uniform(2.6, 3.4),
        brightness_db=rng.normal(0.0, 1.2),
    )


@dataclass(frozen=True)
class Node:
    """The lesion in one picture: axes in mm, place in mm, tilt in radians, and its contour around a unit circle."""

    long_mm: float
    short_mm: float
    x_mm: float
    depth_mm: float
    tilt: float
    contour: ViewMap
    whiten: ViewMap
    traits: TraitValues


def place_node(traits: TraitValues, size_mm: float, view: View, anatomy: Anatomy, rng: np.random.Generator) -> Node:
    """Put a lesion of long axis `size_mm` (mm) somewhere in the middle of the view, below the muscle.

    A `ratio` above 1 stands the lesion upright: then its long axis runs along depth.
    """
    ratio = float(traits["ratio"])
    short_mm = size_mm * min(ratio, 1 / ratio)
    tilt = rng.uniform(-0.18, 0.18) + (np.pi / 2 if ratio > 1 else 0.0)
    half = 0.5 * np.hypot(size_mm * np.sin(tilt), short_mm * np.cos(tilt))
    bottom = view.height * view.mm_per_pixel - 2.5 - half
    top = min(7.0 + half, bottom)
    contour, whiten = _contour(str(traits["margin"]), rng)
    return Node(
        long_mm=size_mm,
        short_mm=short_mm,
        x_mm=rng.uniform(-1.5, 1.5) - 2.0 * anatomy.side,
        depth_mm=rng.uniform(top, min(bottom, top + 4.0)),
        tilt=tilt,
        contour=contour,
        whiten=whiten,
        traits=traits,
    )


def _contour(margin: str, rng: np.random.Generator) -> tuple[ViewMap, ViewMap]:
    """Radius per angle of a wavy unit circle, and the matrix that gives it the second moments of the disc.

    With that matrix the drawn lesion's axes, measured by moments, are those of the patient table, however wavy it is.
    """
    angle = np.arange(ANGLES) * FULL / ANGLES
    waves, height = (np.arange(3, 15), 0.26) if margin == "irregular" else (np.arange(3, 6), 0.07)
    phases = rng.uniform(0, FULL, len(waves))
    heights = height / waves * rng.uniform(0.3, 1.0, len(waves))
    radius = 1 + (heights[:, None] * np.cos(waves[:, None] * angle + phases[:, None])).sum(axis=0)
    unit = np.stack((np.cos(angle), np.sin(angle)))
    area = np.mean(radius**2)
    moments = 4 * (unit * radius**4) @ unit.T / ANGLES / 2 / area
    values, vectors = np.linalg.eigh(moments)
    root = (vectors * np.sqrt(values)) @ vectors.T
    return radius.astype(np.float32), root.astype(np.float32)


@dataclass(frozen=True)
class NodeFrame:
    """Every pixel as the node sees it: along and across in half axes, angle, and radius (1 on the contour)."""

    along: ViewMap
    across: ViewMap
    radius: ViewMap


def node_frame(view: View, node: Node) -> NodeFrame:
    """Coordinates of all pixels of the view in the frame of the node."""
    x, depth = view.x - np.float32(node.x_mm), view.depth - np.float32(node.depth_mm)
    cos, sin = np.float32(np.cos(node.tilt)), np.float32(np.sin(node.tilt))
    u = (x * cos + depth * sin) * np.float32(2 / node.long_mm)
    v = (depth * cos - x * sin) * np.float32(2 / node.short_mm)
    (a, b), (_, d) = node.whiten
    along, across = a * u + b * v, b * u + d * v
    step = (np.arctan2(across, along) * np.float32(ANGLES / FULL)).astype(np.int32) % ANGLES
    return NodeFrame(along, across, np.hypot(along, across) / node.contour[step])


@dataclass(frozen=True)
class Tissue:
    """Maps of one view: echo level in dB, excess attenuation in dB per pixel, stiffness in 0..1, vessels, the node."""

    level_db: ViewMap
    attenuation_db: ViewMap
    stiffness: ViewMap
    lumen: Mask
    node: Mask


def mix(base: ViewMap, value: ViewMap | float, weight: ViewMap) -> ViewMap:
    """`base` where the weight is 0, `value` where it is 1."""
    return np.asarray(base + weight * (value - base), dtype=np.float32)


def step(distance: ViewMap, width: float) -> ViewMap:
    """A soft step from 0 (distance far below 0) to 1 (far above), `width` wide in the distance's unit."""
    return np.asarray(1 / (1 + np.exp(np.clip(distance * np.float32(-4 / width), -30, 30))), dtype=np.float32)


def bump(distance: ViewMap, width: float) -> ViewMap:
    """A Gaussian ridge of height 1 where the distance is 0."""
    return np.asarray(np.exp(-0.5 * (distance / np.float32(width)) ** 2), dtype=np.float32)


def draw_tissue(view: View, anatomy: Anatomy, node: Node, frame: NodeFrame, rng: np.random.Generator) -> Tissue:
    """All maps of one view: layers, then the great vessel, then the lesion."""
    level, stiffness = _layers(view, anatomy, rng)
    attenuation = np.zeros((view.height, view.width), dtype=np.float32)
    if anatomy.organ == "thyroid":
        level, attenuation = _trachea(view, anatomy, level, attenuation)
    lumen = _vessel_radius(view, anatomy)
    level = mix(level, LUMEN_DB, step(1 - lumen, 0.12))
    wall = bump(lumen - 1.08, 0.075) * _facing(view, anatomy, lumen)
    level = mix(level, LINE_DB, wall)
    attenuation -= np.float32(0.6 * view.mm_per_pixel) * (lumen < 1)
    level, attenuation = _lesion(view, node, frame, level, attenuation, anatomy, rng)
    inside = step(1 - frame.radius, 0.25)
    grain = view.texture(rng, 2.0, 2.0)
    stiffness = mix(stiffness + 0.03 * grain, float(node.traits["stiffness"]) + 0.055 * grain, inside)
    mask = frame.radius < 1
    return Tissue(level, attenuation, stiffness, (lumen < 0.95) & ~mask, mask)


def _layers(view: View, anatomy: Anatomy, rng: np.random.Generator) -> tuple[ViewMap, ViewMap]:
    """Echo level and stiffness of skin, fat, muscle, the compartment of the lesion, and deep muscle."""
    sag = view.texture(rng, 18.0, 1e3)[:1] * np.float32(0.35) - np.float32(0.0022) * view.x**2
    depth = view.depth + sag + view.texture(rng, 9.0, 9.0) * np.float32(0.16)
    fibres = view.texture(rng, 7.0, 0.42)
    lobules = view.texture(rng, 4.5, 1.6)
    bed = BEDS[anatomy.organ]
    septa = bump(view.texture(rng, 8.0, 2.4), 0.13) * step(view.texture(rng, 6.0, 4.0), 1.5)
    level = -15.0 + 1.0 * fibres
    stiffness = np.full_like(depth, 0.45)
    for top, echo, stiff in (
        (anatomy.skin_mm, -33.0 + 4.5 * np.maximum(view.texture(rng, 6.0, 0.7), 0) + 1.0 * lobules, 0.16),
        (anatomy.fat_mm, -34.0 + 2.8 * fibres, 0.34),
        (anatomy.muscle_mm, bed.level_db + bed.grain_db * lobules + bed.septa_db * septa, bed.stiffness),
        (anatomy.deep_mm, -36.0 + 2.8 * fibres, 0.36),
    ):
        below = step(depth - np.float32(top), 0.35)
        level, stiffness = mix(level, echo, below), mix(stiffness, stiff, below)
        level = mix(level, LINE_DB - 5 + 1.5 * lobules, 0.85 * bump(depth - np.float32(top), 0.13))
    level = mix(level, -10.0, bump(depth - np.float32(0.25), 0.15))
    return level + np.float32(anatomy.brightness_db), stiffness


def _vessel_radius(view: View, anatomy: Anatomy) -> ViewMap:
    """Distance from the middle of the carotid artery in its radii."""
    x, depth = view.x - np.float32(anatomy.vessel_x_mm), view.depth - np.float32(anatomy.vessel_depth_mm)
    return np.asarray(np.hypot(x, depth * np.float32(1.08)) / np.float32(anatomy.vessel_mm))


def _facing(view: View, anatomy: Anatomy, radius: ViewMap) -> ViewMap:
    """How squarely the artery's wall meets the beam: 1 above and below the middle, 0.3 at the sides."""
    off = np.abs(view.depth - np.float32(anatomy.vessel_depth_mm)) / np.float32(anatomy.vessel_mm)
    return np.asarray(0.3 + 0.7 * np.minimum(off / np.maximum(radius, 0.1), 1) ** 2, dtype=np.float32)


def _trachea(view: View, anatomy: Anatomy, level: ViewMap, attenuation: ViewMap) -> tuple[ViewMap, ViewMap]:
    """The bright front wall of the trachea, opposite the artery, with air behind it: ringing, then shadow."""
    radius = np.hypot(view.x + np.float32(anatomy.side * 21.0), (view.depth - 17.5) * np.float32(0.95))
    within = 7.4 - radius
    ringing = LINE_DB - 8 - 3.2 * within + 5 * np.cos(within * np.float32(FULL / 1.1))
    level = mix(level, ringing, step(within, 0.25))
    level = mix(level, LINE_DB - 1, bump(within, 0.22))
    attenuation += np.float32(0.5 * view.mm_per_pixel * 4) * (within > 1.2)
    return level, attenuation


def _lesion(
    view: View,
    node: Node,
    frame: NodeFrame,
    level: ViewMap,
    attenuation: ViewMap,
    anatomy: Anatomy,
    rng: np.random.Generator,
) -> tuple[ViewMap, ViewMap]:
    """Paint the lesion over the tissue: body, capsule, hilum, necrosis, calcification, and what they shade."""
    traits, pixel, half = node.traits, view.mm_per_pixel, 0.5 * node.short_mm
    body = BEDS[anatomy.organ].level_db + anatomy.brightness_db + float(traits["echogenicity"])
    edge_mm = {"sharp": 0.25, "indistinct": 2.6, "irregular": 0.7}[str(traits["margin"])]
    inside = step((1 - frame.radius) * np.float32(half), edge_mm)
    level = mix(level, body + 0.9 * view.texture(rng, 1.8, 1.2), inside)
    rim = bump((frame.radius - 1) * np.float32(half), 0.16)
    if traits["margin"] == "sharp":
        level = mix(level, -17.0, 0.75 * rim)
    sides = np.abs(np.cos(node.tilt) * frame.along - np.sin(node.tilt) * frame.across) > 0.93
    attenuation += np.float32(2.2 * pixel) * rim * sides
    attenuation -= np.float32(0.10 * pixel) * inside
    level = _hilum(str(traits["hilum"]), frame, level, view.texture(rng, 1.2, 0.9), rng)
    if traits["necrosis"] == "present":
        level, attenuation = _cyst(node, frame, level, attenuation, body, pixel, rng)
    level, attenuation = _calcium(str(traits["calcification"]), view, node, frame, level, attenuation, rng)
    return level, attenuation


def _hilum(kind: str, frame: NodeFrame, level: ViewMap, grain: ViewMap, rng: np.random.Generator) -> ViewMap:
    """The fatty hilum: a bright, frayed stripe along the node that opens at one pole."""
    if kind == "absent":
        return level
    reach, thickness = (0.72, 0.34) if kind == "wide" else (0.58, 0.19)
    end = rng.choice((-1.0, 1.0))
    along = frame.along * np.float32(end) - np.float32(0.10)
    bend = frame.across - np.float32(0.16 * rng.uniform(-1, 1)) * (1 - along**2)
    lens = np.sqrt(np.maximum(1 - (along / np.float32(reach)) ** 2, 0))
    neck = np.float32(0.30) * step(along - np.float32(0.35), 0.4)
    half = np.float32(thickness) * np.maximum(lens, neck)
    frayed = half - np.abs(bend) + np.float32(0.05) * grain
    return mix(level, -16.5, 0.92 * step(frayed, 0.16) * step(np.float32(1.0) - frame.radius, 0.12))


def _cyst(
    node: Node,
    frame: NodeFrame,
    level: ViewMap,
    attenuation: ViewMap,
    body: float,
    pixel: float,
    rng: np.random.Generator,
) -> tuple[ViewMap, ViewMap]:
    """A necrotic or cystic part: nearly echo-free, off the middle, brighter tissue behind it."""
    direction, off = rng.uniform(0, FULL), rng.uniform(0.15, 0.32)
    along = frame.along - np.float32(off * np.cos(direction))
    across = frame.across - np.float32(off * np.sin(direction))
    ripple = 1 + 0.14 * np.cos(3 * np.arctan2(across, along) + np.float32(direction))
    radius = np.hypot(along, across) / (np.float32(rng.uniform(0.46, 0.56)) * ripple)
    within = step(1 - radius, 0.18)
    level = mix(level, min(body - 12.0, -52.0), within)
    return level, attenuation - np.float32(0.9 * pixel) * within


def _calcium(
    kind: str,
    view: View,
    node: Node,
    frame: NodeFrame,
    level: ViewMap,
    attenuation: ViewMap,
    rng: np.random.Generator,
) -> tuple[ViewMap, ViewMap]:
    """Punctate specks without shadow, or one or two coarse plates with shadow."""
    count, size, shade = {"none": (0, 0.0, 0.0), "punctate": (9, 0.24, 0.0), "coarse": (2, 0.75, 9.0)}[kind]
    distances = 0.72 * np.sqrt(rng.random(9))
    angles = rng.uniform(0, FULL, 9)
    for distance, angle in zip(distances[:count], angles[:count], strict=True):
        along = (frame.along - np.float32(distance * np.cos(angle))) * np.float32(0.5 * node.long_mm)
        across = (frame.across - np.float32(distance * np.sin(angle))) * np.float32(0.5 * node.short_mm)
        speck = bump(np.hypot(along * np.float32(0.8), across * np.float32(1.3)), size)
        level = mix(level, -6.0, np.minimum(1.3 * speck, 1))
        attenuation += np.float32(shade * view.mm_per_pixel) * (speck > 0.4)
    return level, attenuation
