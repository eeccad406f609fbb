"""One gate run from two names of commits to a page: sides, laws, pairs of processes, witnesses, files."""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sonogrid.console import progress
from sonogrid.files import write_json
from sonogrid.perf.choices import MINUTES
from sonogrid.perf.compare import Compared, Comparison, compare
from sonogrid.perf.laws import Laws, compare_laws
from sonogrid.perf.limits import Plan
from sonogrid.perf.measuring import PLANTED
from sonogrid.perf.process import Outcome, Side, left_over, run_in_tree, run_process
from sonogrid.perf.show import Page, page_json, page_markdown, refusal_json, refusal_markdown, write_summary
from sonogrid.perf.sides import remarks, top_of, two_sides
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict, exit_of
from sonogrid.perf.witness import witnesses
from sonogrid.problems import Problem
from sonogrid.provenance import PACKAGES

VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""
"""What a side's Python runs to say which versions it has."""
VERSION_SECONDS = 60.0
"""How long that may take."""


@dataclass(frozen=True)
class GateRequest:
    """What is to be compared, and how.

    `minutes`: after the first look, no pair of processes starts that would end later than this many minutes after the
    first process started. `seed`: draws which side runs first in each pair; drawn itself if it is None. `planted`:
    JSON, benchmark -> factor by which head is slowed down, for the study of the gate itself. `out`: folder of JSON and
    Markdown.
    """

    base: str
    head: str = "HEAD"
    suite: str = "fast"
    plan: Plan = field(default_factory=Plan)
    minutes: float = MINUTES
    seed: int | None = None
    with_laws: bool = True
    instructions: str = "auto"
    planted: str = ""
    out: Path = Path(".benchmarks")

    @property
    def files(self) -> tuple[Path, Path]:
        """The files of JSON and Markdown."""
        return self.out / "compare.json", self.out / "compare.md"


def run_and_write(request: GateRequest, repository: Path) -> Page:
    """Run the gate, and write JSON and Markdown of what came of it, also where nothing could be compared.

    Raise CouldNotMeasureError then.
    """
    # Before minutes of work: a folder that cannot be written is an OSError here.
    request.out.mkdir(parents=True, exist_ok=True)
    for file in request.files:
        file.write_text("", encoding="utf-8")
    as_json, as_markdown = request.files
    try:
        page = run_gate(request, repository)
    except CouldNotMeasureError as error:
        write_json(refusal_json(request.base, request.head, error), as_json)
        write_summary(refusal_markdown(request.base, request.head, error), as_markdown)
        raise
    write_json(page_json(page), as_json)
    write_summary(page_markdown(page), as_markdown)
    return page


def run_gate(request: GateRequest, repository: Path) -> Page:
    """Compare two commits of a repository. Raise CouldNotMeasureError where nothing can be compared."""
    try:
        return _run_gate(request, repository)
    except OSError as error:
        # Of files and processes of the gate itself; what a side does wrong is in its outcome.
        reason = error.strerror or type(error).__name__
        remedy = "Free space, memory or processes, or set TMPDIR to another folder"
        raise CouldNotMeasureError([Problem(str(error.filename or "this machine"), reason, remedy)]) from error


def _run_gate(request: GateRequest, repository: Path) -> Page:
    repository = top_of(repository)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    planted = {PLANTED: request.planted} if request.planted else {}
    began = time.monotonic()
    with two_sides(request.base, request.head, repository, request.files) as (base, head):
        said = remarks(base, head, repository) + [
            f"A gate that was killed left {folder}: remove it, then run `git worktree prune`." for folder in left_over()
        ]
        laws = _laws(base, head) if request.with_laws else None

        def run(side: Side, nodes: Sequence[str] | None, pair: int) -> Outcome:
            # Equal seeds for both sides of a pair: the order of sets is another reason why processes differ.
            environment = {"PYTHONHASHSEED": str(pair)} | (planted if side is head else {})
            return run_process(side, request.suite, nodes, environment)

        with progress("pairs of processes", request.plan.looks[-1]) as advance:
            made = compare(base, head, request.plan, run, request.minutes, seed, advance)
        try:
            made = replace(made, rows=_with_witnesses(made, base, head, request))
        except OSError as error:
            # What was measured stays, as it is certain.
            said.append(f"Losses were not profiled: {error.strerror or type(error).__name__}.")
        facts = machine() | {side.name: facts_of(side) for side in (base, head)}
    if request.planted:
        said.append(f"Slow-downs were planted in head: {request.planted}")
    facts |= {"seed": seed, "seconds": time.monotonic() - began}
    return page_of(request, made, laws, said, facts)


def _laws(base: Side, head: Side) -> Laws:
    with progress("laws of tests/property, both sides", 1) as advance:
        found = compare_laws(base, head)
        advance()
    return found


def page_of(
    request: GateRequest, made: Comparison, laws: Laws | None, said: list[str], facts: Mapping[str, Any]
) -> Page:
    """Return a comparison with its exit code and its circumstances."""
    found = exit_of(
        [row.verdict for row in made.rows],
        broken_law=laws is not None and bool(laws.broken),
        other_numbers=any(row.numbers == "other" for row in made.rows),
    )
    base, head = (
        f"{given} ({facts[side]['commit'][:7]})" for side, given in (("base", request.base), ("head", request.head))
    )
    return Page(base, head, request.suite, request.plan, made, laws, found, said, facts)


def machine() -> dict[str, Any]:
    """Return what the times depend on besides the sides."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text(encoding="ascii", errors="replace").splitlines() if cpus.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "platform": platform.platform(),
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
    }


def facts_of(side: Side) -> dict[str, Any]:
    """Return commit, Python and versions of a side: null for a missing package, or if its Python says anything else."""
    code, said = run_in_tree([str(side.python), "-c", VERSIONS, *PACKAGES], side, {}, VERSION_SECONDS)
    try:
        versions = json.loads(said) if code == 0 else None
    except ValueError:
        versions = None
    return {"commit": side.commit, "python": str(side.python), "versions": versions}


def _with_witnesses(made: Comparison, base: Side, head: Side, request: GateRequest) -> tuple[Compared, ...]:
    """Return the rows, those that are slower with their witnesses."""
    slower = sorted(
        (row for row in made.rows if row.verdict is GateVerdict.SLOWER), key=lambda row: -row.limits.estimate
    )
    nodes = {row.name: row.nodes for row in slower}
    found = witnesses(nodes, base, head, request.suite, request.instructions)
    return tuple(replace(row, witness=found.get(row.name, {})) for row in made.rows)
