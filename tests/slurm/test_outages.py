"""A node or the controller goes away in the middle of a cell: the job goes on, and the tables are the same."""

from __future__ import annotations

import os
import re
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
    marks_of,
    queue,
    states,
)

from sonogrid.cluster.slurm import ask

START = Path(__file__).parent / "cluster" / "start.sh"

pytestmark = pytest.mark.usefixtures("whole_cluster")


def daemon_process(key: str, name: str, node: str = "") -> int:
    """The process id of one of the daemons, and of nothing else; `key` is where SLURM's config says it."""
    lines = ask(["scontrol", "show", "config"]).splitlines()
    (file,) = (line.split(" = ")[1] for line in lines if line.startswith(f"{key} "))
    process = int(Path(file.replace("%n", node)).read_text(encoding="utf-8"))
    assert Path(f"/proc/{process}/comm").read_text(encoding="utf-8") == f"{name}\n"
    return process


def controller_process() -> int:
    """The process id of the controller."""
    return daemon_process("SlurmctldPidFile", "slurmctld")


def restarts(job: str) -> int:
    """How often SLURM has started a job again."""
    found = re.search(r"Restarts=(\d+)", ask(["scontrol", "show", "job", job]))
    assert found is not None
    return int(found[1])


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
    (only,) = attempts(workspace, fold=0)
    assert only["node"] == held["node"], "the cell that was done is not trained again"


def test_job_preempted(workspace: Workspace, undisturbed: Workspace) -> None:
    """A job of a partition with priority takes the node; SLURM starts the preempted one again, which goes on."""
    (workspace.folder / "slurm" / "site.yaml").write_text("partition: low\n", encoding="utf-8")
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        job = run.wait_until_held()
        (held,) = queue(workspace)
        urgent = ["--partition=gpu", f"--nodelist={held['node']}", "--exclusive", "--time=1", "--output=/dev/null"]
        ask(["sbatch", "--chdir=/tmp", "--job-name=urgent", *urgent, "--wrap=sleep 5"])
        run.wait_for(lambda: restarts(job) == 1, "SLURM started the preempted job again")
        file.unlink()
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert_same_results(workspace, undisturbed)
    assert [len(attempts(workspace, fold)) for fold in (0, 1)] == [1, 2]
    assert {one["slurm_job_id"] for one in attempts(workspace, 1)} == {job}


def test_lost_node_that_is_not_dead(workspace: Workspace, undisturbed: Workspace) -> None:
    """A node's daemon dies, its job lives on; a second copy runs elsewhere when the daemon comes back."""
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        run.wait_until_held()
        (held,) = queue(workspace)
        (other,) = {"gpu1", "gpu2"} - {held["node"]}
        os.kill(daemon_process("SlurmdPidFile", "slurmd", held["node"]), signal.SIGKILL)
        run.wait_for((marks_of(workspace) / f"at_{other}").exists, "a second copy was in the same cell")
        subprocess.run([str(START)], check=True, capture_output=True, timeout=120)
        file.unlink()
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert_same_results(workspace, undisturbed)
    assert attempts(workspace, fold=1)[-1]["node"] == other


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
