"""Where every result of a study lies. Rules, stages, plan and report ask here; nothing else knows a path of results.

The same methods give paths and Snakemake patterns: `layout.model(ANY_CELL)` has a wildcard for every axis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sonogrid.config.study import Study
from sonogrid.grid import AXES, NUMBERED, Cell, named
from sonogrid.problems import InputError, Problem

ANY_CELL = Cell(*(f"{{{axis}}}" for axis in AXES))  # type: ignore[arg-type]
"""The cell whose value on every axis is that axis's wildcard."""
ANY_PRETRAINING = ("{init}", "{backbone}", "{seed}")
"""The pre-training whose init, backbone and seed are wildcards."""
RUN, HISTORY = "run.json", "history.csv"
"""Record and history of a fit, in the folder of its cell or pre-training."""
CELL_FILES = (RUN, "predictions.csv", HISTORY, "model.safetensors")
"""What a cell leaves; run.json is renamed last, so where it is, the others are whole."""
PRETRAINED_FILES = (RUN, HISTORY, "weights.safetensors")
"""What a pre-training leaves; run.json is renamed last."""


def axis_folder(axis: str, value: str | int) -> str:
    """Return the folder of a value of an axis: its name, or axis and number."""
    return f"{axis}{value}" if axis in NUMBERED else str(value)


def made_beside(index: Path) -> Path:
    """Return the sidecar of an index, with the recipe of each canvas: separate, as recipes include the code version."""
    return index.with_name(f"{index.stem}_made.csv")


@dataclass(frozen=True)
class AuditLayout:
    """Where the files of one audit lie."""

    folder: Path

    @property
    def findings(self) -> Path:
        """One row per finding."""
        return self.folder / "findings.csv"

    @property
    def pictures(self) -> Path:
        """Folder of side-by-side pictures."""
        return self.folder / "pictures"

    @property
    def certificate(self) -> Path:
        """What the audit allowed to be trained on."""
        return self.folder / "certificate.json"


@dataclass(frozen=True)
class CohortLayout:
    """Where the files of one cohort lie: the study's, or the corpus of an init."""

    tables: Path
    """folder of patients.csv, manifest.csv, refused.csv, seen.csv, pictures/, masks/"""
    base: Path
    """folder of images/ and audit/"""

    @property
    def patients(self) -> Path:
        """One row per patient."""
        return self.tables / "patients.csv"

    @property
    def manifest(self) -> Path:
        """One row per image."""
        return self.tables / "manifest.csv"

    @property
    def refused(self) -> Path:
        """One row per file that could not be used."""
        return self.tables / "refused.csv"

    @property
    def seen(self) -> Path:
        """What a second run need not look at again."""
        return self.tables / "seen.csv"

    @property
    def pictures(self) -> Path:
        """Folder of pictures that the cohort stage makes: simulated ones, and copies under a pseudonym."""
        return self.tables / "pictures"

    @property
    def masks(self) -> Path:
        """Folder of masks that the cohort stage makes."""
        return self.tables / "masks"

    @property
    def ceiling(self) -> Path:
        """The best ROC AUC that any reader of simulated images could reach; only of a simulated cohort."""
        return self.tables / "ceiling.json"

    def store(self, modality: str) -> Path:
        """The canvases of a modality."""
        return self.base / "images" / f"{modality}.npy"

    def index(self, modality: str) -> Path:
        """The index of a store."""
        return self.base / "images" / f"{modality}.csv"

    def made(self, modality: str) -> Path:
        """Sidecar of an index: the recipe of each canvas."""
        return made_beside(self.index(modality))

    @property
    def audit(self) -> Path:
        """Folder of findings and the certificate."""
        return self.base / "audit"

    @property
    def certificate(self) -> Path:
        """What the audit allowed to be trained on."""
        return AuditLayout(self.audit).certificate


