"""The whole gate on a tiny project: verdicts, exit codes, files, and nothing left after Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from unit.perf.tiny_project import SECONDS, Project, speed, tiny_project

from sonogrid.cli import main
from sonogrid.perf import gate as gate_module
from sonogrid.perf import process
from sonogrid.perf.choices import Exit
from sonogrid.perf.gate import GateRequest, run_and_write, run_gate
from sonogrid.perf.limits import Plan
from sonogrid.perf.show import Page
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict

PLAN = Plan(looks=(4,), shares=(1.0,), slower=0.2, not_slower=0.2)
"""Few pairs are enough where times are exact."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    made = tiny_project(tmp_path / "project")
    yield made
    assert made.worktrees() == 0 and list(temporary.iterdir()) == []


def gate(project: Project, base: str = "HEAD~1", with_laws: bool = True) -> Page:
    return run_gate(GateRequest(base, "HEAD", plan=PLAN, with_laws=with_laws), project.folder)


def test_a_slower_commit_is_called_slower_with_its_profile_and_faster_or_equal_ones_are_not(project: Project) -> None:
    project.commit(speed({"a": 0.012, "b": 0.019}))
    page = gate(project)
    rows = {row.name: row for row in page.comparison.rows}
    assert page.exit is Exit.SLOWER
    assert (rows["speed[a]"].verdict, rows["speed[b]"].verdict) == (GateVerdict.SLOWER, GateVerdict.NOT_SLOWER)
    assert rows["speed[a]"].limits.ratio() == pytest.approx((1.2, 1.2, 1.2))
    profiles = rows["speed[a]"].witness["profiles"]
    assert all(any("operation" in one["function"] for one in profiles[side]) for side in ("base", "head"))
    assert bool(rows["speed[a]"].witness["instructions"]) != bool(rows["speed[a]"].witness["not_counted"])
    assert rows["speed[b]"].witness == {}
    assert page.laws is not None and page.laws.tested == 1


def test_equal_speed_with_other_numbers_is_said(project: Project) -> None:
    project.commit(speed(SECONDS, answer=2))
    page = gate(project)
    assert page.exit is Exit.OTHER_NUMBERS
    assert {row.verdict for row in page.comparison.rows} == {GateVerdict.NOT_SLOWER}


def test_a_law_that_no_longer_holds_is_said(project: Project) -> None:
    project.commit(speed(SECONDS, answer=-1))
    page = gate(project)
    assert page.exit is Exit.BROKEN_LAW
    assert page.laws is not None and page.laws.broken == ("test_laws.test_the_answer_is_positive",)
    project.commit({})
    again = gate(project)
    assert again.exit is Exit.NOT_SLOWER
    assert again.laws is not None and again.laws.on_both == ("test_laws.test_the_answer_is_positive",)


def test_a_benchmark_that_is_broken_on_one_side_is_never_slower(project: Project) -> None:
    project.commit(speed({"a": -1.0, "b": 0.02}))
    page = gate(project, with_laws=False)
    assert page.exit is Exit.COULD_NOT
    assert {row.name: row.verdict for row in page.comparison.rows} == {
        "speed[a]": GateVerdict.COULD_NOT,
        "speed[b]": GateVerdict.NOT_SLOWER,
    }


def test_a_suite_that_does_not_run_is_told(project: Project) -> None:
    project.commit({"tests/benchmark/conftest.py": "raise RuntimeError('no suite')\n"})
    with pytest.raises(CouldNotMeasureError, match="head: its suite did not run"):
        gate(project, with_laws=False)


def test_laws_that_are_gone_or_cannot_be_tested_are_said(project: Project) -> None:
    project.commit(
        {"tests/property/test_laws.py": "import pytest\n\n\n@pytest.mark.skip\ndef test_other():\n    pass\n"}
    )
    page = gate(project)
    assert page.laws is not None and page.laws.gone == ("test_laws.test_the_answer_is_positive",)
    project.commit({"tests/property/test_laws.py": "import nothing\n"})
    with pytest.raises(CouldNotMeasureError, match="head: its laws were not tested: pytest ended with exit code 2"):
        gate(project)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EACCES])
