"""One gate run from two names of commits to a page: sides, laws, pairs of processes, witnesses."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sonogrid.console import progress
from sonogrid.perf.compare import Compared, Comparison, compare
from sonogrid.perf.laws import Laws, compare_laws
from sonogrid.perf.limits import Plan
from sonogrid.perf.measuring import PLANTED
from sonogrid.perf.process import Outcome, Side, run_process
from sonogrid.perf.show import Page
from sonogrid.perf.sides import remarks, two_sides
from sonogrid.perf.verdicts import GateVerdict, exit_of
from sonogrid.perf.witness import witness
from sonogrid.provenance import package_versions

MOST_WITNESSES = 5
"""Benchmarks with the largest losses that are profiled; each takes some processes more."""


@dataclass(frozen=True)
class GateRequest:
    """What is to be compared, and how.

    `minutes`: no pair of processes begins that would end later than so long after the start. `planted`: JSON, benchmark
    -> factor by which head is slowed down, for the study of the gate itself.
    """

    base: str
    head: str
    suite: str = "fast"
    plan: Plan = field(default_factory=Plan)
    minutes: float = 13.5
    seed: int = 1
    with_laws: bool = True
    planted: str = ""


def run_gate(request: GateRequest, repository: Path) -> Page:
    """Compare two commits of a repository. Raise CouldNotMeasureError where nothing can be compared."""
    began = time.monotonic()
    with two_sides(request.base, request.head, repository) as (base, head):
        said = remarks(base, head, repository)
        with progress("laws of tests/property", 1) as advance:
            laws = compare_laws(base, head) if request.with_laws else None
            advance()
        planted = {PLANTED: request.planted} if request.planted else {}

        def run(side: Side, nodes: Collection[str] | None, pair: int) -> Outcome:
            # Equal seeds for both sides of a pair: the order of sets is another reason why processes differ.
            environment = {"PYTHONHASHSEED": str(pair)} | (planted if side is head else {})
            return run_process(side, request.suite, nodes, environment)

        with progress("pairs of processes", request.plan.looks[-1]) as advance:
            left = request.minutes - (time.monotonic() - began) / 60
            made = compare(base, head, request.plan, run, left, request.seed, advance)
        made = replace(made, rows=_with_witnesses(made, base, head, request.suite))
    if request.planted:
        said.append(f"Slow-downs were planted in head: {request.planted}")
    return page_of(request, made, laws, said, {"base": base.commit, "head": head.commit})


def page_of(
    request: GateRequest, made: Comparison, laws: Laws | None, said: list[str], commits: Mapping[str, str]
) -> Page:
    """Return a comparison with its exit code and its circumstances."""
    found = exit_of(
        [row.verdict for row in made.rows],
        broken_laws=laws is not None and bool(laws.broken or laws.failed),
        other_numbers=any(row.numbers == "other" for row in made.rows),
    )
    names = {key: f"{given} ({commits[key][:7]})" for key, given in (("base", request.base), ("head", request.head))}
    facts = machine() | {"commits": dict(commits)}
    return Page(names["base"], names["head"], request.suite, request.plan, made, laws, found, said, facts)


def machine() -> dict[str, Any]:
    """Return what the times depend on besides the code."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="ascii", errors="replace").splitlines() if cpus.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "platform": platform.platform(),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": package_versions(),
    }


def _with_witnesses(made: Comparison, base: Side, head: Side, suite: str) -> tuple[Compared, ...]:
    """Return the rows, those that lost most with their witnesses."""
    slower = sorted(
        (row for row in made.rows if row.verdict is GateVerdict.SLOWER), key=lambda row: -row.limits.estimate
    )
    chosen = {row.name for row in slower[:MOST_WITNESSES]}
    return tuple(
        replace(row, witness=witness(row.name, base, head, row.nodes, suite)) if row.name in chosen else row
        for row in made.rows
    )
