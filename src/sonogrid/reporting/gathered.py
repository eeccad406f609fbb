"""What exhibits are made from, read from the results folder: each file once, and only if an exhibit asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from sonogrid.config.study import Study
from sonogrid.evaluation.measurements import read_measurements
from sonogrid.evaluation.metrics import pool_patients
from sonogrid.evaluation.predictions import read_predictions
from sonogrid.files import read_json
from sonogrid.grid import Cell, Grid, named
from sonogrid.images.store import open_store
from sonogrid.layout import Layout
from sonogrid.problems import InputError, Problem, Problems
from sonogrid.stored import Store, stored_texts

SCORE, READ = "Score the cells first (sonogrid evaluate)", "Read the cohort first (sonogrid cohort)"
"""Remedies for a file that is missing, by the stage that makes it."""


@dataclass
class Gathered:
    """The results of a study. An attribute is read from its files when it is first used.

    Raise InputError for a file that is missing, with the stage that makes it.
    """

    study: Study

    @cached_property
    def layout(self) -> Layout:
        """Where the results are."""
        return Layout(self.study.results)

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """metrics.csv."""
        return read_measurements(_made(self.layout.metrics, SCORE))

    @cached_property
    def effects(self) -> pd.DataFrame:
        """effects.csv."""
        return read_measurements(_made(self.layout.effects, SCORE))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """predictions.csv: one row per held-out image of every configuration and seed."""
        return read_predictions(_made(self.layout.predictions, SCORE))

    @cached_property
    def scored(self) -> pd.DataFrame:
        """The predictions pooled: one row per held-out patient of every configuration and seed."""
        return pool_patients(self.predictions, self.study.cohort.classes)

    @cached_property
    def patients(self) -> pd.DataFrame:
        """patients.csv, all of it text."""
        return stored_texts(_made(self.layout.cohort.patients, READ))

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """manifest.csv, all of it text."""
        return stored_texts(_made(self.layout.cohort.manifest, READ))

    @cached_property
    def simulated(self) -> bool:
        """Whether any patient of the cohort is simulated."""
        return bool(self.patients["simulated"].eq("True").any())

    @cached_property
    def ceiling(self) -> dict[str, dict[str, float]]:
        """ceiling.json, by modality."""
        found: dict[str, dict[str, float]] = read_json(_made(self.layout.cohort.ceiling, READ))
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The run.json of every cell, one row per cell in the order of the grid, beside its axes.

        Raises InputError naming every cell without one.
        """
        return pd.DataFrame([read_json(path) | axes for path, axes in self._of_cells(self.layout.run)])

    @cached_property
    def histories(self) -> pd.DataFrame:
        """The history.csv of every cell, one row per epoch, beside its axes.

        Raises InputError naming every cell without one.
        """
        found = self._of_cells(self.layout.history)
        return pd.concat([pd.read_csv(path).assign(**axes) for path, axes in found], ignore_index=True)

    def store(self, modality: str) -> Store:
        """Return the canvases of a modality."""
        return open_store(self.layout.cohort.store(modality), self.layout.cohort.index(modality))

    def _of_cells(self, where: Callable[[Cell], Path]) -> list[tuple[Path, dict[str, Any]]]:
        """Return a file of every cell, with the cell's axes; raise InputError naming those that are missing."""
        found = [(where(cell), dict(named(cell))) for cell in Grid.of(self.study).cells()]
        problems = Problems()
        for path, _ in found:
            if not path.is_file():
                problems.add(str(path), "is missing", "Train the cell")
        problems.raise_if_any()
        return found


def _made(path: Path, remedy: str) -> Path:
    """Return the path of a file that a stage has made."""
    if not path.is_file():
        raise InputError([Problem(str(path), "there is no such file", remedy)])
    return path
