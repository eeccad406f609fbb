"""The state of a fit on disk, so that a job that was cut short goes on from its last epoch."""

from __future__ import annotations

import io
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import torch

from sonogrid.files import whole_file
from sonogrid.fits.recipe import Recipe, recipe_sha256
from sonogrid.training.fit import FitState

LARGEST_SHARE = 0.05
"""Share of the time that writing checkpoints may take: a large model with short epochs is not kept after every one."""


class Checkpoint:
    """One file that holds the newest state of one fit; written whole, so two copies of a job do no harm.

    A state of another recipe (fits.recipe) is not continued. `here` says where this attempt runs; it is kept
    with the epochs that it ran.
    """

    def __init__(self, file: Path, recipe: Recipe, here: dict[str, Any]) -> None:
        self.file, self.recipe, self.here = file, recipe_sha256(recipe), here
        self.earlier: list[dict[str, Any]] = []
        self.first_epoch = 1
        self.started = time.perf_counter()
        self.written, self.cost = self.started, 0.0

    def load(self) -> FitState | None:
        """The state to go on from; None if there is none, it is damaged, or it is of another recipe."""
        try:
            kept = torch.load(self.file, map_location="cpu", weights_only=True)
            if kept["recipe"] != self.recipe:
                return None
            state: FitState = kept["state"]
            self.earlier, self.first_epoch = kept["attempts"], len(state["fit"]["history"]) + 1
        except FileNotFoundError:
            return None
        except (RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
            print(f"{self.file}: is damaged and not used; the fit starts from its first epoch.", file=sys.stderr)
            return None
        return state

    def keep(self, state: FitState) -> None:
        """Write the state, unless writing would take more than LARGEST_SHARE of the time; a fit that is done always."""
        due = (time.perf_counter() - self.written) * LARGEST_SHARE >= self.cost
        if not due and "done" not in state:
            return
        began = time.perf_counter()
        attempts = self.attempts(len(state["fit"]["history"]))
        content = io.BytesIO()
        torch.save({"recipe": self.recipe, "attempts": attempts, "state": state}, content)
        try:
            with whole_file(self.file) as temporary:
                temporary.write_bytes(content.getbuffer())
        except OSError as error:
            print(f"{self.file}: {error.strerror}; the fit goes on, but could not be continued.", file=sys.stderr)
        self.written = time.perf_counter()
        self.cost = self.written - began

    def attempts(self, epochs_run: int) -> list[dict[str, Any]]:
        """Every attempt at this fit with the epochs that it gave; one that gave none is left out."""
        if epochs_run < self.first_epoch:
            return self.earlier
        seconds = round(time.perf_counter() - self.started, 3)
        this = {"first_epoch": self.first_epoch, "last_epoch": epochs_run, "seconds": seconds}
        return [*self.earlier, this | self.here]
