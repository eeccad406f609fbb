"""Two commits side by side: what is refused with which reason, and that nothing is left behind."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.perf.tiny_project import Project, speed, tiny_project

import sonogrid
from sonogrid.perf import sides
from sonogrid.perf.process import run_in_tree
from sonogrid.perf.sides import PROTOCOL_FILE, SUITE_FILES, is_installed, remarks, top_of, two_sides
from sonogrid.perf.verdicts import CouldNotMeasureError


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path, temporary: Path) -> Iterator[Project]:
    made = tiny_project(tmp_path / "project")
    yield made
    assert made.worktrees() == 0
    assert list(temporary.iterdir()) == []


def refused(project: Project, base: str = "HEAD", head: str = "HEAD") -> str:
    with pytest.raises(CouldNotMeasureError) as caught, two_sides(base, head, project.folder):
        pytest.fail("the sides were made")
    return str(caught.value)


def test_each_side_is_its_commit_in_a_tree_of_its_own(project: Project) -> None:
    before = project.git("rev-parse", "HEAD")
    after = project.commit(speed({"a": 1.0}))
    with two_sides("HEAD~1", "main", project.folder) as (base, head):
        assert (base.commit, head.commit) == (before, after)
        assert "'a': 1.0" in (head.folder / "src/sonogrid/speed.py").read_text()
        assert "'a': 0.01" in (base.folder / "src/sonogrid/speed.py").read_text()
        # Equal lengths, so that the paths move nothing in the memory of one side alone.
        assert len(str(base.folder)) == len(str(head.folder))
        assert base.python == head.python == Path(sys.executable)
        assert project.worktrees() == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_whatever_ends_a_comparison(project: Project, error: type[BaseException]) -> None:
    with pytest.raises(error), two_sides("HEAD", "HEAD", project.folder):
        raise error


def test_a_dirty_tree_is_refused_with_its_files(project: Project) -> None:
    project.write({"src/sonogrid/speed.py": "SECONDS = {}\n", "new file.py": ""})
    said = refused(project)
    assert "src/sonogrid/speed.py" in said and "new file.py" in said and "Commit or stash" in said
    # Of other commits than the one that lies here nothing is missing.
    project.git("stash", "--include-untracked")
    first = project.git("rev-parse", "HEAD")
    project.commit({})
    project.write({"another.py": ""})
    with two_sides(first, first, project.folder):
        pass


@pytest.mark.parametrize("name", ["nothing", "--help", "-1", "HEAD:src", ""])
def test_a_name_that_is_no_commit_is_refused(project: Project, name: str) -> None:
    assert "is not a commit in this repository" in refused(project, base=name)


def test_a_shallow_clone_is_refused_with_the_way_out(tmp_path: Path, project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    project.commit({})
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", "--depth", "1", f"file://{project.folder}", str(clone))
    with (
        pytest.raises(CouldNotMeasureError, match=r"not in this shallow clone.*fetch-depth: 0"),
        two_sides(first, "HEAD", clone),
    ):
        pass


def test_a_base_from_before_the_suite_existed_is_refused(project: Project) -> None:
    (project.folder / PROTOCOL_FILE).unlink()
    old = project.commit({})
    project.git("revert", "--no-edit", "HEAD")
    assert "is from before the suite existed" in refused(project, base=old)


def test_both_names_are_told_at_once(project: Project) -> None:
    said = refused(project, "one", "two")
    assert said.startswith("one: ") and "\ntwo: " in said


def test_a_folder_outside_any_repository_is_refused(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(CouldNotMeasureError, match="is not in a git repository"), two_sides("HEAD", "HEAD", tmp_path):
        pass


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_no_space_is_told_before_anything_is_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 9 * 10**8, 10**8))
    assert "has 0.1 GB of space, and 0.5 GB are needed" in refused(project)
    project.commit({"envs/requirements.lock": "sonogrid-nothing==1.0\n"})
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**11, 0, 9 * 10**9))
    assert "9.5 GB are needed" in refused(project)


def test_a_base_that_does_not_install_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # No registry is asked: nothing is there for pip to find.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    old = project.commit({"envs/requirements.lock": "sonogrid-nothing==1.0\n"})
    project.git("revert", "--no-edit", "HEAD")
    said = refused(project, base=old)
    assert "does not install" in said and "sonogrid-nothing==1.0" in said


def test_an_environment_is_built_once_where_both_locks_are_equal(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(sides, "_build", lambda command, digest: built.append(command))
    project.commit({"envs/requirements.lock": "sonogrid-nothing==1.0\n"})
    with two_sides("HEAD", "HEAD", project.folder) as (base, head):
        assert base.python == head.python != Path(sys.executable)
    assert [command[1:3] for command in built] == [["-m", "venv"], ["-m", "pip"]]


def test_a_built_environment_has_its_packages_and_says_that_it_has_sonogrid(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder in place of a registry, with a lock that this Python does not meet."""
    wheel = tmp_path / "index" / "sonogrid_nothing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("sonogrid_nothing.py", "HERE = True\n")
        info = "sonogrid_nothing-1.0.dist-info"
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: sonogrid-nothing\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    project.commit({"envs/requirements.lock": "sonogrid-nothing==1.0\n"})
    says = "import importlib.metadata as m, sonogrid_nothing, sonogrid; print(m.version('sonogrid'), sonogrid.__file__)"
    with two_sides("HEAD~1", "HEAD", project.folder) as (base, head):
        assert base.python == Path(sys.executable) != head.python
        code, said = run_in_tree([str(head.python), "-c", says], head, {}, 60)
        assert (code, said.split()) == (0, [sonogrid.__version__, str(head.folder / "src/sonogrid/__init__.py")])
        assert "The locks differ" in remarks(base, head, project.folder)[0]
        assert "+sonogrid-nothing==1.0" in remarks(base, head, project.folder)[0]


