"""A folder in which Snakemake runs the workflow of this repository, apart from all others."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sonogrid.config.load import load_study, merge_configs
from sonogrid.config.needs import Parts
from sonogrid.config.study import Study
from sonogrid.grid import Cell
from sonogrid.layout import Layout

REPOSITORY = Path(__file__).parents[2]
SMALLEST = Path(__file__).with_name("smallest.yaml")
SOURCES = ("Snakefile", "config.yaml", "rules", "slurm", "workflow")
BIN = Path(sys.executable).parent
TIMEOUT = 500
"""Seconds; far more than any run takes, so that only a run that hangs is ended."""
JOB_STATS = re.compile(r"^Job stats:\n.*\n-.*\n((?:\w+ +\d+\n)+)", re.MULTILINE)
NOTHING_TO_DO = "Nothing to be done"
SCORED = ("metrics.csv", "effects.csv", "predictions.csv", "report.html")
"""What is computed from all cells together."""


@dataclass(frozen=True)
class Run:
    """How a Snakemake run ended and what it said on both streams together."""

    code: int
    text: str

    @property
    def jobs(self) -> dict[str, int]:
        """Jobs that were planned, by rule, without the target rule; empty if there was nothing to do."""
        if NOTHING_TO_DO in self.text:
            return {}
        found = JOB_STATS.search(self.text)
        assert found is not None, self.text
        counts = {name: int(count) for name, count in (line.split() for line in found[1].splitlines())}
        return {name: count for name, count in counts.items() if name not in ("all", "total")}

    def shown_in_full(self) -> str:
        """For assertion messages."""
        return f"exit code {self.code}\n{self.text}"


@dataclass(frozen=True)
class Workspace:
    """A copy of the workflow with the results that it makes; paths in it are relative, so it can be copied."""

    folder: Path

    @classmethod
    def new(cls, folder: Path) -> Workspace:
        """A workspace without results."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in SOURCES:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                shutil.copy2(source, folder / name)
        return cls(folder)

    def copy(self, folder: Path) -> Workspace:
        """The same with its results and Snakemake's memory of them; times of files are kept."""
        shutil.copytree(self.folder, folder, copy_function=_link_pictures, dirs_exist_ok=True)
        return Workspace(folder)

    @property
    def results(self) -> Path:
        """Where the study writes."""
        return self.folder / "results"

    def study(self) -> Study:
        """The smallest study, its paths below this workspace."""
        merged = merged_config()
        return load_study(merged | {"results": str(self.results)})

    def part(self, stage: str, *changes: Mapping[str, Any], **axes: Sequence[str]) -> str:
        """What a rule passes as `--study`."""
        return Parts(load_study(merged_config(*changes))).json(stage, **axes)

    def command(self, *arguments: str, changes: Mapping[str, Any] | None = None) -> list[str]:
        """The Snakemake command for the smallest study, with `changes` merged into its config."""
        configfiles = [str(SMALLEST)]
        if changes is not None:
            (self.folder / "changes.yaml").write_text(yaml.safe_dump(dict(changes)), encoding="utf-8")
            configfiles.append("changes.yaml")
        return [sys.executable, "-m", "snakemake", *arguments, "--configfile", *configfiles]

    def snakemake(
        self, *arguments: str, changes: Mapping[str, Any] | None = None, path: Sequence[Path] = (), **environment: str
    ) -> Run:
        """Run Snakemake on the smallest study; folders of `path` come first in PATH."""
        return self.run(self.command(*arguments, changes=changes), path, **environment)

    def run(self, command: Sequence[str], path: Sequence[Path] = (), **environment: str) -> Run:
        """Run a command in this workspace, as a person would there."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environ(path) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Run(done.returncode, done.stdout)

    def dry_run(self, *arguments: str, changes: Mapping[str, Any] | None = None) -> Run:
        """What Snakemake would do; it must succeed."""
        run = self.snakemake("-n", *arguments, changes=changes)
        assert run.code == 0, run.shown_in_full()
        return run

    def cell(self, *axes: str | int) -> Path:
        """Folder of a cell, relative to the workspace."""
        return Layout(Path("results")).cell(Cell(*axes))  # type: ignore[arg-type]

    def read_json(self, name: str) -> Any:
        """A JSON file below the results."""
        return json.loads((self.results / name).read_text(encoding="utf-8"))

    def class_counts(self) -> dict[str, int]:
        """Patients of each class of the cohort."""
        with (self.results / "cohort" / "patients.csv").open(encoding="utf-8", newline="") as file:
            return dict(Counter(row["label"] for row in csv.DictReader(file)))

    def temporary_files(self) -> list[Path]:
        """Files of the results with the hidden names that files have until they are whole."""
        return [path for path in self.results.rglob(".*") if path.is_file()]


def merged_config(*changes: Mapping[str, Any]) -> dict[str, Any]:
    """config.yaml, smallest.yaml and the changes, merged as Snakemake does."""
    merged: dict[str, Any] = {}
    files = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in (REPOSITORY / "config.yaml", SMALLEST))
    for content in (*files, *changes):
        merged = merge_configs(merged, content)
    return merged


def environ(path: Sequence[Path] = ()) -> dict[str, str]:
    """Environment in which `sonogrid` is this Python's, nothing is downloaded and no profile is read."""
    folders = [*map(str, path), str(BIN), os.environ.get("PATH", os.defpath)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE_")}
    return kept | {"PATH": os.pathsep.join(folders), "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}


def without_cell(workspace: Workspace, *cell: tuple[str | int, ...]) -> None:
    """Take away cells and everything that is scored from them."""
    for one in cell:
        shutil.rmtree(workspace.folder / workspace.cell(*one))
    for name in SCORED:
        (workspace.results / name).unlink()
    shutil.rmtree(workspace.results / "tables")


def wait_for(mark: Path, process: subprocess.Popen[str]) -> None:
    """Until the file is there."""
    end = time.monotonic() + TIMEOUT
    while not mark.exists():
        assert process.poll() is None, "the run ended before it was to be interrupted"
        assert time.monotonic() < end, "the run did not come to the moment at which it was to be interrupted"
        time.sleep(0.1)


def _link_pictures(source: str, destination: str) -> None:
    """Copy a file; pictures, which nothing writes in place, share their bytes."""
    if source.endswith(".png"):
        os.link(source, destination)
    else:
        shutil.copy2(source, destination)
