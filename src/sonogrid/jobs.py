"""The cells of one job: one after the other or several at once; one that fails does not end the others."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

from sonogrid.config.study import Study
from sonogrid.fits.cells import cell_checkpoint, cell_spec
from sonogrid.fits.life import run_fit, secure
from sonogrid.grid import Cell
from sonogrid.problems import CellError, InputError, Problem

WATCH_SECONDS = 1.0
"""Pause between two looks of a worker at whether its parent is alive."""


@dataclass(frozen=True)
class _Shared:
    """What the cells of a job have in common."""

    study: Study
    checkpoints: Path
    threads: int
    together: int
    """cells that are fitted at the same time"""


_shared: _Shared | None = None
"""In a worker: inherited when it is forked, so that nothing of the study need be pickled."""


def train_cells(cells: Sequence[Cell], study: Study, checkpoints: Path, threads: int, together: int) -> None:
    """Fit every cell that is not done, with its predictions; then remove the checkpoints of all.

    Raise what a single cell raises; of several, CellError, which names each that failed, after the others are done.
    """
    shared = _Shared(study, checkpoints, threads, together)
    if len(cells) == 1:
        run_fit(cell_spec(cells[0], study, checkpoints, threads), together=together)
    else:
        failures = _one_by_one(cells, shared) if together == 1 else _side_by_side(cells, shared)
        if failures:
            raise CellError(failures, len(cells))
    for cell in cells:
        cell_checkpoint(cell, study, checkpoints).unlink(missing_ok=True)


def _one_by_one(cells: Sequence[Cell], shared: _Shared) -> dict[Cell, Problem]:
    found = {cell: _attempt(cell, shared, f" ({number}/{len(cells)})") for number, cell in enumerate(cells, start=1)}
    return {cell: problem for cell, problem in found.items() if problem is not None}


def _side_by_side(cells: Sequence[Cell], shared: _Shared) -> dict[Cell, Problem]:
    """Workers are forked, so that libraries are loaded once; nothing here may touch the GPU before."""
    sys.stderr.flush()
    workers = min(shared.together, len(cells))
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_begin, initargs=(os.getpid(), shared))
    try:
        tasks = {cell: pool.submit(_attempt_or_end, cell) for cell in cells}
        found = {cell: _outcome(cell, task) for cell, task in tasks.items()}
    except BaseException:
        for worker in active_children():
            worker.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return {cell: problem for cell, problem in found.items() if problem is not None}


def _begin(parent: int, shared: _Shared) -> None:
    """Begin a worker: it knows its job, and ends when its parent does, however that happens."""
    global _shared
    _shared = shared

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _attempt_or_end(cell: Cell) -> Problem | None:
    """Attempt a cell; a signal that ends the job ends this worker, which must not go on with the next cell."""
    assert _shared is not None
    try:
        return _attempt(cell, _shared)
    except BaseException:  # noqa: BLE001 - whatever is no Exception: Ctrl-C, SIGTERM
        os._exit(143)


def _outcome(cell: Cell, task: Future[Problem | None]) -> Problem | None:
    try:
        return task.result()
    except BrokenProcessPool:
        what = "was cut short or not begun: a process of the job was ended from outside, most often for want of memory"
        return Problem(str(cell), what, "Ask for more memory, or lower cells_per_gpu")


def _attempt(cell: Cell, shared: _Shared, place: str = "") -> Problem | None:
    """Fit a cell; what went wrong is reported at once and returned, so that the next cell can begin."""
    try:
        spec = cell_spec(cell, shared.study, shared.checkpoints, shared.threads)
        if not run_fit(spec, place, shared.together):
            secure(spec)
    except InputError as error:
        print(error, file=sys.stderr)
        return Problem(str(cell), f"failed: {error.problems[0]}", "Correct that; finished cells are kept")
    except Exception as error:  # noqa: BLE001 - one cell must not end the others; the job fails naming it
        traceback.print_exc(file=sys.stderr)
        return Problem(str(cell), f"failed ({type(error).__name__})", "The traceback is in the job's log")
    return None
