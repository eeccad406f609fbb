"""The literal command in a workspace, and what SLURM says of its jobs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from moments import EPOCHS
from workspace import Run, Workspace, environ, merged_config

from sonogrid.cluster.slurm import ask

LITERAL = ("snakemake", "--profile", "slurm")
SOONER = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5")
"""Flags that change nothing but how long a test waits."""
TABLE = "results/tables/ablation.csv"
COMPARED = ("metrics.csv", "predictions.csv", "tables/ablation.csv")
TIMEOUT = 240
"""Seconds; far more than any run takes here, so that only one that hangs is ended."""
FIELDS = ("jobid", "state", "reqtres", "partition", "comment", "submit", "start", "end")


def small_study(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """A config of two cells, which are in one job."""
    two_cells = {
        "cells_per_job": 2,
        "cohort": {"modalities": ["bmode"]},
        "grid": {"backbones": ["test_resnet"], "inits": ["scratch"], "modalities": ["bmode"]},
        "training": {"epochs": EPOCHS, "patience": EPOCHS},
        "statistics": {"pretraining_effect": None},
    }
    return merged_config(two_cells, *changes)


def small_cell(workspace: Workspace, fold: int) -> Path:
    """The folder of a cell of the small study, relative to the workspace."""
    return workspace.cell("test_resnet", "scratch", "bmode", 0, fold)


def set_up(folder: Path, config: Mapping[str, Any]) -> Workspace:
    """A workspace whose own config.yaml is this one, as the literal command needs it."""
    workspace = Workspace.new(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    return workspace


def stand_in(workspace: Workspace) -> Path:
    """A folder for PATH: its `sonogrid` does as moments.py says, its `module` notes what is loaded."""
    folder = workspace.folder / "bin"
    folder.mkdir(exist_ok=True)
    scripts = {
        "sonogrid": f'exec "{sys.executable}" "{Path(__file__).with_name("moments.py")}" "$@"',
        "module": f'echo "$*" >> "{marks_of(workspace) / "modules"}"',
    }
    for name, line in scripts.items():
        script = folder / name
        script.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        script.chmod(0o755)
    return folder


def marks_of(workspace: Workspace) -> Path:
    """The folder in which jobs and tests leave marks for each other."""
    folder = workspace.folder / "marks"
    folder.mkdir(exist_ok=True)
    return folder


def wait_until(true: Callable[[], Any], what: str, seconds: float = TIMEOUT) -> None:
    """Ask repeatedly until it is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


@dataclass
class Head:
    """A running `snakemake --profile slurm`, and the file with what it says."""

    workspace: Workspace
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.output.read_text(encoding="utf-8")

    def wait(self) -> Run:
        """Its end."""
        return Run(self.process.wait(TIMEOUT), self.text)

    def wait_for(self, true: Callable[[], Any], what: str) -> None:
        """Until something is true while this head lives."""

        def checked() -> bool:
            assert self.process.poll() is None, f"the run ended before {what}:\n{self.text}"
            return bool(true())

        wait_until(checked, what)

    def wait_until_held(self) -> str:
        """Until a job is at its moment; returns its id."""
        marks = marks_of(self.workspace)
        self.wait_for(lambda: list(marks.glob("held.*")), "a job came to its moment")
        (mark,) = marks.glob("held.*")
        return mark.suffix.removeprefix(".")


@contextmanager
def head(workspace: Workspace, *flags: str, moment: str = "", cell: int = 2) -> Iterator[Head]:
    """Type the literal command with some flags; nothing of it is left at the end."""
    marks = marks_of(workspace)
    happens = {"MOMENT": moment, "MOMENT_CELL": str(cell), "MOMENT_FOLDER": str(marks)} if moment else {}
    # What a developer's shell says to sbatch is not to be part of a test.
    shell = environ([stand_in(workspace)] if moment else [])
    kept = {name: value for name, value in shell.items() if not name.startswith(("SBATCH_", "SLURM_"))}
    output = workspace.folder / f"said{len(list(workspace.folder.glob('said*')))}.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*LITERAL, *flags],
            cwd=workspace.folder,
            env=kept | happens,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Head(workspace, process, output)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        left = [row["jobid"] for row in queue(workspace)]
        if left:
            ask(["scancel", *left])


