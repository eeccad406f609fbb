"""One head a folder; what a killed one left is found, ended and waited for, and nothing else is."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sonogrid.cluster import head
from sonogrid.problems import InputError

HOLDER = """
import sys
from pathlib import Path
from sonogrid.cluster.head import claim
claim(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other_head(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has claimed the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_head_is_refused_and_told_who_is_there(tmp_path: Path, other_head: subprocess.Popen[str]) -> None:
    with pytest.raises(InputError, match=f"another snakemake is at work here: process {other_head.pid} on "):
        head.claim(tmp_path)


def test_killed_head_frees_its_folder(tmp_path: Path, other_head: subprocess.Popen[str]) -> None:
    other_head.send_signal(signal.SIGKILL)
    other_head.wait(30)
    assert head.claim(tmp_path)
    assert (tmp_path / head.LOCK).read_text() == f"process {os.getpid()} on {os.uname().nodename}\n"


def test_head_may_claim_its_folder_again_and_others_too(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "one", tmp_path / "two"):
        folder.mkdir(exist_ok=True)
        assert head.claim(folder)


def test_jobs_are_left_alone_where_the_head_of_another_machine_may_live(tmp_path: Path, asked: Any) -> None:
    """A killed head wrote its machine into the file; a lock may be seen on that machine only."""
    (tmp_path / head.LOCK).parent.mkdir()
    (tmp_path / head.LOCK).write_text("process 7 on login2\n")
    certain = head.claim(tmp_path)
    assert not certain
    cluster = asked(Cluster(f"11|{RUN}|{tmp_path}"))
    with pytest.raises(InputError, match=r"11: jobs of an earlier run .* type `scancel 11`"):
        head.cancel_orphans(tmp_path, "sonogrid", certain)
    assert cluster.cancelled == []


def test_a_head_that_ended_well_leaves_no_doubt(tmp_path: Path, other_head: subprocess.Popen[str]) -> None:
    other_head.communicate("\n", timeout=30)
    assert (tmp_path / head.LOCK).read_text() == ""
    assert head.claim(tmp_path)


def test_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert not head.claim(tmp_path)


RUN = "sonogrid_1dffc54c-2036-40f7-8fac-1f47a8f8792a"
LATER = "sonogrid_6a0c1b52-7d1e-4a55-9b0e-0c2d3e4f5a6b"


class Cluster:
    """Answers squeue with rows; scancel takes its jobs away after so many more questions."""

    def __init__(self, *rows: str, lasting: float = 0) -> None:
        self.rows, self.lasting = list(rows), lasting
        self.cancelled: list[str] = []

    def ask(self, command: Sequence[str], seconds: float = 30) -> str:
        if command[0] == "scancel":
            self.cancelled += command[1:]
            return ""
        assert tuple(command) == head.LIST_JOBS
        if self.cancelled:
            self.lasting -= 1
        gone = self.cancelled if self.lasting < 0 else []
        return "".join(f"{row}\n" for row in self.rows if row.split("|")[0] not in gone)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a pretended cluster in place of SLURM's commands."""

    def put(cluster: Cluster) -> Cluster:
        monkeypatch.setattr(head, "ask", cluster.ask)
        return cluster

    return put


def test_only_jobs_of_this_folder_and_prefix_are_ended(tmp_path: Path, asked: Any) -> None:
    cluster = asked(
        Cluster(
            f"11|{RUN}|{tmp_path}",
            f"12|{RUN}|{tmp_path / 'below'}",
            f"13|sonogrid_check_0a1b2c|{tmp_path}",
            f"14|a job | of another kind|{tmp_path}",
            f"15|{LATER}|{tmp_path}",
            lasting=2,
        )
    )
    slept: list[float] = []
    assert head.cancel_orphans(tmp_path, "sonogrid", True, sleep=slept.append) == ["11", "15"]
    assert cluster.cancelled == ["11", "15"]
    assert len(slept) == 3


def test_nothing_is_cancelled_where_nothing_is_left(tmp_path: Path, asked: Any) -> None:
    cluster = asked(Cluster(f"12|{RUN}|{tmp_path / 'below'}"))
    assert head.cancel_orphans(tmp_path, "sonogrid", True) == []
    assert cluster.cancelled == []


def test_folder_by_another_name_is_the_same_folder(tmp_path: Path, asked: Any) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    asked(Cluster(f"11|{RUN}|{tmp_path / 'real'}"))
    assert head.orphans(tmp_path / "link", "sonogrid") == ["11"]


def test_jobs_that_do_not_end_are_named_after_a_bounded_wait(tmp_path: Path, asked: Any) -> None:
    asked(Cluster(f"11|{RUN}|{tmp_path}", lasting=float("inf")))
    slept: list[float] = []
    with pytest.raises(InputError, match=r"11: jobs of an earlier run do not end, .* s after scancel"):
        head.cancel_orphans(tmp_path, "sonogrid", True, seconds=60, sleep=slept.append)
    assert 60 <= sum(slept) < 90


def test_mistake_in_the_site_file_ends_without_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "site.yaml").write_text("acount: radiology\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        head.site_or_exit()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("slurm/site.yaml, key acount: is not known") and "'account'" in said


def test_site_without_facts_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert head.site_or_exit().gpu_flag == "--gpus=1"
