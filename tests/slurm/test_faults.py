"""A job or the head is ended in the middle of a cell: the same command ends with the same tables."""

from __future__ import annotations

import signal

import pytest
from head_process import (
    SOONER,
    TABLE,
    Workspace,
    accounted,
    assert_first_cell_only_in,
    assert_same_results,
    head,
    hold,
    queue,
    states,
    wait_until,
)

from sonogrid.cluster.slurm import ask

pytestmark = pytest.mark.usefixtures("shared_cluster")


def test_job_cancelled(workspace: Workspace, undisturbed: Workspace) -> None:
    """scancel of a job is a failure: Snakemake submits it once more."""
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        job = run.wait_until_held()
        ask(["scancel", job])
        file.unlink()
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert states(workspace) == ["CANCELLED", "COMPLETED"]
    assert_same_results(workspace, undisturbed)
    assert_first_cell_only_in(job, workspace)


def test_job_over_its_memory(workspace: Workspace, undisturbed: Workspace) -> None:
    """A job that SLURM kills for memory is tried again with more."""
    memory = ("--set-resources", "train:mem_mb=2000*attempt")
    with head(workspace, TABLE, *SOONER, *memory, moment="grow") as run:
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    first, second = accounted(workspace, "train")
    assert first["state"] in ("FAILED", "OUT_OF_MEMORY") and second["state"] == "COMPLETED"
    assert "mem=2000M" in first["reqtres"] and "mem=4000M" in second["reqtres"]
    assert_same_results(workspace, undisturbed)
    assert_first_cell_only_in(first["jobid"], workspace)


def test_head_killed_and_the_command_typed_again(workspace: Workspace, undisturbed: Workspace) -> None:
    """While a head lives another is refused; after its end the next ends its orphan and goes on where that one was."""
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as killed:
        job = killed.wait_until_held()
        with head(workspace, TABLE) as second:
            refused = second.wait()
        assert refused.code == 1, refused.shown_in_full()
        assert f"another snakemake is at work here: process {killed.process.pid} on " in refused.text
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        assert [row["jobid"] for row in queue(workspace)] == [job]
        with head(workspace, *SOONER, TABLE, moment="hold") as run:
            wait_until(lambda: job not in [row["jobid"] for row in queue(workspace)], "the orphan's end")
            file.unlink()
            ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert f"Ended 1 job(s) that an earlier run left: {job}" in ended.text
    assert states(workspace) == ["CANCELLED", "COMPLETED"]
    assert_same_results(workspace, undisturbed)
    assert_first_cell_only_in(job, workspace)