def test_a_full_machine_is_no_failure_of_the_program(
    project: Project, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code), "/tmp/x")

    monkeypatch.setattr(gate_module, "compare_laws", full)
    with pytest.raises(CouldNotMeasureError, match=f"/tmp/x: {os.strerror(code)}. Free space"):
        run_gate(GateRequest("HEAD", "HEAD", plan=PLAN), project.folder)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_text("a file")
    monkeypatch.setattr(gate_module, "run_gate", lambda *_: pytest.fail("measured"))
    with pytest.raises(FileExistsError):
        run_and_write(GateRequest("HEAD", "HEAD", plan=PLAN, out=tmp_path / "out"), project.folder)


def test_files_are_written_and_old_ones_never_stay(project: Project) -> None:
    # Inside the repository, where no .gitignore names it: the gate's own files are no change of a commit.
    out = project.folder / "out"
    request = GateRequest("HEAD", "HEAD", plan=PLAN, with_laws=False, out=out)
    page = run_and_write(request, project.folder)
    read = json.loads((out / "compare.json").read_text())
    assert read["exit"]["code"] == page.exit.value == 0 and len(read["benchmarks"]) == 2
    assert read["circumstances"]["seed"] >= 0 and read["circumstances"]["base"]["commit"]
    assert read["circumstances"]["head"]["versions"]["torch"] == version("torch")
    assert "| speed&#91;a&#93; |" in (out / "compare.md").read_text()
    with pytest.raises(CouldNotMeasureError):
        run_and_write(replace(request, base="nothing"), project.folder)
    assert json.loads((out / "compare.json").read_text())["exit"]["code"] == 5
    assert "is not a commit in this repository" in (out / "compare.md").read_text()


def test_a_python_that_says_other_things_has_no_versions(project: Project) -> None:
    project.commit({"src/sitecustomize.py": "print('hello')\n"})
    page = gate(project, base="HEAD", with_laws=False)
    assert page.circumstances["head"]["versions"] is None and page.exit is Exit.NOT_SLOWER


def test_losses_stay_where_they_cannot_be_profiled(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    project.commit(speed({"a": 0.012, "b": 0.02}))
    monkeypatch.setattr(gate_module, "witnesses", full)
    page = gate(project, with_laws=False)
    assert page.exit is Exit.SLOWER and "Losses were not profiled: No space left on device." in page.remarks


def test_the_command_ends_with_the_code_of_the_verdict(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = replace(gate(project, base="HEAD", with_laws=False), exit=Exit.OTHER_NUMBERS)
    monkeypatch.setattr(gate_module, "run_gate", lambda request, repository: page)
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with pytest.raises(SystemExit) as caught:
        main(["perf", "compare", "HEAD", "--out", str(project.folder / ".out")])
    assert caught.value.code == 6
    assert "no longer the same numbers (exit code 6)" in " ".join(capsys.readouterr().out.split())


def test_what_cannot_be_compared_ends_with_its_code(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    assert main(["perf", "compare", "no-such-commit"]) == Exit.COULD_NOT.value
    assert "no-such-commit: is not a commit in this repository" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--margin", "0"], ["--margin", "x"], ["--minutes", "-1"], ["--suite", "slow"]])
def test_flags_that_mean_nothing_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["perf", "compare", "main", *flags])
    assert caught.value.code == 2
    assert flags[0] in capsys.readouterr().err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_an_interruption_leaves_nothing_behind(project: Project, tmp_path: Path, sent: int, code: int) -> None:
    project.commit(
        {"tests/benchmark/test_slow.py": "import time\n\n\ndef test_slow(benchmark):\n    time.sleep(600)\n"}
    )
    temporary = tmp_path / "temporary"
    command = [sys.executable, "-m", "sonogrid.cli", "perf", "compare", "HEAD~1", "--no-laws"]
    running = subprocess.Popen(
        command,
        cwd=project.folder,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        deadline = time.monotonic() + 60
        while not (started := children_of(running.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert started and project.worktrees() == 2
        running.send_signal(sent)
        said, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == code, said.decode()
    assert b"nothing half-written" in said
    assert not any(Path(f"/proc/{child}").exists() for child in started)
    memory = process.memory_folder()
    assert memory is None or list(Path(memory).glob(f"sonogrid-perf-{running.pid}-*")) == []


def children_of(pid: int) -> list[int]:
    """The processes that a process started, pytest alone: git's end by themselves."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            command = (status.parent / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and b"-m\0pytest" in command:
            found.append(int(status.parent.name))
    return found
