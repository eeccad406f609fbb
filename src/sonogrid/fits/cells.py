"""The cells of one job: each is trained, predicted and written whole; one that fails does not end the others."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file

from sonogrid.cohort.manifest import labels_of
from sonogrid.config.training import Training
from sonogrid.console import progress
from sonogrid.files import read_json, read_once, remove_leftovers, sha256, whole_files, write_csv
from sonogrid.fits.checkpoint import Checkpoint
from sonogrid.fits.record import (
    accepted_findings,
    is_done,
    read_history,
    recipe_of,
    run_record,
    write_history,
    write_record,
)
from sonogrid.grid import Cell
from sonogrid.images.store import open_store
from sonogrid.layout import Layout
from sonogrid.problems import CellError, InputError, Problem
from sonogrid.provenance import whereabouts
from sonogrid.splits import load_splits
from sonogrid.training.backbones import best_device, device_name, fingerprint, first_model, save_weights, seeded
from sonogrid.training.examples import Examples, examples_of
from sonogrid.training.fit import fit
from sonogrid.training.predict import predictions_of

FILES = ("run.json", "predictions.csv", "history.csv", "model.safetensors")
"""What a cell leaves; run.json comes last, so where it is, the rest is whole."""


_labels, _splits, _store = read_once(labels_of), read_once(load_splits), read_once(open_store)


@dataclass(frozen=True)
class Job:
    """What the cells of a job have in common, and where each finds what it needs."""

    classes: tuple[str, ...]
    training: Training
    study_seed: int
    threads: int
    patients: Path
    splits: Path
    certificate: Path
    """what the audit allowed; run.json names its hash, and a recipe the findings that were accepted"""
    stores: dict[str, tuple[Path, Path]]
    """modality -> array and index"""
    init_sources: dict[str, str]
    weights: dict[tuple[str, str], Path]
    """(init, backbone) -> file with first weights, where there is one"""
    input_sizes: dict[str, int]
    results: Path
    checkpoints: Path
    together: int = 1
    """cells that are trained at the same time"""

    def recipe(self, cell: Cell) -> dict[str, Any]:
        """All that decides a cell."""
        weights = self.weights.get((cell.init, cell.backbone))
        inputs = [self.patients, self.splits, self.stores[cell.modality][1], *([weights] if weights else [])]
        identity = asdict(cell) | {"init_source": self.init_sources[cell.init]}
        identity["accepted_findings"] = accepted_findings(self.certificate)
        size, seed = self.input_sizes[cell.backbone], cell.random_seed(self.study_seed)
        return recipe_of(identity, self.classes, size, self.training, self.study_seed, seed, self.threads, inputs)

    def part(self, cell: Cell, name: str) -> Examples:
        """The images of one part of a cell's fold."""
        split, labels = _splits(self.splits), _labels(self.patients)
        members = split.loc[(split["fold"] == cell.fold) & (split["part"] == name), "patient_id"]
        size = self.input_sizes[cell.backbone]
        return examples_of(_store(*self.stores[cell.modality]), cell.modality, labels[members], self.classes, size)


def train_cells(cells: Sequence[Cell], job: Job) -> None:
    """Train every cell that is not done; then remove their checkpoints.

    Raises what a single cell raises; of several, CellError, which names each that failed, after the others are done.
    """
    if len(cells) == 1:
        train_cell(cells[0], job)
    else:
        failures = _one_by_one(cells, job) if job.together == 1 else _side_by_side(cells, job)
        if failures:
            raise CellError(failures, len(cells))
    for cell in cells:
        Layout(job.results).checkpoint(Layout(job.results).cell(cell), job.checkpoints).unlink(missing_ok=True)


def _one_by_one(cells: Sequence[Cell], job: Job) -> dict[Cell, Problem]:
    told = {cell: _attempt(cell, job, f" ({number}/{len(cells)})") for number, cell in enumerate(cells, start=1)}
    return {cell: problem for cell, problem in told.items() if problem is not None}


def _side_by_side(cells: Sequence[Cell], job: Job) -> dict[Cell, Problem]:
    """Workers are forked, so that libraries are loaded once; nothing here may touch the GPU before."""
    sys.stderr.flush()
    workers = min(job.together, len(cells))
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_end_with, initargs=(os.getpid(),))
    try:
        tasks = {cell: pool.submit(_attempt_or_end, cell, job) for cell in cells}
        found = {cell: _outcome(cell, task) for cell, task in tasks.items()}
    except BaseException:
        for worker in active_children():
            worker.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return {cell: problem for cell, problem in found.items() if problem is not None}


