"""The grid: its axes, which are the fields of `Cell`, and its cells. Every other place takes the axes from here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import chain, combinations, product
from math import prod
from typing import get_type_hints

from sonogrid.config.inits import COHORT
from sonogrid.config.study import Study


def derive_seed(study_seed: int, *identity: str | int) -> int:
    """Return a seed in [0, 2**63) that depends on what is seeded, never on what ran before."""
    text = "/".join([str(study_seed), *map(str, identity)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def cohort_seed(study_seed: int, init: str | None = None) -> int:
    """Return the seed of the corpus of an init, or of the study's cohort where `init` is None; no two are the same."""
    return derive_seed(study_seed, "cohort", COHORT if init is None else init)


def seed_identity(seed: int) -> tuple[str, ...]:
    """Return what a value of the axis `seed` adds to the identity of what is seeded: nothing for seed 0.

    So a study without the axis and one with more seeds have the same numbers for seed 0.
    """
    return (f"seed{seed}",) if seed else ()


@dataclass(frozen=True, order=True)
class Configuration:
    """A cell without seed and fold: what a row of a result is about."""

    backbone: str
    init: str
    modality: str


@dataclass(frozen=True, order=True)
class Cell(Configuration):
    """One point of the grid: one model, trained once. Its fields are the axes, in the order of the grid."""

    seed: int
    fold: int

    @property
    def configuration(self) -> Configuration:
        """The cell without seed and fold."""
        return Configuration(self.backbone, self.init, self.modality)

    def random_seed(self, study_seed: int) -> int:
        """Return the seed of this cell's initialisation, sampling and augmentation."""
        identity = (self.backbone, self.init, self.modality, f"fold{self.fold}")
        return derive_seed(study_seed, *identity, *seed_identity(self.seed))

    def __str__(self) -> str:
        return "cell " + " ".join(f"{axis} {value}" if axis in NUMBERED else str(value) for axis, value in named(self))


CONFIGURATION = [field.name for field in fields(Configuration)]
"""Axes of a configuration; also the names of their columns (a list, as pandas takes a tuple for one name)."""
AXES = [field.name for field in fields(Cell)]
"""All axes, in the order of the grid; also the names of their columns and wildcards."""
NUMBERED = tuple(axis for axis in AXES if get_type_hints(Cell)[axis] is int)
"""Axes whose values are numbers; a folder of one is called by axis and number, as `fold0`."""
_PLURALS = {"modality": "modalities"}


def named(cell: Configuration) -> Iterator[tuple[str, str | int]]:
    """Yield axis and value of a cell, or of a configuration, in the order of the axes."""
    yield from vars(cell).items()


def plural(axis: str) -> str:
    """Return the name of an axis for several of its values: the key of its values in `grid` of config.yaml."""
    return _PLURALS.get(axis, f"{axis}s")


@dataclass(frozen=True)
class Grid:
    """backbone x init x modality x seed x fold."""

    axes: Mapping[str, tuple[str | int, ...]]
    """The values of every axis, in the order of AXES; the last varies fastest."""

    @classmethod
    def of(cls, study: Study) -> Grid:
        """Return the grid of a study: the lists of its section `grid`, and the folds of `splits`."""
        folds = {"fold": tuple(range(study.splits.folds))}
        return cls({axis: folds.get(axis) or getattr(study.grid, plural(axis)) for axis in AXES})

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.axes["fold"])

    def texts(self, axis: str) -> tuple[str, ...]:
        """Return the values of an axis that are names."""
        return tuple(map(str, self.axes[axis]))

    def configurations(self) -> Iterator[Configuration]:
        """Yield every configuration, in the order of the axes."""
        for values in product(*(self.texts(axis) for axis in CONFIGURATION)):
            yield Configuration(*values)

    def cells(self) -> Iterator[Cell]:
        """Yield every cell, in the order of the axes."""
        for values in product(*self.axes.values()):
            yield Cell(*values)  # type: ignore[arg-type]

    def packed_axes(self, cells_per_job: int) -> tuple[str, ...]:
        """Return the axes that a job takes whole, so that it has as many cells as can be up to `cells_per_job`.

        The cells of a job are a box in the grid: whole axes inside, one value of each of the others. Backbones are the
        last to go inside, so that a new backbone is a new job and changes no other. Of equal choices the one with the
        later axes wins, as its cells share first weights.
        """
        sizes = {axis: len(values) for axis, values in self.axes.items() if len(values) > 1}
        late_first = [axis for axis in reversed(sizes) if axis != "backbone"]
        choices = list(chain.from_iterable(combinations(late_first, count) for count in range(len(late_first) + 1)))
        choices.append(tuple(sizes))
        fitting = [choice for choice in choices if prod(sizes[axis] for axis in choice) <= cells_per_job]
        best = max(fitting, key=lambda choice: prod(sizes[axis] for axis in choice))
        return tuple(axis for axis in self.axes if axis in best)

    def job(self, cells_per_job: int) -> list[Cell]:
        """Return the cells of any job: a wildcard for each axis outside the box, all values of those inside."""
        inside = self.packed_axes(cells_per_job)
        values = ([*self.axes[axis]] if axis in inside else [f"{{{axis}}}"] for axis in self.axes)
        return [Cell(*point) for point in product(*values)]  # type: ignore[arg-type]

    def cells_in_a_job(self, cells_per_job: int) -> int:
        """Return how many cells a job has; a divisor of the number of cells."""
        return prod(len(self.axes[axis]) for axis in self.packed_axes(cells_per_job))

    def __len__(self) -> int:
        return prod(len(values) for values in self.axes.values())

    def describe(self) -> str:
        """Return one line for people: the axes and the number of cells."""
        sizes = ((axis, len(values)) for axis, values in self.axes.items())
        axes = (f"{n} {axis if n == 1 else plural(axis)}" for axis, n in sizes)
        return f"{' x '.join(axes)} = {len(self)} cells"
