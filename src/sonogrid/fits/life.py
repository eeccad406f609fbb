"""The life of one fit: recipe, done?, checkpoint, fit, record, whole files. Cells and pre-trainings live alike."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from sonogrid.console import progress
from sonogrid.files import read_json, remove_leftovers, sha256, whole_files, write_csv, write_json
from sonogrid.fits.checkpoint import Checkpoint
from sonogrid.fits.inputs import STORE
from sonogrid.fits.recipe import Recipe, is_done
from sonogrid.fits.record import device_name, read_history, run_record, write_history
from sonogrid.fits.weights import fingerprint_of, save_weights, weights_problem
from sonogrid.layout import HISTORY, RUN
from sonogrid.problems import InputError, Problem
from sonogrid.provenance import whereabouts
from sonogrid.training.backbones import WeightsError, best_device
from sonogrid.training.examples import FitParts, OtherCanvasError
from sonogrid.training.fit import DivergedError, Fit, FitState, Keep, Resume, first_of, fit_recipe


def no_tables(model: nn.Module) -> dict[str, pd.DataFrame]:
    """Return no tables: for a fit that predicts nothing."""
    return {}


@dataclass(frozen=True)
class FitSpec:
    """One fit: what decides it, where its data are, and where it goes."""

    name: str
    """what messages call it"""
    recipe: Recipe
    training_key: str
    """where the config has the recipe's `training`"""
    first_weights: Path | None
    parts: Callable[[], FitParts]
    """reads the data"""
    certificate: Path
    folder: Path
    files: tuple[str, ...]
    """names of what it leaves, run.json first"""
    checkpoint: Path
    tables: Callable[[nn.Module], Mapping[str, pd.DataFrame]] = no_tables
    """from the fitted model, the tables that it leaves besides: name of the file -> table"""
    noted: Mapping[str, Any] = field(default_factory=dict)
    """what run.json has besides the recipe"""

    @property
    def weights(self) -> str:
        """Name of the file with the fitted weights."""
        return next(name for name in self.files if name.endswith(".safetensors"))


def run_fit(spec: FitSpec, place: str = "", together: int = 1) -> bool:
    """Fit one model, from its last epoch if it was cut short, and write its files whole.

    Return False for one that is done with the same recipe and kept. The checkpoint stays: whoever knows that the whole
    job is done removes it. `place` follows the name in messages; `together` fits run on this device at once.
    Raise InputError for inputs that cannot be used, and what torch raises.
    """
    recipe = spec.recipe
    torch.set_num_threads(recipe["threads"])
    if is_done(spec.folder, spec.files, recipe):
        print(f"{spec.name}{place}: done before with the same recipe, kept", file=sys.stderr)
        return False
    # The record first: where it is, the others are of the same fit.
    for name in spec.files:
        (spec.folder / name).unlink(missing_ok=True)
    remove_leftovers(spec.folder, spec.checkpoint.parent)
    device = best_device()
    checkpoint = Checkpoint(spec.checkpoint, recipe, whereabouts(device_name(device)) | {"cells_at_once": together})
    with _checked_canvases():
        parts = spec.parts()
    first_weights: list[str] = []
    with progress(f"{spec.name}{place}", recipe["training"]["epochs"]) as advance:

        def resume(model: nn.Module) -> FitState | None:
            first_weights.append(fingerprint_of(model))
            start = checkpoint.load()
            if start is not None:
                advance("continued", steps=len(start["fit"]["history"]))
            return start

        def keep(state: FitState) -> None:
            if "done" not in state:
                advance(f"inner log loss {state['fit']['history'][-1]['inner_loss']:.3f}")
            checkpoint.keep(state)

        model, result = _fit(spec, parts, device, resume, keep)
    with _checked_canvases():
        tables = spec.tables(model)
    attempts = checkpoint.attempts(len(result.history))
    known = {"first_weights": first_weights[0], "certificate": sha256(spec.certificate), **spec.noted}
    record = run_record(recipe, result, attempts, **known)
    with whole_files(*(spec.folder / name for name in spec.files)) as paths:
        temporary = dict(zip(spec.files, paths, strict=True))
        for name, table in tables.items():
            write_csv(table, temporary[name])
        save_weights(model, temporary[spec.weights])
        write_history(result, temporary[HISTORY])
        write_json(record, temporary[RUN])
    return True


def secure(spec: FitSpec) -> None:
    """Write the checkpoint of a finished fit: all outputs of a job are removed when one of its cells fails."""
    run = read_json(spec.folder / RUN)
    history = read_history(spec.folder / HISTORY)
    chosen = run["chosen_epoch"]
    reached = {"history": history, "chosen_epoch": chosen, "best_loss": history[chosen - 1]["inner_loss"]}
    checkpoint = Checkpoint(spec.checkpoint, spec.recipe, {})
    checkpoint.earlier, checkpoint.first_epoch = run["attempts"], len(history) + 1
    checkpoint.keep({"fit": reached, "best_weights": load_file(spec.folder / spec.weights), "done": True})


@contextmanager
def _checked_canvases() -> Iterator[None]:
    """Raise InputError where a canvas is not the one that the recipe stands for."""
    try:
        yield
    except OtherCanvasError as error:
        where = f"canvas of image {error.image_id!r} ({error.modality})"
        raise InputError([Problem(where, "is not the one of the store's index", STORE)]) from error


def _fit(spec: FitSpec, parts: FitParts, device: torch.device, resume: Resume, keep: Keep) -> tuple[nn.Module, Fit]:
    """Fit by the recipe. Raise InputError if first weights cannot be used, or if the fit diverges."""
    try:
        return fit_recipe(spec.recipe, spec.first_weights, parts, device, resume, keep)
    except WeightsError as error:
        raise InputError([weights_problem(error, first_of(spec.recipe, spec.first_weights))]) from error
    except DivergedError as error:
        what = "the inner loss was never finite"
        remedy = "Lower it, or check the first weights"
        raise InputError([Problem(f"config key {spec.training_key}.learning_rate", what, remedy)]) from error