def _end_with(parent: int) -> None:
    """Have this worker end when its parent does, however that happens."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _attempt_or_end(cell: Cell, job: Job) -> Problem | None:
    """As `_attempt`; a signal that ends the job ends this worker, which must not go on with the next cell."""
    try:
        return _attempt(cell, job)
    except BaseException:  # noqa: BLE001 - whatever is no Exception: Ctrl-C, SIGTERM
        os._exit(143)


def _outcome(cell: Cell, task: Future[Problem | None]) -> Problem | None:
    try:
        return task.result()
    except BrokenProcessPool:
        what = "was cut short or not begun: a process of the job was ended from outside, most often for want of memory"
        return Problem(_name(cell), what, "Ask for more memory, or lower cells_per_gpu")


def _secure(cell: Cell, job: Job) -> None:
    """Make a checkpoint of a cell that was done before: Snakemake removes it with the others if one of them fails."""
    folder = Layout(job.results).cell(cell)
    run = read_json(folder / "run.json")
    history = read_history(folder / "history.csv")
    chosen = run["chosen_epoch"]
    reached = {"history": history, "chosen_epoch": chosen, "best_loss": history[chosen - 1]["inner_loss"]}
    checkpoint = Checkpoint(
        Layout(job.results).checkpoint(Layout(job.results).cell(cell), job.checkpoints), job.recipe(cell), {}
    )
    checkpoint.earlier, checkpoint.first_epoch = run["attempts"], len(history) + 1
    checkpoint.keep({"fit": reached, "best_weights": load_file(folder / "model.safetensors"), "done": True})


def _attempt(cell: Cell, job: Job, place: str = "") -> Problem | None:
    """Train a cell; what went wrong is told at once and returned, so that the next cell can begin."""
    try:
        if not train_cell(cell, job, place):
            _secure(cell, job)
    except InputError as error:
        print(error, file=sys.stderr)
        return Problem(_name(cell), f"failed: {error.problems[0]}", "Correct that; finished cells are kept")
    except Exception as error:  # noqa: BLE001 - one cell must not end the others; the job fails naming it
        traceback.print_exc(file=sys.stderr)
        return Problem(_name(cell), f"failed ({type(error).__name__})", "The traceback stands in the job's log")
    return None


def _name(cell: Cell) -> str:
    return str(cell)


def train_cell(cell: Cell, job: Job, place: str = "") -> bool:
    """Train one cell and predict its inner and held-out patients, from its last epoch if it was cut short.

    Returns False for a cell that is done with the same recipe and kept. Raises InputError and what torch raises.
    """
    torch.set_num_threads(job.threads)
    folder, recipe = Layout(job.results).cell(cell), job.recipe(cell)
    file = Layout(job.results).checkpoint(Layout(job.results).cell(cell), job.checkpoints)
    if is_done(folder, FILES, recipe):
        print(f"{_name(cell)}{place}: done before with the same recipe, kept", file=sys.stderr)
        return False
    (folder / "run.json").unlink(missing_ok=True)
    remove_leftovers(folder, file.parent)
    device = best_device()
    here = whereabouts(device_name(device)) | {"cells_at_once": job.together}
    checkpoint = Checkpoint(file, recipe, here)
    with seeded(recipe["seed"]), progress(f"{_name(cell)}{place}", job.training.epochs) as advance:
        source, weights = job.init_sources[cell.init], job.weights.get((cell.init, cell.backbone))
        model = first_model(source, cell.backbone, len(job.classes), recipe["input_size"], weights)
        first, inner = fingerprint(model), job.part(cell, "inner")
        train, start = job.part(cell, "train"), checkpoint.load()
        result = fit(model, train, inner, job.training, recipe["seed"], device, advance, start, checkpoint.keep)
    predictions = pd.concat(
        [
            predictions_of(model, examples, cell, name, job.classes)
            for name, examples in (("inner", inner), ("test", job.part(cell, "test")))
        ]
    )
    known = {"first_weights": first, "certificate": sha256(job.certificate)}
    record = run_record(recipe, result, checkpoint.attempts(len(result.history)), **known)
    with whole_files(*(folder / name for name in FILES)) as (run, predicted, history, saved):
        write_csv(predictions, predicted)
        save_weights(model, saved)
        write_history(result, history)
        write_record(record, run)
    return True
