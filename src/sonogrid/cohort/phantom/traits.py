"""What the simulated patients look like: distributions of traits per class, their exact posterior, the ceiling.

The one place where classes differ. Given the class all traits are independent, so the posterior of a class from the
traits that a modality shows is a product of the densities below, and no classifier of the pictures can beat it.
Directions follow what neck-node and thyroid sonography textbooks report; the sizes of the differences are invented,
and chosen so that the classes overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonogrid.config.modalities import MODALITIES

Numbers = NDArray[np.float64]
Codes = NDArray[np.int64]
Drawn = Mapping[str, Numbers]
"""Trait name -> one number a patient: z of a Normal, position among the levels of a Choice."""

POPULATION = 20_000


@dataclass(frozen=True)
class Normal:
    """A graded trait: low + (high - low) / (1 + exp(-z)), with z normal around a mean of the class."""

    name: str
    low: float
    high: float
    means: tuple[float, ...]
    sd: float

    def draw(self, rng: np.random.Generator, y: Codes) -> Numbers:
        """Draw z for every class index in `y`."""
        return np.asarray(self.means)[y] + self.sd * rng.standard_normal(len(y))

    def log_density(self, z: Numbers) -> Numbers:
        """Log density of z under each class up to a constant, n x classes."""
        return np.asarray(-0.5 * ((z[:, None] - np.asarray(self.means)) / self.sd) ** 2)

    def value(self, z: float) -> float:
        """The trait in its own unit, between low and high; one-to-one, so it tells what z tells."""
        return float(self.low + (self.high - self.low) / (1.0 + np.exp(-z)))


@dataclass(frozen=True)
class Choice:
    """A trait with levels; `probabilities` has one row a class."""

    name: str
    levels: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]

    def draw(self, rng: np.random.Generator, y: Codes) -> Numbers:
        """Draw a level's position for every class index in `y`."""
        upper = np.cumsum(self.probabilities, axis=1)[y, :-1]
        return np.asarray((rng.random(len(y))[:, None] >= upper).sum(axis=1), dtype=np.float64)

    def log_density(self, position: Numbers) -> Numbers:
        """Log probability of the level under each class, n x classes."""
        drawn = np.asarray(self.probabilities).T[position.astype(np.int64)]
        return np.asarray(np.log(np.maximum(drawn, np.finfo(np.float64).tiny)))

    def value(self, position: float) -> str:
        """The level's name."""
        return self.levels[int(position)]


Trait = Normal | Choice


@dataclass(frozen=True)
class Organ:
    """A simulated disease: classes, their shares of the cohort, and the traits that each modality shows.

    Pictures of every modality contain the B-mode, so they show its traits too.
    """

    name: str
    number: int
    prefix: str
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    mean_age: tuple[float, ...]
    sites: tuple[str, ...]
    bmode: tuple[Trait, ...]
    flow: Choice
    stiffness: Normal

    def shown(self, modality: str) -> tuple[Trait, ...]:
        """The traits that pictures of a modality show."""
        extra: dict[str | None, tuple[Trait, ...]] = {"flow": (self.flow,), "stiffness": (self.stiffness,)}
        return self.bmode + extra.get(MODALITIES[modality].drawing, ())

    @property
    def traits(self) -> tuple[Trait, ...]:
        """Every trait."""
        return (*self.bmode, self.flow, self.stiffness)


SHARPNESS = ("sharp", "indistinct", "irregular")
HILA = ("wide", "narrow", "absent")
CALCIUM = ("none", "punctate", "coarse")

