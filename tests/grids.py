"""Grids by their number of cells, as changes to config.yaml: for benchmarks and tests of planning."""

from __future__ import annotations

from sonogrid.config.backbone_names import known_backbones

SIZES = {36: (2, 2, 3), 1200: (8, 10, 5), 3000: (20, 10, 5), 12000: (80, 10, 5)}
"""Cells -> number of backbones, of inits, of folds; three modalities."""


def study(cells: int) -> dict[str, object]:
    """Return a configuration above config.yaml whose grid has this many cells."""
    backbones, inits, folds = SIZES[cells]
    named = {f"init{number}": {"source": "random"} for number in range(inits)}
    grid = {"backbones": sorted(known_backbones())[:backbones], "inits": list(named)}
    return {"inits": named, "grid": grid, "splits": {"folds": folds}, "statistics": {"pretraining_effect": None}}
