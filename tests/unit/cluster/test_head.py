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
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.resources import Resources
from snakemake.settings.types import ResourceSettings
from snakemake_interface_common.exceptions import WorkflowError

from sonogrid.cluster import head, slurm
from sonogrid.cluster.profile import site_profile
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import Site
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


def workflow_on(executor: str, **overrides: Any) -> SimpleNamespace:
    """Snakemake's workflow object as far as `start_head` looks at it."""
    settings = ResourceSettings(default_resources=site_profile(Site()).defaults, **overrides)
    return SimpleNamespace(executor_plugin=SimpleNamespace(name=executor), resource_settings=settings)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands by which the quick check asks a cluster that takes every job."""
    commands: list[list[str]] = []

    def call(command: Sequence[str], *_: Any) -> slurm.Answer:
        commands.append(list(command))
        return slurm.Answer(0, "", "")

    monkeypatch.setattr(slurm, "call", call)
    return commands


REQUESTS = {"train": Request(1, 2, 6000, 60)}


def test_a_run_without_slurm_claims_its_folder_and_asks_nothing(tmp_path: Path, checked: list[list[str]]) -> None:
    head.start_head(tmp_path, workflow_on("local"), REQUESTS)
    assert (tmp_path / head.LOCK).exists()
    assert checked == []


def test_a_run_on_slurm_ends_orphans_and_asks_about_its_jobs(
    tmp_path: Path,
    asked: Any,
    checked: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster = asked(Cluster(f"11|{RUN}|{tmp_path}"))
    monkeypatch.setattr(head, "PAUSES", (0.01,))
    typed = {"train": Resources.parse(["mem_mb=9000*attempt"], allow_expressions=True)}
    head.start_head(tmp_path, workflow_on("slurm", overwrite_resources=typed), REQUESTS)
    assert cluster.cancelled == ["11"]
    assert capsys.readouterr().err == "Ended 1 job(s) that an earlier run left: 11\n"
    (command,) = checked
    assert command[:3] == ["sbatch", "--test-only", "--requeue"]
    assert command[3:-1] == ["-t", "60", "--mem", "9000", "--cpus-per-task=2", "--gpus=1"], "what was typed counts"


def test_a_run_that_must_not_begin_ends_as_snakemake_does(tmp_path: Path, other_head: subprocess.Popen[str]) -> None:
    with pytest.raises(WorkflowError, match=f"another snakemake is at work here: process {other_head.pid} on "):
        head.start_head(tmp_path, workflow_on("local"), REQUESTS)


def test_the_shipped_profile_gives_jobs_the_prefix_by_which_orphans_are_found() -> None:
    assert f"slurm-jobname-prefix: {head.JOB_PREFIX} " in Path("slurm/profile.yaml").read_text(encoding="utf-8")
