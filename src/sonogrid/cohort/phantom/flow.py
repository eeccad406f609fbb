"""Blood flow: the vessels of a node as a velocity map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures
from scipy.ndimage import gaussian_filter

from sonogrid.cohort.phantom.scene import Anatomy, Node, Tissue, View
from sonogrid.cohort.phantom.speckle import ViewMap

Path = NDArray[np.float64]
"""Points x 2 of a vessel in the node's frame: along and across, in half axes, in the direction of flow."""

GRID_MM = 0.2
POINTS = 60


def draw_flow(view: View, anatomy: Anatomy, node: Node, tissue: Tissue, rng: np.random.Generator) -> ViewMap:
    """Velocity towards the probe in -1..1 of the colour scale, 0 where no flow is seen."""
    pattern = str(node.traits["flow"])
    paths = []
    if pattern in ("hilar", "central", "mixed"):
        paths += _tree(rng, branches=4 if pattern != "mixed" else 3)
    if pattern in ("peripheral", "mixed"):
        paths += _arcs(rng, arcs=int(rng.integers(4, 6)) if pattern != "mixed" else 3)
    rows = round(view.height * view.mm_per_pixel / GRID_MM)
    columns = round(view.width * view.mm_per_pixel / GRID_MM)
    power, signed = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    for path in paths:
        row, column, towards = _on_grid(path, node, columns)
        keep = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        strength = rng.uniform(0.7, 1.2)
        np.add.at(power, (row[keep], column[keep]), np.float32(strength))
        np.add.at(signed, (row[keep], column[keep]), (strength * towards[keep]).astype(np.float32))
    sigma = 0.42 / GRID_MM
    power, signed = gaussian_filter(power, sigma), gaussian_filter(signed, sigma)
    power *= 1 + np.float32(0.35) * rng.standard_normal(power.shape, dtype=np.float32)
    seen = power > np.float32(0.16)
    speed = np.clip(0.25 + 0.8 * np.sqrt(np.maximum(power, 0)), 0, 0.95)
    velocity = np.where(seen, np.where(signed >= 0, speed, -speed), 0).astype(np.float32)
    small = Pictures.fromarray(velocity).resize((view.width, view.height), Pictures.Resampling.BILINEAR)
    return _with_artery(view, anatomy, tissue, np.asarray(small), rng)


def _with_artery(view: View, anatomy: Anatomy, tissue: Tissue, velocity: ViewMap, rng: np.random.Generator) -> ViewMap:
    """Add the artery's laminar flow, its direction the same in one patient."""
    x, depth = view.x - np.float32(anatomy.vessel_x_mm), view.depth - np.float32(anatomy.vessel_depth_mm)
    radius = (x**2 + depth**2) / np.float32(anatomy.vessel_mm**2)
    laminar = anatomy.side * (0.92 - 0.45 * radius + 0.06 * view.texture(rng, 0.8, 0.8))
    return np.asarray(np.where(tissue.lumen, laminar, velocity), dtype=np.float32)


def _on_grid(path: Path, node: Node, columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Path]:
    """Grid cells that a vessel crosses and its velocity towards a beam steered by 15 degrees, in -1..1."""
    along, across = path[:, 0] * node.long_mm / 2, path[:, 1] * node.short_mm / 2
    x = node.x_mm + along * np.cos(node.tilt) - across * np.sin(node.tilt)
    depth = node.depth_mm + along * np.sin(node.tilt) + across * np.cos(node.tilt)
    dx, dy = np.gradient(x), np.gradient(depth)
    towards = (0.26 * dx - 0.97 * dy) / np.maximum(np.hypot(dx, dy), 1e-9)
    row = np.floor(depth / GRID_MM).astype(np.int64)
    return row, np.floor(x / GRID_MM + columns / 2).astype(np.int64), towards


def _tree(rng: np.random.Generator, branches: int) -> list[Path]:
    """A trunk that enters at one pole and branches in the middle of the node."""
    end = rng.choice((-1.0, 1.0))
    t = np.linspace(0, 1, POINTS)
    wave = rng.uniform(-0.12, 0.12)
    paths = [np.column_stack((end * (0.95 - 1.15 * t), wave * np.sin(np.pi * t)))]
    for branch in range(branches):
        start = end * rng.uniform(-0.1, 0.35)
        side = 1.0 if branch % 2 else -1.0
        reach = rng.uniform(0.32, 0.55)
        lean = rng.uniform(0.15, 0.45)
        paths.append(np.column_stack((start - end * lean * t, side * reach * t**0.8)))
    return paths


def _arcs(rng: np.random.Generator, arcs: int) -> list[Path]:
    """Vessels along the capsule; some send a short twig inwards."""
    t = np.linspace(0, 1, POINTS)
    first = rng.uniform(0, 2 * np.pi)
    paths = []
    for arc in range(arcs):
        span = rng.uniform(0.55, 0.95) * rng.choice((-1.0, 1.0))
        angle = first + arc * 2 * np.pi / arcs + rng.uniform(-0.25, 0.25) + span * (t - 0.5)
        radius = rng.uniform(0.90, 0.99) + 0.03 * np.sin(7 * t)
        paths.append(np.column_stack((radius * np.cos(angle), radius * np.sin(angle))))
        if rng.random() < 0.35:
            inward = 0.92 - 0.22 * t[: POINTS // 2]
            paths.append(np.column_stack((inward * np.cos(angle[0]), inward * np.sin(angle[0]))))
    return paths