def test_an_interrupted_checkout_leaves_no_locked_tree(project: Project) -> None:
    """A filter of the repository that hangs while files are written; SIGINT comes in the midst of it."""
    (project.folder / ".git" / "info").mkdir(exist_ok=True)
    (project.folder / ".git" / "info" / "attributes").write_text("pyproject.toml filter=slow\n")
    started = project.folder / ".git" / "started"
    project.git("config", "filter.slow.smudge", f"touch {started}; sleep 600")
    done: list[int] = []

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        done.append(1)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt), two_sides("HEAD", "HEAD", project.folder):
        pytest.fail("the checkout ended")
    thread.join()
    assert done and project.worktrees() == 0


def test_a_subfolder_is_as_good_as_the_top(project: Project) -> None:
    project.commit({"tests/benchmark/test_more.py": ""})
    with two_sides("HEAD~1", "HEAD", project.folder / "src") as (base, head):
        assert remarks(base, head, top_of(project.folder / "src"))[0].startswith("The suite itself differs")


def test_what_is_installed() -> None:
    assert is_installed(f"# pins\npytest=={version('pytest')}\n")
    assert is_installed("sonogrid-nothing==1.0 ; sys_platform == 'nowhere'\n")
    assert not is_installed("no requirement at all\n")
    assert not is_installed("pytest==0.0.1\n")
    assert not is_installed("sonogrid-nothing==1.0\n")


def test_other_worktrees_of_the_user_and_hooks_are_left_alone(project: Project, tmp_path: Path) -> None:
    away = tmp_path / "away"
    project.git("worktree", "add", "--quiet", "--detach", str(away))
    away.rename(tmp_path / "unmounted")
    hook = project.folder / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path / 'hooked'}\n")
    hook.chmod(0o755)
    with two_sides("HEAD", "HEAD", project.folder):
        pass
    assert project.worktrees() == 1 and not (tmp_path / "hooked").exists()
    project.git("worktree", "prune")


def test_remarks_on_two_commits(project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    project.commit({})
    with two_sides(first, "HEAD", project.folder) as (base, head):
        assert remarks(base, head, project.folder) == []
        assert "base has 1 commit that head lacks" in remarks(head, base, project.folder)[0]
        assert "same commit" in remarks(base, base, project.folder)[0]
    project.commit({"tests/benchmark/test_more.py": ""})
    with two_sides("HEAD~1", "HEAD", project.folder) as (base, head):
        assert remarks(base, head, project.folder) == ["The suite itself differs: tests/benchmark/test_more.py."]


def test_every_file_that_the_suite_is_made_of_is_told_if_it_changes() -> None:
    """Helpers of tests that benchmarks import are part of the suite."""
    tests = Path(__file__).parents[2]
    imported = set()
    for file in (tests / "benchmark").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported |= {name for name in names if name and (tests / f"{name.replace('.', '/')}.py").is_file()}
    assert imported
    assert {f"tests/{name.replace('.', '/')}.py" for name in imported} <= set(SUITE_FILES)
