"""Second witnesses of a benchmark that is slower: instructions per call, and where each side spends its time."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonogrid.perf.measuring import CALLS, PROFILE
from sonogrid.perf.process import PREFIX, Side, run_process

FEW, MANY = 1, 11
"""Calls of two processes whose difference in instructions is that of 10 calls, without start-up."""
COUNT = re.compile(r"^(\d+),[^,]*,instructions", re.MULTILINE)
PERF = ("perf", "stat", "-x", ",", "-e", "instructions:u")
FUNCTIONS = 8
"""Functions of a profile that are kept, by their own time."""


def missing_counter() -> str:
    """Return why instructions cannot be counted here, '' where they can."""
    if shutil.which("perf") is None:
        return "perf is not installed"
    done = subprocess.run([*PERF, "true"], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return "" if COUNT.search(done.stderr) else "this machine has no performance counters"


def witness(name: str, base: Side, head: Side, nodes: Mapping[str, str], suite: str) -> dict[str, Any]:
    """Return profiles of both sides, and instructions per call of each or why they were not counted.

    `nodes`: the node id of the benchmark by side.
    """
    sides = {"base": base, "head": head}
    counted: dict[str, float] = {}
    reason = missing_counter()
    for key, side in sides.items() if not reason else ():
        found = _instructions(side, nodes[key], suite)
        if found is None:
            reason = f"perf counted nothing on {key}"
            break
        counted[key] = found
    return {
        "profiles": {key: _profile(name, side, nodes[key], suite) for key, side in sides.items()},
        "instructions": counted if not reason else None,
        "not_counted": reason,
    }


def _profile(name: str, side: Side, node: str, suite: str) -> list[dict[str, Any]]:
    """Return the functions with most own time, in ms; empty if the benchmark failed."""
    outcome = run_process(side, suite, [node], {PROFILE: "1"}, ["--benchmark-cprofile=tottime"])
    found = outcome.measured.get(name)
    rows = sorted(found.profile, key=lambda row: -float(row["tottime"]))[:FUNCTIONS] if found else []
    return [
        {
            "function": _short(str(row["function_name"]), side),
            "ms": 1000 * float(row["tottime"]),
            "calls": str(row["ncalls"]),
        }
        for row in rows
    ]


def _short(function: str, side: Side) -> str:
    """Return a function's name without the folders before its package."""
    name = function.replace(f"{side.folder}/", "")
    return re.sub(r"^.*/(?:site-packages|lib/python[0-9.]+)/", "", name)


def _instructions(side: Side, node: str, suite: str) -> float | None:
    """Return the instructions of one call in user space, children included; None if they were not counted."""
    counts = {}
    for calls in (FEW, MANY):
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            file = Path(folder, "counts.csv")
            outcome = run_process(side, suite, [node], {CALLS: str(calls)}, prefix=[*PERF, "-o", str(file), "--"])
            found = COUNT.search(file.read_text(encoding="utf-8")) if file.exists() else None
        if outcome.failed or found is None:
            return None
        counts[calls] = int(found[1])
    # Rounding and start-up of few instructions could leave less than one.
    return max(1.0, (counts[MANY] - counts[FEW]) / (MANY - FEW))
