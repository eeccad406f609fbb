"""A node or the controller goes away in the middle of a cell: the job goes on, and the tables are the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from head_process import (
    SOONER,
    TABLE,
    Workspace,
    assert_same_results,
    attempts,
    head,
    hold,
    queue,
    states,
)

from sonogrid.cluster import ask

START = Path(__file__).parent / "cluster" / "start.sh"

pytestmark = pytest.mark.usefixtures("whole_cluster")


def controller_process() -> int:
    """The process id of the controller, and of nothing else."""
    lines = ask(["scontrol", "show", "config"]).splitlines()
    (file,) = (line.split(" = ")[1] for line in lines if line.startswith("SlurmctldPidFile "))
    process = int(Path(file).read_text(encoding="utf-8"))
    assert Path(f"/proc/{process}/comm").read_text(encoding="utf-8") == "slurmctld\n"
    return process


def test_node_taken_down(workspace: Workspace, undisturbed: Workspace) -> None:
    """SLURM starts the job again on the other node, where it goes on from the last epoch."""
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        job = run.wait_until_held()
        (held,) = queue(workspace)
        assert held["jobid"] == job
        ask(["scontrol", "update", f"nodename={held['node']}", "state=down", "reason=test"])
        try:
            file.unlink()
            ended = run.wait()
        finally:
            ask(["scontrol", "update", f"nodename={held['node']}", "state=resume"])
    assert ended.code == 0, ended.shown_in_full()
    assert_same_results(workspace, undisturbed)
    first, second = attempts(workspace, fold=1)
    assert (first["slurm_job_id"], first["node"]) == (job, held["node"])
    assert second["slurm_job_id"] == job and second["node"] != held["node"]
    assert len(attempts(workspace, fold=0)) == 1, "the cell that was done is not trained again"


def test_controller_restarted(workspace: Workspace, undisturbed: Workspace) -> None:
    """Jobs and head live through a controller that is killed, away for some seconds, and started again."""
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        run.wait_until_held()
        controller = controller_process()
        os.kill(controller, signal.SIGKILL)
        # Longer than the head's shortest time between two questions.
        time.sleep(8)
        assert run.process.poll() is None, run.text
        subprocess.run([str(START)], check=True, capture_output=True, timeout=120)
        assert controller_process() != controller
        file.unlink()
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert states(workspace) == ["COMPLETED"]
    assert_same_results(workspace, undisturbed)
    assert [len(attempts(workspace, fold)) for fold in (0, 1)] == [1, 1]
