"""A dry run of 12,000 cells: its memory, and how its time grows."""

from __future__ import annotations

import sys

from grids import study
from workspace import Workspace

MODALITIES = ["bmode", "cdfi", "elastography"]

MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("used", used.ru_utime, used.ru_maxrss)
sys.exit(code)
"""
"""In a small process of its own: a child begins with the memory mark of the process that starts it."""


def dry_run(workspace: Workspace, cells: int) -> tuple[float, float]:
    """Return the CPU seconds and MB that planning a grid takes."""
    changes = study(cells) | {"cohort": {"modalities": MODALITIES}}
    changes["grid"] = {**changes["grid"], "modalities": MODALITIES}
    command = workspace.command("-n", "--quiet", "all", changes=changes)
    run = workspace.run([sys.executable, "-c", MEASURE, *command])
    assert run.code == 0, run.shown_in_full()
    assert f"= {cells} cells" in run.text
    seconds, kilobytes = map(float, run.text.splitlines()[-1].split()[1:])
    return seconds, kilobytes / 1000


def test_dry_run_of_12000_cells_is_linear_and_small(workspace: Workspace) -> None:
    """Four times the cells take at most five times the CPU time; 12,000 cells need less than 1 GB."""
    (small, _), (large, megabytes) = dry_run(workspace, 3000), dry_run(workspace, 12000)
    assert megabytes < 1000
    assert large / small < 5
