"""The same cells at the same time: what a node does that was given up for lost and is not."""

from __future__ import annotations

import re
import subprocess

from head_process import TABLE, Workspace, assert_same_results, environ, marks_of, stand_in


def test_two_copies_of_a_job_do_no_harm(workspace: Workspace, undisturbed: Workspace) -> None:
    plan = workspace.run(["snakemake", "-n", "-p", "--cores", "1", TABLE])
    (command,) = re.findall(r"^ *(sonogrid (?:.*\\\n)*.* train .*\\\n(?:.*\\\n)*.*)$", plan.text, re.MULTILINE)
    happens = {"MOMENT": "meet", "MOMENT_CELL": "1", "MOMENT_FOLDER": str(marks_of(workspace))}
    twins = [
        subprocess.Popen(
            ["bash", "-c", command],
            cwd=workspace.folder,
            env=environ([stand_in(workspace)]) | happens | {"SLURM_JOB_ID": name},
        )
        for name in ("1", "2")
    ]
    assert [twin.wait(120) for twin in twins] == [0, 0]
    run = workspace.run(["snakemake", "--cores", "1", "--rerun-incomplete", TABLE])
    assert run.code == 0, run.shown_in_full()
    assert_same_results(workspace, undisturbed)