def hold(workspace: Workspace) -> Path:
    """A file as long as which is there jobs wait at their moment."""
    file = marks_of(workspace) / "hold"
    file.touch()
    return file


def queue(workspace: Workspace) -> list[dict[str, str]]:
    """The workspace's jobs that wait or run: id, state and node."""
    rows = (line.split("|") for line in ask(["squeue", "--noheader", "--format=%i|%T|%N|%Z"]).splitlines())
    names = ("jobid", "state", "node")
    return [dict(zip(names, row, strict=False)) for row in rows if row[3] == str(workspace.folder)]


def accounted(workspace: Workspace, rule: str = "") -> list[dict[str, str]]:
    """What accounting says of the workspace's jobs of a rule (of all) when all have ended, by id."""
    said = "".join(file.read_text(encoding="utf-8") for file in workspace.folder.glob("said*.txt"))
    submitted = set(re.findall(r"submitted with SLURM jobid (\d+)", said))
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-2hours"]
    jobs: list[dict[str, str]] = []

    def complete() -> bool:
        lines = ask([*command, f"--format={','.join(FIELDS)}"]).splitlines()
        rows = (dict(zip(FIELDS, line.split("|"), strict=True)) for line in lines)
        jobs[:] = [row for row in rows if row["jobid"] in submitted]
        return len(jobs) == len(submitted) and all(job["end"] != "Unknown" for job in jobs)

    # The accounting database learns of a job some seconds late.
    wait_until(complete, "accounting of all jobs", 60)
    return [job for job in jobs if not rule or job["comment"].split("_wildcards_")[0] == f"rule_{rule}"]


def states(workspace: Workspace) -> list[str]:
    """The states of all jobs of rule train, in order; CANCELLED without who did it."""
    return [job["state"].split()[0] for job in accounted(workspace, "train")]


def attempts(workspace: Workspace, fold: int) -> list[dict[str, Any]]:
    """The attempts at one cell of the small study, as its run.json tells them."""
    run = workspace.folder / small_cell(workspace, fold) / "run.json"
    found: list[dict[str, Any]] = workspace.read_json(str(run.relative_to(workspace.results)))["attempts"]
    return found


def epochs(workspace: Workspace, fold: int) -> list[int]:
    """The epochs of one cell in the order in which they were run and kept."""
    return [
        epoch
        for attempt in attempts(workspace, fold)
        for epoch in range(attempt["first_epoch"], attempt["last_epoch"] + 1)
    ]


def assert_first_cell_only_in(job: str, workspace: Workspace) -> None:
    """The first job trained the first cell, and no other did; the second cell it began and another job ended."""
    assert [one["slurm_job_id"] for one in attempts(workspace, 0)] == [job]
    first, second = attempts(workspace, 1)
    assert first["slurm_job_id"] == job != second["slurm_job_id"]


def assert_same_results(workspace: Workspace, undisturbed: Workspace) -> None:
    """Every cell is there, every epoch was run once, and each file of numbers has the same bytes."""
    for fold in (0, 1):
        assert epochs(workspace, fold) == list(range(1, EPOCHS + 1))
        cell = small_cell(workspace, fold)
        for name in ("predictions.csv", "model.safetensors"):
            assert (workspace.folder / cell / name).read_bytes() == (undisturbed.folder / cell / name).read_bytes()
    for name in COMPARED:
        assert (workspace.results / name).read_bytes() == (undisturbed.results / name).read_bytes(), name
    assert [path for path in (workspace.results / "checkpoints").rglob("*") if path.is_file()] == []
    assert workspace.temporary_files() == []
