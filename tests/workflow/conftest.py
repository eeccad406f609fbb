"""The smallest study, run once for all tests that need its results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from filelock import FileLock
from workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The workflow without results."""
    return Workspace.new(tmp_path / "workspace")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Workspace:
    """The smallest study after its first run. Tests that change anything take `finished_copy`."""
    own = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist have a folder in common: one of them runs the study and the others wait for it.
    shared = own if worker_id == "master" else own.parent
    folder, done = shared / "finished", shared / "finished.done"
    with FileLock(shared / "finished.lock"):
        if not done.exists():
            run = Workspace.new(folder).snakemake("--cores", "2")
            done.write_text(run.shown_in_full(), encoding="utf-8")
    said = done.read_text(encoding="utf-8")
    if not said.startswith("exit code 0\n"):
        pytest.fail(f"the smallest study did not run: {said}", pytrace=False)
    return Workspace(folder)


@pytest.fixture
def finished_copy(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished study that a test may spoil."""
    return finished.copy(tmp_path / "workspace")


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder for PATH with a `sonogrid` that does as stand_in.py says."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "sonogrid"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("stand_in.py")}" "$@"\n')
    script.chmod(0o755)
    return folder
