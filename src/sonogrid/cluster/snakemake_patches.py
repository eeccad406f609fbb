"""What sonogrid changes in Snakemake, and why: the one place that replaces private parts of it.

Tested with Snakemake 9.27.1. The names that are replaced have existed with the same arguments since 9.17; before a run
changes anything, their presence is checked, so that another version ends with a message and not with lost cells.
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from sonogrid.problems import InputError, Problem

TESTED = "9.27.1"
"""The version of Snakemake that the test suite and the lock file use."""
OLDEST = (9, 17)
"""The first version in which every replaced name exists."""
REPLACED = {
    ("snakemake.persistence", "FileBackupMixin", "backup_output"): ("self", "path"),
    ("snakemake.persistence", "FileBackupMixin", "restore_output"): ("self", "path"),
    ("snakemake.jobs", "Job", "cleanup"): ("self", "skip_outputs"),
}
"""Module, class and method of everything replaced, with the arguments that Snakemake gives it."""
SIGNATURES_ARE_READ_IN = ("snakemake.common", "snakemake.rules", "snakemake.jobs")
"""Modules in which `get_function_params` of snakemake.common is called."""
OVERWRITTEN = "_overwrite_params"
"""Attribute by which Snakemake gives a function other arguments than it has."""
GARBAGE_THRESHOLDS = (50_000, 20, 20)
"""Allocations between two searches for garbage, by generation; Python's default is 700, 10, 10."""


def apply_patches(is_main_process: bool) -> None:
    """Change this Snakemake process; call it once, from the rules, before any job exists.

    `is_main_process`: False in the process that SLURM starts on a node for one job. Raise InputError, and change
    nothing, if this version of Snakemake lacks a name that is replaced. Print a warning for an untested version.
    """
    check_names()
    if is_main_process and version("snakemake") != TESTED:
        print(untested(version("snakemake")), file=sys.stderr)
    keep_updated_outputs()
    if not is_main_process:
        leave_removal_to_the_head()
    collect_garbage_rarely()
    remember_signatures()


def check_names() -> None:
    """Raise InputError naming every replaced method that is missing, or that takes other arguments."""
    found = version("snakemake")
    missing = [".".join(name) for name, arguments in REPLACED.items() if _arguments(*name) != arguments]
    if missing:
        what = f"cannot run sonogrid: {', '.join(missing)} is missing or takes other arguments"
        remedy = f"Install the version that sonogrid was tested with: pip install snakemake=={TESTED}"
        raise InputError([Problem(f"Snakemake {found}", what, remedy)])


def untested(found: str) -> str:
    """Return the warning for a version of Snakemake that has the names but was not tested."""
    return (
        f"Snakemake {found} was not tested with sonogrid, Snakemake {TESTED} was; failed jobs may be treated otherwise."
    )


def _arguments(module: str, owner: str, method: str) -> tuple[str, ...] | None:
    """Return the names of a method's arguments; None if there is no such method."""
    try:
        function: Callable[..., Any] = getattr(getattr(import_module(module), owner), method)
    except (ImportError, AttributeError):
        return None
    return tuple(inspect.signature(function).parameters)


def keep_updated_outputs() -> None:
    """Replace the backup of `update(...)` outputs.

    The outputs of `train`, `pretrain` and `images` are `update(...)`, so that a job finds what is done already. When
    such a job fails, Snakemake brings back what was there before it: cells of another configuration, which the next
    run would take for new ones.
    """
    from snakemake.persistence import FileBackupMixin

    def backup_output(self: FileBackupMixin, path: Path) -> None:
        """Make no copy."""

    def restore_output(self: FileBackupMixin, path: Path) -> bool:
        """Bring nothing back; Snakemake then removes the outputs of the failed job."""
        return False

    FileBackupMixin.backup_output = backup_output
    FileBackupMixin.restore_output = restore_output


def leave_removal_to_the_head() -> None:
    """Replace the removal of outputs by the process on a node.

    The node may have been given up for lost while it lives; the outputs of its failed job may then be those of the
    copy that SLURM started elsewhere. The head removes them when it learns of the failure.
    """
    from snakemake.jobs import Job

    async def cleanup(self: Job, skip_outputs: Sequence[Any]) -> None:
        """Remove nothing."""

    Job.cleanup = cleanup


def collect_garbage_rarely() -> None:
    """Tell Python to search for garbage less often: the objects of a large grid live until the end.

    Searching through them took a seventh of a dry run of 12,000 cells.
    """
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def remember_signatures() -> None:
    """Let Snakemake read the arguments of each function of a rule once, and not 19 times for every job.

    That is an eighth of the CPU time of a dry run: 5.4 s instead of 6.2 s for 3,000 cells. It changes nothing else, so
    a version of Snakemake without this name is as good.
    """
    modules = [import_module(name) for name in SIGNATURES_ARE_READ_IN]
    own = getattr(modules[0], "get_function_params", None)
    if own is None or hasattr(own, "__wrapped__"):
        return
    of_function = functools.lru_cache(maxsize=1024)(own)
    # A method of any object has the same arguments; the cache keeps no object alive.
    of_method = functools.lru_cache(maxsize=1024)(lambda function: own(MethodType(function, function)))

    @functools.wraps(own)
    def get_function_params(func: Callable[..., Any]) -> Any:
        """Return the arguments of a function, remembered for functions and methods written in Python."""
        if isinstance(func, FunctionType) and not hasattr(func, OVERWRITTEN):
            return of_function(func)
        if isinstance(func, MethodType) and isinstance(func.__func__, FunctionType) and not hasattr(func, OVERWRITTEN):
            return of_method(func.__func__)
        return own(func)

    for module in modules:
        if getattr(module, "get_function_params", None) is own:
            vars(module)["get_function_params"] = get_function_params
