"""A git repository with the smallest suite that the gate can compare; its clock is its own, so times are exact."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from sonogrid.perf import measuring

SUITE = """
import pytest

from sonogrid.perf.measuring import measure_speed
from sonogrid.speed import ANSWER, SECONDS

now = 0.0


def clock():
    return now


@pytest.mark.benchmark(timer=clock)
@pytest.mark.parametrize("name", sorted(SECONDS))
def test_speed(benchmark, name):
    def operation():
        global now
        now += SECONDS[name]
        return ANSWER

    def check(answer):
        assert SECONDS[name] > 0, "the benchmark is broken"

    measure_speed(benchmark, operation, check=check, unit="image", inputs=name)
"""
LAWS = """
from sonogrid.speed import ANSWER


def test_the_answer_is_positive():
    assert ANSWER > 0
"""
PYPROJECT = """
[tool.pytest.ini_options]
markers = ["full: left out"]
filterwarnings = ["error"]
"""
SECONDS = {"a": 0.010, "b": 0.020}


class Project:
    """A repository in a folder; `commit` makes a commit of files and returns it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("config", "user.name", "Somebody")
        self.git("config", "user.email", "somebody@example.org")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self, files: Mapping[str, str]) -> str:
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change", "--allow-empty")
        return self.git("rev-parse", "HEAD")

    def worktrees(self) -> int:
        """How many trees the repository has besides its own."""
        return len(self.git("worktree", "list").splitlines()) - 1


def speed(seconds: Mapping[str, float], answer: int = 1) -> dict[str, str]:
    """The files that say how fast the project is, and what it computes."""
    return {"src/sonogrid/speed.py": f"SECONDS = {dict(seconds)!r}\nANSWER = {answer}\n"}


def tiny_project(folder: Path) -> Project:
    """A project with one commit."""
    made = Project(folder)
    (folder / "src" / "sonogrid" / "perf").mkdir(parents=True)
    shutil.copy(measuring.__file__, folder / "src" / "sonogrid" / "perf" / "measuring.py")
    made.commit(
        {
            "pyproject.toml": PYPROJECT,
            "envs/requirements.lock": f"# Pins.\npytest=={version('pytest')}\nnumpy=={version('numpy')}\n",
            "src/sonogrid/__init__.py": "",
            "src/sonogrid/perf/__init__.py": "",
            "tests/benchmark/test_speed.py": SUITE,
            "tests/property/test_laws.py": LAWS,
            ".gitignore": "__pycache__/\n",
        }
        | speed(SECONDS)
    )
    return made
