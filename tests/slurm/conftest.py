"""Tests on a real SLURM, which tests/slurm/cluster/start.sh starts (make slurm-test). Without it they are skipped."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from head_process import TABLE, Run, Workspace, set_up, small_study

CONFIG = Path("/etc/slurm/slurm.conf")


def reason_to_skip() -> str | None:
    """Why these tests cannot run now; None if they can."""
    if not CONFIG.is_file() or not CONFIG.read_text(encoding="utf-8").startswith("# A throw-away SLURM"):
        return "the SLURM for tests is not on this machine: `make slurm-test` starts it where that is possible"
    ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=60, check=False)
    return None if " is UP" in ping.stdout else f"the SLURM for tests does not answer: {ping.stdout.strip()}"


@pytest.fixture(scope="session", autouse=True)
def slurm() -> None:
    """A running SLURM, or a skip that says why there is none."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def common(slurm: None, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that the workers of pytest-xdist have in common."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


def made_once(folder: Path, make: Callable[[Path], Run]) -> Workspace:
    """A workspace that the first worker makes while the others wait."""
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            done.write_text(make(folder).shown_in_full(), encoding="utf-8")
    said = done.read_text(encoding="utf-8")
    if not said.startswith("exit code 0\n"):
        pytest.fail(f"the small study did not run: {said}", pytrace=False)
    return Workspace(folder)


@pytest.fixture(scope="session")
def prepared(common: Path) -> Workspace:
    """The small study as far as pictures, splits and their audit, made without SLURM."""
    certificate = "results/audit/certificate.json"
    files = ("results/splits.csv", "results/images/bmode.npy", "results/images/bmode.csv", certificate)

    def make(folder: Path) -> Run:
        return set_up(folder, small_study()).run(["snakemake", "--cores", "2", *files])

    return made_once(common / "prepared", make)


@pytest.fixture(scope="session")
def undisturbed(common: Path, prepared: Workspace) -> Workspace:
    """The small study finished without SLURM and without any fault."""

    def make(folder: Path) -> Run:
        return prepared.copy(folder).run(["snakemake", "--cores", "1", TABLE])

    return made_once(common / "undisturbed", make)


@pytest.fixture
def workspace(prepared: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the prepared study that a test may disturb."""
    return prepared.copy(tmp_path / "workspace")


def held(common: Path, kind: int) -> Iterator[None]:
    with (common / "cluster.lock").open("w") as file:
        fcntl.flock(file, kind)
        yield


@pytest.fixture(scope="module")
def shared_cluster(common: Path) -> Iterator[None]:
    """For tests that other workers' jobs do not disturb."""
    yield from held(common, fcntl.LOCK_SH)


@pytest.fixture(scope="module")
def whole_cluster(common: Path) -> Iterator[None]:
    """For tests that take away a node or the controller: no other worker has jobs meanwhile."""
    yield from held(common, fcntl.LOCK_EX)
