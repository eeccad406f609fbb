"""A dry run of 12,000 cells: its memory, and how its time grows."""

from __future__ import annotations

import sys
from typing import Any

from workspace import Workspace

from sonogrid.config.backbone_names import known_backbones


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


MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("used", used.ru_utime, used.ru_maxrss)
sys.exit(code)
"""
"""In a small process of its own: a child begins with the memory mark of the process that starts it."""


def dry_run(workspace: Workspace, backbones: int) -> tuple[float, float]:
    """Plan the grid; CPU seconds and MB that this took."""
    command = workspace.command("-n", "--quiet", "all", changes=grid_of(backbones))
    run = workspace.run([sys.executable, "-c", MEASURE, *command])
    assert run.code == 0, run.shown_in_full()
    assert f"= {backbones * 10 * 3 * 5} cells" in run.text
    seconds, kilobytes = map(float, run.text.splitlines()[-1].split()[1:])
    return seconds, kilobytes / 1000


def test_dry_run_of_12000_cells_is_linear_and_small(workspace: Workspace) -> None:
    """Four times the cells take at most five times the CPU time; 12,000 cells need less than 1 GB."""
    (small, _), (large, megabytes) = dry_run(workspace, 20), dry_run(workspace, 80)
    assert megabytes < 1000
    assert large / small < 5
