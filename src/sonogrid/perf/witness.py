"""Second witnesses of a benchmark that is slower: instructions per call, and where each side spends its time."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from sonogrid.perf.measuring import CALLS, PROFILE
from sonogrid.perf.process import Side, run_process, temporary_tree

FEW, MANY = 1, 11
"""Calls of two processes whose difference in instructions is that of 10 calls, without start-up."""
MOST_COUNTED = 5
"""Benchmarks whose instructions are counted: each takes four processes."""
PERF = ("perf", "stat", "-x", ",", "-e", "instructions:u")
VALGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes")
COUNTS = {
    # Hybrid CPUs count for each kind of core: cpu_core/instructions:u/.
    "perf": re.compile(r"^(\d+),[^,]*,(?:\w+/)?instructions", re.MULTILINE),
    "valgrind": re.compile(r"I\s+refs:\s+([\d,]+)"),
}
"""Program -> where its output says how many instructions a process took."""
FUNCTIONS = 8
"""Functions of a profile that are kept, by their own time."""


def counter(asked: str) -> tuple[str, str]:
    """Return the counting program and '', or '' and the reason there is none. `asked`: one of INSTRUCTIONS."""
    if asked == "none":
        return "", "not asked for"
    name = "valgrind" if asked == "valgrind" else "perf"
    if shutil.which(name) is None:
        return "", f"{name} is not installed"
    if name == "perf":
        done = subprocess.run([*PERF, "true"], capture_output=True, encoding="utf-8", errors="replace", check=False)
        if COUNTS["perf"].search(done.stderr) is None:
            return "", "this machine has no performance counters; --instructions valgrind does without"
    return name, ""


def witnesses(
    nodes: Mapping[str, Mapping[str, str]], base: Side, head: Side, suite: str, asked: str
) -> dict[str, dict[str, Any]]:
    """Return, by benchmark, profiles of both sides, and instructions per call or why they were not counted.

    `nodes`: benchmark -> side -> node id, the largest loss first: instructions of the first MOST_COUNTED are counted.
    """
    sides = {"base": base, "head": head}
    profiles, failed = {}, {}
    for key, side in sides.items() if nodes else ():
        profiles[key], failed[key] = _profiles(side, [own[key] for own in nodes.values()], suite)
    program, reason = counter(asked)
    found = {}
    for place, (name, own) in enumerate(nodes.items()):
        said: dict[str, Any] = {
            "profiles": {key: profiles[key].get(name, []) for key in sides},
            "not_profiled": {key: failed[key].get(name, failed[key].get("", "")) for key in sides},
            "counted_by": program,
        }
        if program and place >= MOST_COUNTED:
            said |= {"instructions": None, "not_counted": f"only those of the {MOST_COUNTED} largest losses are"}
        elif program:
            said |= _counted(program, sides, own, suite)
        else:
            said |= {"instructions": None, "not_counted": reason}
        found[name] = said
    return found


def _profiles(side: Side, nodes: Sequence[str], suite: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Return, by benchmark, the functions with most own time, in ms, and why it has none; that of all is under ""."""
    outcome = run_process(side, suite, nodes, {PROFILE: "1"}, ["--benchmark-cprofile=tottime"])
    profiles = {
        name: [
            row | {"function": _short(row["function"], side)}
            for row in sorted(found.profile, key=lambda row: -row["ms"])[:FUNCTIONS]
        ]
        for name, found in outcome.measured.items()
    }
    return profiles, {"": outcome.failed, **outcome.broken}


def _counted(program: str, sides: Mapping[str, Side], nodes: Mapping[str, str], suite: str) -> dict[str, Any]:
    """Return the instructions of one call by side, or why they were not counted."""
    counts: dict[str, float] = {}
    for key, side in sides.items():
        found = _instructions(program, side, nodes[key], suite)
        if found is None:
            reason = f"{program} counted nothing on {key}, or less than start-up varies"
            return {"instructions": None, "not_counted": reason}
        counts[key] = found
    return {"instructions": counts, "not_counted": ""}


def _short(function: str, side: Side) -> str:
    """Return a function's name without the folders before its package."""
    name = function.replace(f"{side.folder}/", "")
    return re.sub(r"^.*/(?:site-packages|lib/python[0-9.]+)/", "", name)


def _instructions(program: str, side: Side, node: str, suite: str) -> float | None:
    """Return the instructions of one call in user space, children included; None if they were not counted."""
    counts = {}
    for calls in (FEW, MANY):
        with temporary_tree() as folder:
            prefixes: dict[str, tuple[str, ...]] = {
                "perf": (*PERF, "-o", str(folder / "counts.csv"), "--"),
                "valgrind": (*VALGRIND, f"--log-file={folder}/%p.log", f"--cachegrind-out-file={folder}/%p.out"),
            }
            # Valgrind takes some fifty times as long.
            outcome = run_process(side, suite, [node], {CALLS: str(calls)}, prefix=prefixes[program], patience=100)
            texts = [file.read_text(encoding="utf-8", errors="replace") for file in folder.iterdir()]
        found = [int(count.replace(",", "")) for text in texts for count in COUNTS[program].findall(text)]
        if outcome.failed or not found:
            return None
        counts[calls] = sum(found)
    # Start-up differs by chance, by more than an operation of few instructions takes.
    found_more = counts[MANY] - counts[FEW]
    return found_more / (MANY - FEW) if found_more > 0 else None
