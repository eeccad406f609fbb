"""One fresh process of a side: its suite run by pytest, and what came of each benchmark."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

from sonogrid.perf import control
from sonogrid.perf.choices import SUITES
from sonogrid.perf.measuring import PROTOCOL, benchmark_name

SUITE = Path("tests", "benchmark")
CONTROL = "control"
"""Name of the control among the benchmarks."""
SECONDS = {"fast": 600.0, "full": 3600.0}
"""How long one process of a suite may take before it is ended as hanging."""
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name))
"""Signals by which people, CI and terminals end a run."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
PASSED_ON = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
        *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"),
    )
)
"""Environment variables that a side sees: no token, no file of a CI job, no setting of Python."""
MEMORY = Path("/dev/shm")
"""A folder in memory, where the system has one."""
LARGEST_OUTPUT = 1_000_000_000
"""Bytes that the benchmarks of one process write at most."""
LONGEST = 300
"""Characters of a reason that are kept."""
PREFIX = "sonogrid-perf-"
"""Beginning of the names of temporary folders; the number of the process that made them follows."""
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

    The gate compares `least`, because disturbances only add time. The others are recorded for the study of the gate.
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
    nodes: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    options: Collection[str] = (),
    prefix: Collection[str] = (),
    patience: float = 1.0,
) -> Outcome:
    """Run the benchmarks of a side's suite, or only those of some node ids, and the control, in one fresh process.

    `options`: of pytest. `prefix`: a program that runs the process, as valgrind. `patience`: factor of the time limit.
    """
    with temporary_tree(memory_folder()) as folder:
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
        command += ["-m", SUITES[suite], str(SUITE)] if nodes is None else list(nodes)
        command.append(str(apart / "test_control.py"))
        code, said = run_in_tree(command, side, environment or {}, patience * SECONDS[suite])
        return _outcome(code, said, folder, side)


@contextmanager
def temporary_tree(within: str | None = None) -> Iterator[Path]:
    """Give a new folder, and remove it with all that is in it."""
    folder: Path | None = None
    try:
        with undisturbed():
            folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=within))
        yield folder
    finally:
        with undisturbed():
            if folder:
                shutil.rmtree(folder, ignore_errors=True)


def left_over() -> list[Path]:
    """Return the temporary folders of gates that were killed: no process that this one sees has their number."""
    found = []
    for folder in (
        folder
        for place in sorted({Path(tempfile.gettempdir()), MEMORY})
        for folder in sorted(place.glob(f"{PREFIX}*-*"))
    ):
        number = folder.name.removeprefix(PREFIX).partition("-")[0]
        if number.isdecimal() and not _is_running(int(number)):
            found.append(folder)
    return found


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Another user's, or no number of a process.
        return True
    return True


def memory_folder() -> str | None:
    """Return a folder in memory for what benchmarks write, as disks differ from moment to moment; None if none is."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > LARGEST_OUTPUT
    return str(MEMORY) if usable else None


def run_in_tree(
    command: Sequence[str], side: Side, environment: Mapping[str, str], seconds: float
) -> tuple[int | None, str]:
    """Run a command in the tree of a side with its package; see run_command."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED_ON}
    given = kept | ONE_THREAD | {"PYTHONPATH": str(side.folder / "src")} | dict(environment)
    return run_command(command, seconds, side.folder, given)


def run_command(
    command: Sequence[str], seconds: float, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[int | None, str]:
    """Run a command; return its exit code, None if it did not end in time, and its output, with errors if it failed.

    The command runs in its own process group, which is killed when this call ends.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process: subprocess.Popen[bytes] | None = None
        try:
            with undisturbed():
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                )
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with undisturbed():
                _kill_group(process)
        read = (output,) if code == 0 else (output, errors)
        return code, "".join(_content(file) for file in read)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold back Ctrl-C, SIGTERM and SIGHUP until what cleans up is done."""
    if threading.current_thread() is not threading.main_thread():
        # Python handles signals in the main thread alone.
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda sent, _: held.append(sent)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None is a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in held[:1]:
            signal.raise_signal(number)


def _kill_group(process: subprocess.Popen[bytes] | None) -> None:
    """End a process and all that it started in its group."""
    if process is None:
        return
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
        rows = json.loads((folder / "times.json").read_text(encoding="utf-8"))["benchmarks"]
        # From the last to the first: what fails in a teardown follows from what failed before it.
        tests = reversed(tests_of(folder / "tests.xml"))
        failed = {benchmark_name(test.name): test.reason for test in tests if test.failed}
        # A benchmark whose check failed still has times in the JSON.
        read = [(benchmark_name(row["name"]), _measured(row), row["extra_info"].get("package")) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ElementTree.ParseError):
        return Outcome(failed=f"pytest ended with exit code {code}: {last_lines(said)}")
    counts = Counter(name for name, _, _ in read)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        return Outcome(failed=f"two benchmarks have one name: {', '.join(twice)}")
    package = next((package for name, _, package in read if name == CONTROL), None)
    if package and not Path(package).is_relative_to(side.folder):
        return Outcome(failed=f"imported {package}, which is not the package of {side.name}")
    measured = {name: one for name, one, _ in read if name not in failed}
    if CONTROL not in measured:
        return Outcome(failed=f"the control did not run: {failed.get(CONTROL, last_lines(said))}")
    return Outcome(measured, failed)


class Tested(NamedTuple):
    """One test in a report of pytest: its module and name, whether it failed or was skipped, and why it failed."""

    module: str
    name: str
    failed: bool
    skipped: bool
    reason: str


def tests_of(report: Path) -> list[Tested]:
    """Return the tests of a report in JUnit's form. Raise OSError and ElementTree.ParseError."""
    found = []
    for test in ElementTree.parse(report).iter("testcase"):
        faults = [*test.iter("failure"), *test.iter("error")]
        reason = " ".join(str(faults[0].get("message", "")).split())[:LONGEST] if faults else ""
        skipped = test.find("skipped") is not None
        found.append(Tested(test.get("classname", ""), test.get("name", ""), bool(faults), skipped, reason))
    return found


def last_lines(said: str) -> str:
    """Return the last lines of what a process said, in one line."""
    return " / ".join(line.strip() for line in said.splitlines()[-TAIL:] if line.strip())


def _measured(row: Mapping[str, Any]) -> Measured:
    """Read one benchmark of pytest-benchmark's JSON. One of another protocol, or none, has the unit "call".

    Raise AttributeError, KeyError, TypeError and ValueError if it is not in the form of this module.
    """
    stats, said = row["stats"], row["extra_info"]
    seconds = [float(stats[name]) for name in ("min", "q1", "median", "mean")]
    if not all(0 < value < math.inf for value in seconds):
        raise ValueError("a time is not above 0")
    told: dict[str, Any] = {}
    if said.get("protocol") == PROTOCOL:
        told = {"unit": str(said["unit"]), "count": int(said["count"]), "peak_bytes": int(said["peak_bytes"])}
        if told["count"] < 1:
            raise ValueError("a call works on less than one unit")
        told |= {key: None if said[key] is None else str(said[key]) for key in ("inputs", "numbers")}
    profile = tuple(
        {"function": str(one["function_name"]), "ms": 1000 * float(one["tottime"]), "calls": str(one["ncalls"])}
        for one in said.get("profile", ()) or row.get("cprofile", ())
    )
    least, quartile, middle, mean = seconds
    rounds, node = int(stats["rounds"]), str(row["fullname"])
    return Measured(least, quartile, middle, mean, rounds, node, profile=profile, **told)
