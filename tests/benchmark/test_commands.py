"""Time from typing a command to its end: help, check, and the plan of a grid by Snakemake."""

from __future__ import annotations

import json
import os
import pstats
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from grids import study
from pytest_benchmark.fixture import BenchmarkFixture
from pytest_benchmark.utils import get_cprofile_functions

from sonogrid.perf.measuring import PROFILE, measure_speed

ROOT = Path(__file__).parents[2]
WORKFLOW = ("Snakefile", "config.yaml", "rules", "slurm", "workflow")

LAUNCHER = """
import json, os, subprocess, sys
for line in sys.stdin:
    arguments, folder, output = json.loads(line)
    with open(output, "wb") as said:
        process = subprocess.Popen(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
    print(os.waitstatus_to_exitcode(status), used.ru_maxrss, flush=True)
"""
"""A small process that starts commands: what it starts does not begin with the peak memory of this large one."""


class Ended(NamedTuple):
    """How a command ended: exit code, what it said, and its peak memory in bytes."""

    code: int
    text: str
    peak_bytes: int
    profile: Path

    def functions(self) -> list[dict[str, Any]]:
        """Return what cProfile says of it, a row per function."""
        return get_cprofile_functions(pstats.Stats(str(self.profile)))


Run = Callable[[Sequence[str], Path], Ended]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a module of this Python in a folder."""
    output = tmp_path_factory.mktemp("launcher") / "said.txt"
    profile = output.with_name("profile")
    profiled = ["-m", "cProfile", "-o", str(profile)] if os.environ.get(PROFILE) else []
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdin is not None and launcher.stdout is not None

    def run(arguments: Sequence[str], folder: Path) -> Ended:
        assert launcher.stdin is not None and launcher.stdout is not None
        line = json.dumps([[sys.executable, *profiled, "-m", *arguments], str(folder), str(output)])
        print(line, file=launcher.stdin, flush=True)
        code, kilobytes = map(int, launcher.stdout.readline().split())
        return Ended(code, output.read_text(encoding="utf-8"), kilobytes * 1024, profile)

    yield run
    launcher.stdin.close()
    launcher.wait()
    launcher.stdout.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the workflow of this repository, without results."""
    for name in WORKFLOW:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, tmp_path / name)
    return tmp_path


JOBS = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
"""A line of Snakemake's table of jobs: rule and number."""


def test_help(benchmark: BenchmarkFixture, run: Run, tmp_path: Path) -> None:
    """`sonogrid --help`."""

    def check(ended: Ended) -> None:
        assert ended.code == 0 and "usage: sonogrid" in ended.text, ended.text

    command = ["sonogrid.cli", "--help"]
    measure_speed(
        benchmark,
        lambda: run(command, tmp_path),
        check=check,
        unit="command",
        inputs=command,
        numbers=lambda _: None,
        rounds=3,
        peak_bytes=lambda ended: ended.peak_bytes,
        profile=lambda ended: ended.functions(),
    )


def test_check(benchmark: BenchmarkFixture, run: Run, folder: Path) -> None:
    """`sonogrid check` of the study as shipped."""

    def check(ended: Ended) -> None:
        assert ended.code == 0 and "36 cells" in ended.text, ended.text

    command = ["sonogrid.cli", "check", "--config", "config.yaml"]
    measure_speed(
        benchmark,
        lambda: run(command, folder),
        check=check,
        unit="command",
        inputs=[command, (folder / "config.yaml").read_text(encoding="utf-8")],
        numbers=lambda ended: ended.text,
        rounds=3,
        peak_bytes=lambda ended: ended.peak_bytes,
        profile=lambda ended: ended.functions(),
    )


@pytest.mark.parametrize(
    "cells", [36, pytest.param(1200, marks=pytest.mark.full), pytest.param(12000, marks=pytest.mark.full)]
)
def test_plan(benchmark: BenchmarkFixture, run: Run, folder: Path, cells: int) -> None:
    """`snakemake -n`: what a user waits for before the first job of a grid."""
    (folder / "changes.yaml").write_text(yaml.safe_dump(study(cells)), encoding="utf-8")

    def check(ended: Ended) -> None:
        assert ended.code == 0 and ("train", str(cells)) in JOBS.findall(ended.text), ended.text[-2000:]

    command = ["snakemake", "-n", "--quiet", "all", "--configfile", "changes.yaml"]
    measure_speed(
        benchmark,
        lambda: run(command, folder),
        check=check,
        unit="cell",
        count=cells,
        inputs=[command, study(cells), (folder / "config.yaml").read_text(encoding="utf-8")],
        numbers=lambda ended: JOBS.findall(ended.text),
        rounds=1,
        peak_bytes=lambda ended: ended.peak_bytes,
        profile=lambda ended: ended.functions(),
    )
