"""Second witnesses of a benchmark that is slower: instructions per call, and where each side spends its time."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonogrid.perf.measuring import CALLS
from sonogrid.perf.process import Side, run_process

FEW, MANY = 1, 11
"""Calls of two processes whose difference in instructions is that of 10 calls, without start-up."""
COUNT = re.compile(r"^(\d+),[^,]*,instructions", re.MULTILINE)
FUNCTIONS = 8
"""Functions of a profile that are kept, by their own time."""


def instruction_counter() -> str:
    """Return the program that counts instructions here, or why there is none."""
    if shutil.which("perf") is None:
        return "not counted: perf is not installed"
    asked = ["perf", "stat", "-x", ",", "-e", "instructions:u", "true"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return "perf" if COUNT.search(done.stderr) else "not counted: this machine has no performance counters"


def witness(name: str, base: Side, head: Side, nodes: Mapping[str, str], suite: str) -> dict[str, Any]:
    """Return profiles of both sides, and instructions per call where they can be counted.

    `nodes`: the node id of the benchmark by side.
    """
    sides = {"base": base, "head": head}
    counter = instruction_counter()
    profiles = {key: _profile(name, side, nodes[key], suite) for key, side in sides.items()}
    counted: str | dict[str, float] = counter
    if counter == "perf":
        counted = {key: _instructions(name, side, nodes[key], suite) for key, side in sides.items()}
    return {"profiles": profiles, "instructions": counted}


def _profile(name: str, side: Side, node: str, suite: str) -> list[dict[str, Any]]:
    """Return the functions with most own time, in ms per call of the benchmark; empty if it failed."""
    outcome = run_process(side, suite, [node], {"SONOGRID_PERF_PROFILE": "1"}, ["--benchmark-cprofile=tottime"])
    found = outcome.measured.get(name)
    rows = sorted(found.profile, key=lambda row: -row["tottime"])[:FUNCTIONS] if found else []
    return [
        {"function": _short(row["function_name"], side), "ms": 1000 * row["tottime"], "calls": row["ncalls"]}
        for row in rows
    ]


def _short(function: str, side: Side) -> str:
    """Return a function's name without the folders before its package."""
    name = function.replace(f"{side.folder}/", "")
    return re.sub(r"^.*/(?:site-packages|lib/python[0-9.]+)/", "", name)


def _instructions(name: str, side: Side, node: str, suite: str) -> float:
    """Return the instructions of one call in user space, children included; NaN if they were not counted."""
    counts = {}
    for calls in (FEW, MANY):
        with tempfile.TemporaryDirectory(prefix="sonogrid-perf-") as folder:
            file = Path(folder, "counts.csv")
            prefix = ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", str(file), "--"]
            outcome = run_process(side, suite, [node], {CALLS: str(calls)}, prefix=prefix)
            found = COUNT.search(file.read_text(encoding="utf-8")) if file.exists() else None
            if outcome.failed or found is None:
                return float("nan")
            counts[calls] = int(found[1])
    return (counts[MANY] - counts[FEW]) / (MANY - FEW)
