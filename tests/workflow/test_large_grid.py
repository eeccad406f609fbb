"""A dry run of 12,000 cells: its memory, and how its time grows."""

from __future__ import annotations

import os
import resource
from typing import Any

from workspace import Workspace, environ

from sonogrid.backbones import known_backbones


def grid_of(backbones: int) -> dict[str, Any]:
    """A config of backbones x 10 inits x 3 modalities x 5 folds."""
    inits = {f"init{number}": {"source": "random"} for number in range(10)}
    return {
        "cohort": {"modalities": ["bmode", "cdfi", "elastography"]},
        "inits": inits,
        "grid": {
            "backbones": sorted(known_backbones())[:backbones],
            "inits": list(inits),
            "modalities": ["bmode", "cdfi", "elastography"],
        },
        "splits": {"folds": 5},
        "statistics": {"pretraining_effect": None},
    }


def dry_run(workspace: Workspace, backbones: int) -> resource.struct_rusage:
    """Plan the grid in a process of its own; what that took."""
    config = grid_of(backbones)
    command = workspace.command("-n", "--quiet", "all", changes=config)
    output = os.open(workspace.folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    arguments = ["/usr/bin/env", "-C", str(workspace.folder), *command]
    redirect = [(os.POSIX_SPAWN_DUP2, output, descriptor) for descriptor in (1, 2)]
    child = os.posix_spawn(arguments[0], arguments, environ(), file_actions=redirect)
    _, status, used = os.wait4(child, 0)
    os.close(output)
    said = (workspace.folder / "said.txt").read_text(encoding="utf-8")
    assert status == 0, said
    cells = backbones * 10 * 3 * 5
    assert f"= {cells} cells" in said
    return used


def test_dry_run_of_12000_cells_is_linear_and_small(workspace: Workspace) -> None:
    """Four times the cells take at most five times the CPU time; 12,000 cells need less than 1 GB."""
    small, large = dry_run(workspace, 20), dry_run(workspace, 80)
    assert large.ru_maxrss < 1_000_000
    assert large.ru_utime / small.ru_utime < 5
