"""Instructions per call: what each program says of them, and machines where nobody counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from unit.perf.tiny_project import Project, tiny_project

from sonogrid.perf import witness as witness_module
from sonogrid.perf.choices import INSTRUCTIONS
from sonogrid.perf.process import Outcome, Side
from sonogrid.perf.witness import COUNTS, counter, witnesses

# What perf 6.1 and valgrind 3.19 write.
PERF_SAYS = "# started on Wed Nov 25 12:00:00 2026\n\n123456789,,instructions:u,1000000,100.00,,\n"
PERF_HAS_NONE = "<not supported>,,instructions:u,0,100.00,,\n"
VALGRIND_SAYS = "==7== Command: python\n==7== \n==7== I   refs:      1,234,567,890\n"


def test_what_the_programs_write_is_read() -> None:
    assert COUNTS["perf"].findall(PERF_SAYS) == ["123456789"] and COUNTS["perf"].findall(PERF_HAS_NONE) == []
    assert COUNTS["perf"].findall("77,,cpu_core/instructions:u/,1,100.00,,\n") == ["77"]
    assert COUNTS["valgrind"].findall(VALGRIND_SAYS) == ["1,234,567,890"]


@pytest.mark.parametrize(
    ("asked", "installed", "says", "expected"),
    [
        ("none", True, PERF_SAYS, ("", "not asked for")),
        ("auto", False, PERF_SAYS, ("", "perf is not installed")),
        (
            "auto",
            True,
            PERF_HAS_NONE,
            ("", "this machine has no performance counters; --instructions valgrind does without"),
        ),
        ("auto", True, PERF_SAYS, ("perf", "")),
        ("valgrind", True, "", ("valgrind", "")),
        ("valgrind", False, "", ("", "valgrind is not installed")),
    ],
)
def test_who_counts(
    monkeypatch: pytest.MonkeyPatch, asked: str, installed: bool, says: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if installed else None)
    done = subprocess.CompletedProcess([], 0, "", says)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: done)
    assert asked in INSTRUCTIONS and counter(asked) == expected


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return tiny_project(tmp_path / "project")


@pytest.mark.parametrize(
    ("program", "written", "per_call"),
    [("perf", "counts.csv", 50), ("valgrind", "7.log", 50), ("perf", "counts.csv", -1)],
)
def test_instructions_of_one_call_are_those_without_start_up(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, written: str, per_call: int
) -> None:
    """A stand-in that counts 1,000 for the start and a number for each call of a benchmark."""
    stub = tmp_path / "stub.py"
    form = {"perf": "{},,instructions:u,1,100.00,,", "valgrind": "==7== I   refs:      {:,}"}[program]
    stub.write_text(
        f"""
import os, re, subprocess, sys
place = next(place for place, part in enumerate(sys.argv) if re.match("--log-file=|-o$", part))
out = sys.argv[place].partition("=")[2] or sys.argv[place + 1]
folder = os.path.dirname(out)
command = sys.argv[2:]
while not os.path.basename(command[0]).startswith('python'):
    command.pop(0)
code = subprocess.run(command).returncode
with open(os.path.join(folder, {written!r}), "w") as file:
    print({form!r}.format(1000 + {per_call} * int(os.environ["SONOGRID_PERF_CALLS"])), file=file)
sys.exit(code)
"""
    )
    monkeypatch.setattr(witness_module, "counter", lambda asked: (program, ""))
    monkeypatch.setattr(witness_module, program.upper(), (sys.executable, str(stub), program))
    side = Side("head", "", project.folder, Path(sys.executable))
    node = "tests/benchmark/test_speed.py::test_speed[a]"
    found = witnesses({"speed[a]": {"base": node, "head": node}}, side, side, "fast", "auto")["speed[a]"]
    if per_call > 0:
        assert found["instructions"] == {"base": 50.0, "head": 50.0} and found["counted_by"] == program
    else:
        assert found["instructions"] is None and "less than start-up varies" in found["not_counted"]
    assert any("operation" in row["function"] for row in found["profiles"]["head"])


def test_every_loss_has_profiles_from_one_process_per_side_and_the_largest_have_counts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    real = witness_module.run_process

    def counted(*arguments: object, **named: object) -> object:
        started.append(arguments)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(witness_module, "run_process", counted)
    monkeypatch.setattr(witness_module, "counter", lambda asked: ("perf", ""))
    monkeypatch.setattr(witness_module, "_instructions", lambda *_: 7.0)
    monkeypatch.setattr(witness_module, "MOST_COUNTED", 1)
    side = Side("head", "", project.folder, Path(sys.executable))
    names = ["speed[b]", "speed[a]"]
    nodes = {name: dict.fromkeys(("base", "head"), f"tests/benchmark/test_speed.py::test_{name}") for name in names}
    found = witnesses(nodes, side, side, "fast", "auto")
    assert len(started) == 2 and list(found) == names
    for said in found.values():
        assert all(any("operation" in row["function"] for row in said["profiles"][key]) for key in ("base", "head"))
    assert found["speed[b]"]["instructions"] == {"base": 7.0, "head": 7.0}
    assert found["speed[a]"]["instructions"] is None and "1 largest" in found["speed[a]"]["not_counted"]


def test_nothing_runs_without_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_module, "run_process", lambda *_, **__: pytest.fail("ran"))
    side = Side("head", "", Path(), Path(sys.executable))
    assert witnesses({}, side, side, "fast", "none") == {}


def test_why_a_profile_is_missing_is_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = {
        "base": Outcome(failed="did not end in time"),
        "head": Outcome({}, {"speed[a]": "AssertionError: broken"}),
    }
    monkeypatch.setattr(witness_module, "run_process", lambda side, *_: outcomes[side.name])
    base, head = (Side(name, "", project.folder, Path(sys.executable)) for name in ("base", "head"))
    found = witnesses({"speed[a]": {"base": "a", "head": "a"}}, base, head, "fast", "none")["speed[a]"]
    assert found["profiles"] == {"base": [], "head": []}
    assert found["not_profiled"] == {"base": "did not end in time", "head": "AssertionError: broken"}