# ratio: depth-wise over width-wise axis along the node's own axes; echogenicity: dB against the reference tissue;
# stiffness: position on the elastogram's scale from soft (0) to hard (1).
NECK = Organ(
    name="neck",
    number=1,
    prefix="sim",
    classes=("benign", "lymphoma", "metastatic"),
    shares=(0.40, 0.25, 0.35),
    mean_age=(44.0, 51.0, 59.0),
    sites=("I", "II", "III", "IV", "V", "VI"),
    bmode=(
        Normal("ratio", 0.30, 0.97, means=(-0.45, 0.45, 0.55), sd=0.90),
        Normal("echogenicity", -24.0, -3.0, means=(0.45, -0.80, 0.15), sd=0.90),
        Choice("margin", SHARPNESS, ((0.68, 0.22, 0.10), (0.74, 0.17, 0.09), (0.40, 0.28, 0.32))),
        Choice("hilum", HILA, ((0.52, 0.26, 0.22), (0.16, 0.26, 0.58), (0.12, 0.20, 0.68))),
        Choice("necrosis", ("none", "present"), ((0.96, 0.04), (0.92, 0.08), (0.70, 0.30))),
        Choice("calcification", CALCIUM, ((0.92, 0.03, 0.05), (0.94, 0.03, 0.03), (0.76, 0.15, 0.09))),
    ),
    flow=Choice("flow", ("hilar", "mixed", "peripheral"), ((0.74, 0.17, 0.09), (0.28, 0.54, 0.18), (0.11, 0.30, 0.59))),
    stiffness=Normal("stiffness", 0.05, 0.97, means=(-1.40, 0.05, 1.50), sd=0.80),
)

THYROID = Organ(
    name="thyroid",
    number=2,
    prefix="thy",
    classes=("benign", "malignant"),
    shares=(0.55, 0.45),
    mean_age=(50.0, 46.0),
    sites=("left", "right", "isthmus"),
    bmode=(
        Normal("ratio", 0.55, 1.45, means=(-0.65, 0.00), sd=0.85),
        Normal("echogenicity", -22.0, 2.0, means=(0.45, -0.35), sd=0.90),
        Choice("margin", SHARPNESS, ((0.66, 0.24, 0.10), (0.42, 0.28, 0.30))),
        Choice("hilum", HILA, ((0.0, 0.0, 1.0), (0.0, 0.0, 1.0))),
        Choice("necrosis", ("none", "present"), ((0.64, 0.36), (0.86, 0.14))),
        Choice("calcification", CALCIUM, ((0.78, 0.09, 0.13), (0.54, 0.36, 0.10))),
    ),
    flow=Choice("flow", ("central", "mixed", "peripheral"), ((0.16, 0.28, 0.56), (0.46, 0.36, 0.18))),
    stiffness=Normal("stiffness", 0.05, 0.97, means=(-0.80, 0.80), sd=0.90),
)

ORGANS = {organ.name: organ for organ in (NECK, THYROID)}


def draw_traits(traits: Sequence[Trait], rng: np.random.Generator, y: Codes) -> dict[str, Numbers]:
    """Draw every trait for every class index in `y`, independently given the class."""
    return {trait.name: trait.draw(rng, y) for trait in traits}


def posterior(traits: Sequence[Trait], drawn: Drawn, classes: int) -> Numbers:
    """Exact probability of each class given the traits, n x classes, with equal prior probabilities.

    Equal priors make it the score with the largest macro one-vs-one AUC: Hand & Till's measure (2001,
    doi:10.1023/A:1010920819831) adds, for each class a, AUCs of one column against every other class with equal weight,
    and by Neyman and Pearson that sum is largest for f_a over the sum of the other f.
    """
    n = len(next(iter(drawn.values())))
    log = sum((trait.log_density(drawn[trait.name]) for trait in traits), start=np.zeros((n, classes)))
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def macro_auc(y: Codes, p: Numbers) -> float:
    """Macro one-vs-one AUC (Hand & Till 2001) of probabilities `p`, n x classes; nan when a class is absent."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(y)) < p.shape[1]:
        return float("nan")
    score = p[:, 1] if p.shape[1] == 2 else p
    return float(roc_auc_score(y, score, multi_class="ovo", average="macro"))


def population_auc(traits: Sequence[Trait], classes: int, n: int, rng: np.random.Generator) -> float:
    """Macro one-vs-one AUC of the exact posterior in a simulated population of about `n`, classes equally frequent."""
    y = np.arange(n, dtype=np.int64) % classes
    return macro_auc(y, posterior(traits, draw_traits(traits, rng, y), classes))
