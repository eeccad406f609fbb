"""On demand, not in CI: overhead of the workflow per cell on the SLURM that start.sh started; simulated patients.

    python tests/slurm/many_cells.py              # 10, 20 and 40 cells, packed 1, 5 and 20 to a job
    python tests/slurm/many_cells.py --shards     # 1,200 very small cells, 60 to a job, none lost

Overhead: the seconds that the jobs of `train` were in SLURM (sacct, submission to end), minus the seconds of the cells
themselves (run.json), for each cell. At most --jobs are in the queue at a time, so none waits for another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from head_process import SOONER, Workspace, accounted, head, set_up, small_study


def study(backbones: int, inits: int, folds: int, cells_per_job: int) -> dict[str, Any]:
    """A study with these sizes of its axes."""
    names = [f"scratch{number}" for number in range(inits)]
    return small_study(
        {
            "cells_per_job": cells_per_job,
            "cohort": {"phantom": {"patients": 5 * folds + 6, "missing": 0.0}},
            "images": {"size": 32},
            "splits": {"folds": folds},
            "inits": {name: {"source": "random"} for name in names},
            "grid": {"backbones": ["test_resnet", "test_byobnet"][:backbones], "inits": names},
            "training": {"epochs": 1, "patience": 1},
        }
    )


def seconds_between(first: str, last: str) -> float:
    """Between two times of sacct."""
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def measure(folder: Path, config: dict[str, Any], *flags: str) -> None:
    """Prepare pictures and splits, train all cells on SLURM, and print one line."""
    workspace = set_up(folder, config)
    ready = workspace.run(["snakemake", "--cores", "2", "results/audit/certificate.json", "results/images/bmode.npy"])
    assert ready.code == 0, ready.shown_in_full()
    with head(workspace, "results/metrics.csv", "--until", "train", *SOONER, *flags) as run:
        ended = run.process.wait()
    assert ended == 0, run.text
    print(line(workspace, config), flush=True)


def line(workspace: Workspace, config: dict[str, Any]) -> str:
    """What was measured."""
    grid = config["grid"]
    expected = len(grid["backbones"]) * len(grid["inits"]) * config["splits"]["folds"]
    runs = [
        workspace.read_json(str(file.relative_to(workspace.results))) for file in workspace.results.rglob("run.json")
    ]
    lost, again = expected - len(runs), sum(len(run["attempts"]) > 1 for run in runs)
    assert lost == 0, f"{lost} of {expected} cells are lost"
    jobs = accounted(workspace, "train")
    work = sum(run["seconds"] for run in runs)
    in_slurm = sum(seconds_between(job["submit"], job["end"]) for job in jobs)
    wall = seconds_between(min(job["submit"] for job in jobs), max(job["end"] for job in jobs))
    return (
        f"cells_per_job {config['cells_per_job']}: {len(runs)} cells in {len(jobs)} jobs, none lost, "
        f"{again} with a second attempt; {wall:.0f} s from submission to the last end; "
        f"a cell: work {work / len(runs):.2f} s, overhead {(in_slurm - work) / len(runs):.2f} s"
    )


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--shards", action="store_true")
    options.add_argument("--jobs", default="2", help="jobs at a time; as many as the machine has cores")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="many_cells_") as temporary:
        if chosen.shards:
            measure(Path(temporary) / "shards", study(1, 60, 20, 60), "--jobs", chosen.jobs)
        else:
            for packed, backbones, inits in ((1, 1, 2), (5, 1, 4), (20, 2, 4)):
                measure(Path(temporary) / str(packed), study(backbones, inits, 5, packed), "--jobs", chosen.jobs)
