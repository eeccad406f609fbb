"""The grid: its axes, its cells, and where each result lies. The only definition of both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product
from math import prod
from pathlib import Path

from sonogrid.config.study import Study


def derive_seed(study_seed: int, *identity: str | int) -> int:
    """A seed in [0, 2**63) that depends on what is seeded, never on what ran before."""
    text = "/".join([str(study_seed), *map(str, identity)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, order=True)
class Configuration:
    """A cell without its fold."""

    backbone: str
    init: str
    modality: str


@dataclass(frozen=True, order=True)
class Cell(Configuration):
    """One point of the grid: one model, trained once."""

    fold: int

    def seed(self, study_seed: int) -> int:
        """Seed of this cell's initialisation, sampling and augmentation."""
        return derive_seed(study_seed, self.backbone, self.init, self.modality, f"fold{self.fold}")


@dataclass(frozen=True)
class Grid:
    """backbone x init x modality x fold."""

    backbones: tuple[str, ...]
    inits: tuple[str, ...]
    modalities: tuple[str, ...]
    folds: int

    @classmethod
    def of(cls, study: Study) -> Grid:
        """The grid of a study."""
        axes = study.grid
        return cls(axes.backbones, axes.inits, axes.modalities, study.splits.folds)

    def configurations(self) -> Iterator[Configuration]:
        """Every configuration, in the order of the axes."""
        for backbone, init, modality in product(self.backbones, self.inits, self.modalities):
            yield Configuration(backbone, init, modality)

    def cells(self) -> Iterator[Cell]:
        """Every cell, in the order of the axes; folds vary fastest."""
        for one in self.configurations():
            for fold in range(self.folds):
                yield Cell(one.backbone, one.init, one.modality, fold)

    def axes(self) -> dict[str, tuple[str | int, ...]]:
        """The values of every axis; the last varies fastest."""
        return {
            "backbone": self.backbones,
            "init": self.inits,
            "modality": self.modalities,
            "fold": tuple(range(self.folds)),
        }

    def packed_axes(self, cells_per_job: int) -> tuple[str, ...]:
        """The axes that a job takes whole, so that it has as many cells as can be, but at most `cells_per_job`.

        The cells of a job are a box in the grid: whole axes inside, one value of each of the others. Backbones are the
        last to go inside, so that a new backbone is a new job and changes no other. Of equal choices the one with the
        later axes wins, as its cells share first weights.
        """
        sizes = {axis: len(values) for axis, values in self.axes().items() if len(values) > 1}
        late_first = [axis for axis in reversed(sizes) if axis != "backbone"]
        choices = list(chain.from_iterable(combinations(late_first, count) for count in range(len(late_first) + 1)))
        choices.append(tuple(sizes))
        fitting = [choice for choice in choices if prod(sizes[axis] for axis in choice) <= cells_per_job]
        best = max(fitting, key=lambda choice: prod(sizes[axis] for axis in choice))
        return tuple(axis for axis in self.axes() if axis in best)

    def cells_in_a_job(self, cells_per_job: int) -> int:
        """How many cells a job has; a divisor of the number of cells."""
        return prod(len(self.axes()[axis]) for axis in self.packed_axes(cells_per_job))

    def __len__(self) -> int:
        return prod(len(values) for values in self.axes().values())

    def describe(self) -> str:
        """One line for people: the axes and the number of cells."""
        sizes = {
            "backbone": len(self.backbones),
            "init": len(self.inits),
            "modality": len(self.modalities),
            "fold": self.folds,
        }
        plurals = {"modality": "modalities"}
        axes = (f"{n} {name if n == 1 else plurals.get(name, name + 's')}" for name, n in sizes.items())
        return f"{' x '.join(axes)} = {len(self)} cells"


CELL_FOLDER = "cells/{backbone}/{init}/{modality}/fold{fold}"
"""Folder of a cell below the results folder, as a Snakemake pattern and a str.format template."""
PRETRAINED_FOLDER = "pretrained/{init}/{backbone}"
"""Folder of pre-trained weights below the results folder."""
CORPUS_FOLDER = "pretrained/{init}/corpus"
"""Folder of a pre-training corpus below the results folder: its cohort and its store."""


def cell_folder(results: Path, cell: Cell) -> Path:
    """Folder that holds everything of one cell."""
    return results / CELL_FOLDER.format(backbone=cell.backbone, init=cell.init, modality=cell.modality, fold=cell.fold)


def checkpoints_of(results: Path, checkpoints: Path) -> Path:
    """The folder for the checkpoints of a study: one outside of its results may serve other studies and copies too."""
    if checkpoints.absolute().is_relative_to(results.absolute()):
        return checkpoints
    return checkpoints / hashlib.sha256(str(results.absolute()).encode()).hexdigest()[:12]


def checkpoint_file(folder: Path) -> Path:
    """File for the state of an unfinished run whose results belong into `folder`, its twin below the checkpoints."""
    return folder.with_name(f"{folder.name}.pt")
