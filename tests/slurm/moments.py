"""Stands in for `sonogrid`: the same, but `train` does something at a moment that a test chose.

The moment is the third epoch of the second cell of a job (of its first cell where MOMENT_CELL is 1). A job that goes on
from a checkpoint meets it again. Environment: MOMENT is what then happens, MOMENT_FOLDER where marks are left.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sonogrid import cli

SECONDS = 200
"""No wait here is longer: a test that died leaves no job for ever."""
EPOCHS = 4
"""Of every cell in these tests."""


def marks() -> Path:
    return Path(os.environ["MOMENT_FOLDER"])


def mark(name: str) -> None:
    (marks() / f"{name}.{os.environ['SLURM_JOB_ID']}").touch()


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(SECONDS * 10):
        if true():
            return
        time.sleep(0.1)
    raise TimeoutError(f"waited {SECONDS} s in vain")


def hold() -> None:
    """Wait as long as the file `hold` is there."""
    mark("held")
    (marks() / f"at_{os.environ.get('SLURMD_NODENAME', '')}").touch()
    wait_until(lambda: not (marks() / "hold").exists())


def meet() -> None:
    """Wait until two jobs are here."""
    mark("met")
    wait_until(lambda: len(list(marks().glob("met.*"))) >= 2)


def grow() -> None:
    """Want two more GB for long enough to be noticed."""
    content = bytearray(2_000_000_000)
    content[::4096] = b"x" * len(content[::4096])
    time.sleep(4)


ACTS = {"hold": hold, "meet": meet, "grow": grow}


def change(act: Callable[[], None], cell: int) -> None:
    from sonogrid.training.fit import Fitting

    run_epoch, epochs = Fitting.run_epoch, 0
    moment = (cell - 1) * EPOCHS + 3

    def changed(self: Fitting) -> float:
        nonlocal epochs
        goes_on = epochs == 0 and self.step > 0
        epochs += 1
        if epochs == moment or goes_on:
            act()
        return run_epoch(self)

    Fitting.run_epoch = changed  # type: ignore[method-assign]


if __name__ == "__main__":
    if "train" in sys.argv and "MOMENT" in os.environ:
        change(ACTS[os.environ["MOMENT"]], int(os.environ.get("MOMENT_CELL", "2")))
    sys.exit(cli.main())
