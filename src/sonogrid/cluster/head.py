"""The process that a user types: one a folder, and after its sudden end the next goes on without its jobs."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sonogrid.cluster.site import Site, load_site
from sonogrid.cluster.slurm import ask
from sonogrid.problems import InputError, Problem

LOCK = Path(".snakemake/sonogrid.lock")
"""File below the folder of a run that its head process locks; the kernel frees it when the process ends, however."""
LIST_JOBS = ("squeue", "--me", "--noheader", "--format=%i|%j|%Z")
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between two questions to a controller that is perhaps busy; the last one again and again."""

_held: dict[Path, int] = {}


def site_or_exit() -> Site:
    """The site file as the profile reads it; a mistake in it is told without a traceback, exit code 2."""
    try:
        return load_site()
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def claim(folder: Path) -> bool:
    """Make this process the one head of the runs in a folder, until it ends; whether it is certain that it is.

    Not certain: the file system knows no locks, or the head before did not end well on another machine, where a lock of
    this file system may not be seen. Raises InputError while another head lives.
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
    """Ids of this user's jobs, waiting or running, that a head with this prefix submitted from a folder."""
    name = re.compile(rf"{re.escape(prefix)}_[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")
    rows = (line.split("|", 2) for line in ask(LIST_JOBS).splitlines())
    here = folder.resolve()
    return [row[0] for row in rows if len(row) == 3 and name.fullmatch(row[1]) and Path(row[2]) == here]


def cancel_orphans(
    folder: Path, prefix: str, certain: bool, seconds: float = 120, sleep: Callable[[float], None] = time.sleep
) -> list[str]:
    """End the jobs that a head left which is gone, wait until they have ended, and return their ids.

    To be called after `claim`, which says whether it is `certain` that no other head lives, and when this process has
    no job yet. Raises InputError for jobs that do not end in time, and for any job where it is not certain.
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
