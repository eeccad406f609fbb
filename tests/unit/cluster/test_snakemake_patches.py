"""What is replaced in Snakemake is there, behaves as intended, and is missed where it is gone."""

from __future__ import annotations

import asyncio
import gc
import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from snakemake.jobs import Job
from snakemake.persistence import FileBackupMixin

from sonogrid.cluster import snakemake_patches as patches
from sonogrid.problems import InputError


@pytest.fixture
def unpatched(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Snakemake's own methods and the garbage collector, which come back after the test."""
    for owner, name in ((FileBackupMixin, "backup_output"), (FileBackupMixin, "restore_output"), (Job, "cleanup")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in patches.SIGNATURES_ARE_READ_IN:
        module = import_module(name)
        monkeypatch.setattr(module, "get_function_params", module.get_function_params)
    thresholds = gc.get_threshold()
    yield monkeypatch
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_installed_version_is_the_tested_one_and_has_every_name():
    assert version("snakemake") == patches.TESTED
    patches.check_names()
    assert inspect.iscoroutinefunction(Job.cleanup)


def test_declared_requirement_allows_no_version_without_the_names():
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = (one for one in map(Requirement, project["dependencies"]) if one.name == "snakemake")
    oldest = ".".join(map(str, patches.OLDEST))
    assert needed.specifier.contains(patches.TESTED)
    assert needed.specifier.contains(oldest)
    assert not needed.specifier.contains(f"{patches.OLDEST[0]}.{patches.OLDEST[1] - 1}.99")


@pytest.mark.parametrize("name", patches.REPLACED)
def test_name_that_vanished_is_told_before_anything_changes(unpatched, name):
    module, owner, method = name
    kept = FileBackupMixin.backup_output, FileBackupMixin.restore_output, Job.cleanup
    holder = {"FileBackupMixin": FileBackupMixin, "Job": Job}[owner]
    unpatched.delattr(holder, method)
    with pytest.raises(InputError) as caught:
        patches.apply_patches(is_main_process=False)
    (problem,) = caught.value.problems
    assert problem.where == f"Snakemake {version('snakemake')}"
    assert f"{module}.{owner}.{method} is missing" in problem.what
    assert problem.remedy.endswith(f"pip install snakemake=={patches.TESTED}")
    left = [
        getattr(owner, name, None)
        for owner, name in ((FileBackupMixin, "backup_output"), (FileBackupMixin, "restore_output"), (Job, "cleanup"))
    ]
    assert all(now is None or now is before for now, before in zip(left, kept, strict=True))


def test_method_with_other_arguments_is_told(unpatched):
    def backup_output(self: Any, path: Path, keep: bool) -> None: ...

    unpatched.setattr(FileBackupMixin, "backup_output", backup_output)
    with pytest.raises(InputError, match=r"FileBackupMixin\.backup_output is missing or takes other arguments"):
        patches.check_names()


def test_module_that_vanished_is_told(unpatched):
    unpatched.setitem(patches.REPLACED, ("snakemake.nosuch", "Thing", "method"), ("self",))
    with pytest.raises(InputError, match=r"snakemake\.nosuch\.Thing\.method is missing"):
        patches.check_names()


def test_former_output_is_neither_kept_nor_brought_back(unpatched, tmp_path):
    """With Snakemake's own methods the former content comes back; replaced, nothing is written at all."""

    class Persistence(FileBackupMixin):
        path = tmp_path / ".snakemake"

    file = tmp_path / "run.json"
    file.write_text("former")
    own = Persistence()
    own.backup_output(file)
    file.write_text("new")
    assert own.restore_output(file) and file.read_text() == "former"

    patches.apply_patches(is_main_process=True)
    patched = Persistence()
    patched.backup_output(file)
    file.write_text("new")
    assert patched.restore_output(file) is False
    assert file.read_text() == "new"
    patched.cleanup_backup(file)


def output_of_a_failed_job(file: Path) -> SimpleNamespace:
    """A job as far as Job.cleanup looks at it, with one output."""

    class Output(str):
        is_storage = False

        async def exists(self) -> bool:
            return Path(self).exists()

        async def remove(self, **_: Any) -> None:
            Path(self).unlink()

    return SimpleNamespace(output=[Output(file)], storage_output=[])


@pytest.mark.parametrize(("is_main_process", "left"), [(True, False), (False, True)])
def test_only_the_head_removes_outputs_of_a_failed_job(unpatched, tmp_path, is_main_process, left):
    file = tmp_path / "predictions.csv"
    file.write_text("half")
    patches.apply_patches(is_main_process)
    asyncio.run(Job.cleanup(output_of_a_failed_job(file), []))
    assert file.exists() == left


def test_applying_twice_is_as_once(unpatched):
    patches.apply_patches(is_main_process=False)
    patches.apply_patches(is_main_process=False)
    assert gc.get_threshold() == patches.GARBAGE_THRESHOLDS


def test_an_untested_version_is_told_by_the_head_only(unpatched, capsys):
    unpatched.setattr(patches, "version", lambda _: "9.99.0")
    patches.apply_patches(is_main_process=False)
    assert capsys.readouterr().err == ""
    patches.apply_patches(is_main_process=True)
    assert capsys.readouterr().err.startswith("Snakemake 9.99.0 was not tested with sonogrid, Snakemake 9.27.1 was")


def test_arguments_of_a_rules_function_are_read_once(unpatched):
    common, rules = import_module("snakemake.common"), import_module("snakemake.rules")
    read: list[Any] = []
    signature = inspect.signature
    unpatched.setattr(common.inspect, "signature", lambda func: read.append(func) or signature(func))

    def memory(wildcards: Any, attempt: int) -> int:
        return attempt

    before = list(common.get_function_params(memory))
    patches.apply_patches(is_main_process=True)
    for module in (common, rules):
        assert list(module.get_function_params(memory)) == before == ["wildcards", "attempt"]
    assert common.get_input_function_aux_params(memory, {"attempt": 2, "threads": 1}) == {"attempt": 2}
    assert read.count(memory) == 2, "once before the change, once after it"


def test_arguments_of_a_method_are_read_once_for_all_objects(unpatched):
    """Snakemake wraps each resource of each job into an object of its own, and asks for the same method of all."""
    common = import_module("snakemake.common")
    patches.apply_patches(is_main_process=True)
    read: list[Any] = []
    signature = inspect.signature
    unpatched.setattr(common.inspect, "signature", lambda func: read.append(func) or signature(func))

    class Job:
        def evaluate(self, attempt: int) -> int:
            return attempt

    assert [list(common.get_function_params(Job().evaluate)) for _ in range(3)] == [["attempt"]] * 3
    assert len(read) == 1
    assert list(common.get_function_params([].append)) == ["object"], "not written in Python"


def test_arguments_that_snakemake_gives_a_function_still_count(unpatched):
    common = import_module("snakemake.common")
    patches.apply_patches(is_main_process=True)

    def path(*arguments: Any) -> None: ...

    assert list(common.get_function_params(path)) == ["arguments"]
    common.overwrite_function_params(path, ["wildcards", "input"])
    assert common.get_function_params(path) == ["wildcards", "input"]
    assert list(common.get_function_params(patches.apply_patches.__call__)) == ["args", "kwargs"]


def test_a_version_without_that_name_is_as_good(unpatched):
    for name in patches.SIGNATURES_ARE_READ_IN:
        unpatched.delattr(import_module(name), "get_function_params")
    patches.apply_patches(is_main_process=True)
    assert not any(hasattr(import_module(name), "get_function_params") for name in patches.SIGNATURES_ARE_READ_IN)
