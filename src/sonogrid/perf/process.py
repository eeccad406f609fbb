"""One fresh process of a side: its suite run by pytest, and what came of each benchmark."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sonogrid.perf import control
from sonogrid.perf.measuring import PROTOCOL, benchmark_name

SUITE = Path("tests", "benchmark")
CONTROL = "control"
"""Name of the control among the benchmarks."""
SUITES = {"fast": "not full", "full": ""}
"""Name of a suite -> the expression by which pytest selects its benchmarks."""
SECONDS = {"fast": 600.0, "full": 3600.0}
"""How long one process of a suite may take before it is ended as hanging."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
LARGEST_OUTPUT = 1_000_000_000
"""Bytes that the benchmarks of one process write at most."""
LONGEST = 300
"""Characters of a reason that are kept."""
TAIL = 6
"""Lines of what pytest said that are shown of a process that failed."""


@dataclass(frozen=True)
class Side:
    """One of the two commits: its name (base or head), its commit, its tree, and the Python that runs it."""

    name: str
    commit: str
    folder: Path
    python: Path


@dataclass(frozen=True)
class Measured:
    """One benchmark in one process: seconds per call, over rounds, and what it says of itself.

    `least` is what the gate compares: what disturbs a call only ever adds to it, and medians of identical code differed
    half as much again from process to process (docs/performance.md).
    """

    least: float
    quartile: float
    median: float
    mean: float
    rounds: int
    node: str = ""
    unit: str = "call"
    count: int = 1
    inputs: str | None = None
    numbers: str | None = None
    peak_bytes: int = 0
    profile: tuple[dict[str, Any], ...] = ()

    @property
    def key(self) -> tuple[str, int, str | None]:
        """What must be equal on both sides for times to be compared."""
        return self.unit, self.count, self.inputs


@dataclass(frozen=True)
class Outcome:
    """What one process measured, and the benchmarks that failed in it with the reason; `failed`: why none ran."""

    measured: Mapping[str, Measured] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""


def run_process(
    side: Side,
    suite: str = "fast",
    nodes: Collection[str] | None = None,
    environment: Mapping[str, str] | None = None,
    options: Collection[str] = (),
    prefix: Collection[str] = (),
) -> Outcome:
    """Run the benchmarks of a side's suite, or only those of some node ids, and the control, in one fresh process."""
    with tempfile.TemporaryDirectory(prefix="sonogrid-perf-", dir=temporary_folder()) as name:
        folder = Path(name)
        apart = folder / "control"
        apart.mkdir()
        shutil.copy(control.__file__, apart / "test_control.py")
        command = [
            *prefix,
            *(str(side.python), "-m", "pytest", "-q", "--rootdir", str(side.folder)),
            *("-c", str(side.folder / "pyproject.toml"), "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("--continue-on-collection-errors", "--basetemp", str(folder / "tmp")),
            *("--benchmark-disable-gc", "--benchmark-json", str(folder / "times.json")),
            *("--junitxml", str(folder / "tests.xml"), "-o", "junit_logging=no"),
            *options,
        ]
        command += ["-m", SUITES[suite], str(SUITE)] if nodes is None else sorted(nodes)
        command.append(str(apart / "test_control.py"))
        code, said = run_in_tree(command, side, environment or {}, SECONDS[suite])
        return _outcome(code, said, folder, side)


def temporary_folder() -> str | None:
    """Return a folder in memory for what benchmarks write, as disks differ from moment to moment; None if none is."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > LARGEST_OUTPUT
    return str(memory) if usable else None


def run_in_tree(
    command: Sequence[str], side: Side, environment: Mapping[str, str], seconds: float
) -> tuple[int | None, str]:
    """Run a command in the tree of a side with its package; return its exit code, None if it hung, and what it said.

    It leads a session of its own, which is killed whatever ends this call.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    given = kept | ONE_THREAD | {"PYTHONPATH": str(side.folder / "src")} | dict(environment)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=side.folder,
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill_session(process)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _outcome(code: int | None, said: str, folder: Path, side: Side) -> Outcome:
    """Read what a process left; see Outcome."""
    if code is None:
        return Outcome(failed="did not end in time")
    try:
        times = json.loads((folder / "times.json").read_text(encoding="utf-8"))
        broken = {benchmark_name(test): reason for test, reason in failures(folder / "tests.xml")[1].items()}
    except (OSError, ValueError, ElementTree.ParseError):
        return Outcome(failed=f"pytest ended with exit code {code}: {last_lines(said)}")
    # What failed its check was timed all the same.
    measured = {
        name: _measured(row) for row in times["benchmarks"] if (name := benchmark_name(row["name"])) not in broken
    }
    of_control = (row["extra_info"] for row in times["benchmarks"] if benchmark_name(row["name"]) == CONTROL)
    package = next((said.get("package") for said in of_control), None)
    if package and not Path(package).is_relative_to(side.folder):
        return Outcome(failed=f"imported {package}, which is not the package of {side.name}")
    if CONTROL not in measured:
        return Outcome(failed=f"the control did not run: {broken.get(CONTROL, last_lines(said))}")
    return Outcome(measured, broken)


def failures(report: Path) -> tuple[int, dict[str, str]]:
    """Return how many tests a report of pytest in JUnit's form holds, and those that failed with the first reason."""
    tests = list(ElementTree.parse(report).iter("testcase"))
    broken: dict[str, str] = {}
    for test in tests:
        for fault in (*test.iter("failure"), *test.iter("error")):
            broken.setdefault(test.get("name", ""), " ".join(str(fault.get("message", "")).split())[:LONGEST])
    return len(tests), broken


def last_lines(said: str) -> str:
    """Return the last lines of what a process said, in one line."""
    return " / ".join(line.strip() for line in said.splitlines()[-TAIL:] if line.strip())


def _measured(row: Mapping[str, Any]) -> Measured:
    """Read one benchmark of pytest-benchmark's JSON. One of another protocol, or none, has the unit "call"."""
    stats, said = row["stats"], row["extra_info"]
    told = {key: said[key] for key in ("unit", "count", "inputs", "numbers", "peak_bytes") if key in said}
    return Measured(
        least=stats["min"],
        quartile=stats["q1"],
        median=stats["median"],
        mean=stats["mean"],
        rounds=stats["rounds"],
        node=row["fullname"],
        profile=tuple(row.get("cprofile", ())),
        **(told if said.get("protocol") == PROTOCOL else {}),
    )