@dataclass(frozen=True)
class Layout:
    """Where everything lies below the results folder of a study."""

    results: Path

    @property
    def cohort(self) -> CohortLayout:
        """The study's cohort."""
        return CohortLayout(self.results / "cohort", self.results)

    def corpus(self, init: str) -> CohortLayout:
        """The corpus that an init is pre-trained on."""
        folder = self.results / "pretrained" / init / "corpus"
        return CohortLayout(folder, folder)

    def cohort_of(self, init: str | None) -> CohortLayout:
        """The corpus of an init, or the study's cohort where `init` is None."""
        return self.cohort if init is None else self.corpus(init)

    @property
    def splits(self) -> Path:
        """Fold and part of every patient."""
        return self.results / "splits.csv"

    def pretrained(self, init: str, backbone: str, seed: str | int) -> Path:
        """Folder of one pre-training."""
        return self.results / "pretrained" / init / backbone / axis_folder("seed", seed)

    def pretrained_weights(self, init: str, backbone: str, seed: str | int) -> Path:
        """First weights of the cells of an init, backbone and seed."""
        return self.pretrained(init, backbone, seed) / "weights.safetensors"

    def cell(self, cell: Cell) -> Path:
        """Folder of one cell."""
        return Path(self.results, "cells", *(axis_folder(axis, value) for axis, value in named(cell)))

    def model(self, cell: Cell) -> Path:
        """Weights of a cell."""
        return self.cell(cell) / "model.safetensors"

    def history(self, cell: Cell) -> Path:
        """One row per epoch of a cell."""
        return self.cell(cell) / HISTORY

    def cell_predictions(self, cell: Cell) -> Path:
        """One row per inner and held-out image of a cell."""
        return self.cell(cell) / "predictions.csv"

    def run(self, cell: Cell) -> Path:
        """Record of a cell. It is written last, so listing it as a target detects a deleted cell."""
        return self.cell(cell) / RUN

    @property
    def checkpoints(self) -> Path:
        """Default folder of the states of unfinished fits."""
        return self.results / "checkpoints"

    @property
    def rates(self) -> Path:
        """How fast each backbone trains."""
        return self.results / "rates.csv"

    @property
    def metrics(self) -> Path:
        """One row per measurement."""
        return self.results / "metrics.csv"

    @property
    def effects(self) -> Path:
        """One row per paired difference."""
        return self.results / "effects.csv"

    @property
    def predictions(self) -> Path:
        """All held-out predictions of the grid."""
        return self.results / "predictions.csv"

    def table(self, stem: str, suffix: str) -> Path:
        """A table in one format; `suffix` without a dot."""
        return self.results / "tables" / f"{stem}.{suffix}"

    def figure(self, stem: str, suffix: str) -> Path:
        """A figure or panel in one format; `suffix` without a dot."""
        return self.results / "figures" / f"{stem}.{suffix}"

    @property
    def report(self) -> Path:
        """The report on one page."""
        return self.results / "report.html"

    def log(self, *parts: str) -> Path:
        """Log of a stage, or of one of its jobs."""
        return Path(self.results, "logs", *parts[:-1], f"{parts[-1]}.log")

    def benchmark(self, *parts: str) -> Path:
        """Time and memory of a stage, or of one of its jobs, as Snakemake measures them."""
        return Path(self.results, "benchmarks", *parts[:-1], f"{parts[-1]}.tsv")

    def checkpoint(self, folder: Path, checkpoints: Path) -> Path:
        """File for the state of an unfinished fit whose results belong into `folder`, its twin below `checkpoints`.

        A folder for checkpoints outside of the results may serve other studies and copies of this one too, so a
        study has a folder of its own there.
        """
        own = checkpoints
        if not checkpoints.absolute().is_relative_to(self.results.absolute()):
            own = checkpoints / hashlib.sha256(str(self.results.absolute()).encode()).hexdigest()[:12]
        twin = own / folder.relative_to(self.results)
        return twin.with_name(f"{twin.name}.pt")


def first_weights(study: Study, init: str, backbone: str, seed: str | int) -> Path | None:
    """Return the file that holds the first weights of cells; None where they are random or come from timm's hub."""
    source = study.inits[init]
    if source.source == "corpus":
        return Layout(study.results).pretrained_weights(init, backbone, seed)
    return source.files.get(backbone) if source.source == "timm" else None


FORMER_PATHS = (
    *("cells/*/*/*/fold*", "checkpoints/cells/*/*/*/fold*.pt"),
    *("pretrained/*/*/run.json", "pretrained/*/*/weights.safetensors", "checkpoints/pretrained/*/*.pt"),
)
"""What version 0.1 wrote and this version does not: cells and pre-trainings without a folder of their seed."""
NEW_COLUMNS = {
    "cohort/manifest.csv": "decoder",
    "pretrained/*/corpus/manifest.csv": "decoder",
    "predictions.csv": "seed",
    "metrics.csv": "seed",
}
"""Tables -> a column that they do not have if version 0.1 wrote them."""


def refuse_former_results(results: Path) -> None:
    """Raise InputError if anything in a results folder was made by version 0.1, whose cells had no seed.

    Nothing is written into such a folder: its tables would be a mixture of two versions.
    """
    found = next(_former(results), None)
    if found is not None:
        what = f"was made by version 0.1 of sonogrid, whose cells had no seed (see {found})"
        remedy = f"Nothing was changed. Name another folder there, or move {results} out of the way"
        raise InputError([Problem(f"config key results, {results}", what, remedy)])


def _former(results: Path) -> Iterator[Path]:
    for pattern in FORMER_PATHS:
        yield from results.glob(pattern)
    for pattern, column in NEW_COLUMNS.items():
        for file in results.glob(pattern):
            with file.open(encoding="utf-8", errors="replace") as lines:
                if column not in lines.readline().rstrip("\r\n").split(","):
                    yield file
