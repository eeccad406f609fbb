"""The head: the process that the user starts. There is one per folder; the next one ends the jobs of a killed one."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import load_site
from sonogrid.cluster.slurm import ask
from sonogrid.problems import InputError, Problem

LOCK = Path(".snakemake/sonogrid.lock")
"""File below the folder of a run that its head process locks; the kernel frees it when the process ends, however."""
LIST_JOBS = ("squeue", "--me", "--noheader", "--format=%i|%j|%Z")
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between two questions to a controller that may be busy; the last one repeats."""

JOB_PREFIX = "sonogrid"
"""Beginning of the names of a head's jobs: `slurm-jobname-prefix` in slurm/profile.yaml."""

_held: dict[Path, int] = {}


def start_head(folder: Path, workflow: Any, requests: Mapping[str, Request]) -> None:
    """Begin a run in a folder: claim it, end what a killed head left, and ask SLURM whether it would take the jobs.

    `workflow` is Snakemake's; on any executor but `slurm` the folder is claimed and nothing is asked. Raise Snakemake's
    WorkflowError, which is shown without a traceback, where the run must not begin. To be called from `onstart`.
    """
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        certain = claim(folder)
        if workflow.executor_plugin.name == "slurm":
            _prepare_cluster(folder, workflow, requests, certain)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def _prepare_cluster(folder: Path, workflow: Any, requests: Mapping[str, Request], certain: bool) -> None:
    from sonogrid.cluster.profile import profile_of_run
    from sonogrid.cluster.quick_check import quick_check

    ended = cancel_orphans(folder, JOB_PREFIX, certain)
    if ended:
        print(f"Ended {len(ended)} job(s) that an earlier run left: {', '.join(ended)}", file=sys.stderr)
    profile = profile_of_run(workflow.resource_settings)
    quick_check(load_site(), profile.submissions(requests))


def claim(folder: Path) -> bool:
    """Claim the folder for this process until it exits. Return True if no other head can be alive.

    That is not certain if the file system has no locks, or if the last head did not end well and ran on another
    machine, where locks of this file system may not be seen. Raise InputError while another head lives.
    """
    path = (folder / LOCK).resolve()
    if path in _held:
        return True
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(handle, 200).decode("utf-8", "replace").strip() or "a process that did not write its name"
        os.close(handle)
        remedy = "Wait for its end, or stop it with Ctrl-C"
        raise InputError([Problem(str(folder), f"another snakemake is at work here: {other}", remedy)]) from None
    except OSError:
        os.close(handle)
        return False
    before = os.read(handle, 200).decode("utf-8", "replace").strip()
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    _held[path] = handle
    atexit.register(os.ftruncate, handle, 0)
    return not before or before.endswith(f" on {socket.gethostname()}")


def orphans(folder: Path, prefix: str) -> list[str]:
    """Return ids of this user's jobs, waiting or running, that a head with this prefix submitted from a folder."""
    name = re.compile(rf"{re.escape(prefix)}_[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")
    rows = (line.split("|", 2) for line in ask(LIST_JOBS).splitlines())
    here = folder.resolve()
    return [row[0] for row in rows if len(row) == 3 and name.fullmatch(row[1]) and Path(row[2]) == here]


def cancel_orphans(
    folder: Path, prefix: str, certain: bool, seconds: float = 120, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """End the jobs that a head left which is gone, wait until they have ended, and return their ids.

    Call it after `claim`, which returns whether it is `certain` that no other head is alive, and before this process
    has a job. Raise InputError for jobs that do not end in time, and for any job where it is not certain.
    """
    found = left = orphans(folder, prefix)
    if not found:
        return []
    if not certain:
        what = "jobs of an earlier run in this folder, which may still be alive on another machine"
        remedy = f"If it is, wait for its end; if not, type `scancel {' '.join(found)}` and the command again"
        raise InputError([Problem(", ".join(found), what, remedy)])
    ask(["scancel", *found])
    waited = 0.0
    for pause in (*PAUSES, *[PAUSES[-1]] * int(seconds / PAUSES[-1])):
        sleep(pause)
        waited += pause
        left = orphans(folder, prefix)
        if not left:
            return found
    what = f"jobs of an earlier run do not end, {waited:.0f} s after scancel"
    raise InputError([Problem(", ".join(left), what, "Wait until squeue no longer shows them, then try again")])
