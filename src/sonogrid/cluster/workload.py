"""The work in a grid before it starts: its jobs, and the seconds of each from measured rates or finished runs.

Nothing is guessed: where a number of images or a rate is not known, the seconds are None.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import cast

import pandas as pd

from sonogrid.cluster.rates import RATES_FILE, Rate, Setting, read_rates, setting_of
from sonogrid.cluster.requests import Request, requests
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import PhantomSource
from sonogrid.config.study import Study
from sonogrid.config.training import Training
from sonogrid.files import read_json
from sonogrid.grid import Cell, Grid, derive_seed
from sonogrid.layout import Layout

# ---- images


@dataclass(frozen=True)
class Parts:
    """Images in the parts of a fold; means over folds."""

    train: float
    inner: float
    test: float


@dataclass(frozen=True)
class Images:
    """Images of a cohort: by modality the parts of a fold; and where the numbers come from."""

    parts: Mapping[str, Parts]
    patients: int
    images: int
    source: str


def images_of_study(study: Study) -> Images | None:
    """The images of the grid's cells; None where neither a manifest nor a simulation tells their number."""
    counted = _counted(
        study.cohort, study.results / "cohort" / "manifest.csv", derive_seed(study.seed, "cohort", "study")
    )
    if counted is None:
        return None
    table, source = counted
    folds, inner = study.splits.folds, study.splits.inner_fraction
    splits = study.results / "splits.csv"
    if splits.is_file():
        rows = table.merge(pd.read_csv(splits, dtype={"patient_id": str}), on="patient_id")
        counts = rows.groupby(["modality", "part"]).size() / folds
        parts: dict[str, Parts] = {
            modality: Parts(*(float(counts.get((modality, part), 0.0)) for part in ("train", "inner", "test")))
            for modality in study.grid.modalities
        }
        return Images(parts, table["patient_id"].nunique(), len(table), f"{source} and {splits}")
    totals = table["modality"].value_counts()
    parts = {
        modality: _shares(
            int(totals.get(modality, 0)) * (folds - 1) / folds, inner, int(totals.get(modality, 0)) / folds
        )
        for modality in study.grid.modalities
    }
    return Images(parts, table["patient_id"].nunique(), len(table), source)


def images_of_corpus(study: Study, init: str) -> Images | None:
    """The images of a pre-training corpus, all modalities together; None where nothing tells their number."""
    corpus = study.inits[init].corpus
    assert corpus is not None
    file = Layout(study.results).corpus(init).manifest
    counted = _counted(corpus, file, derive_seed(study.seed, "cohort", init))
    if counted is None:
        return None
    table, source = counted
    used = table[table["modality"].isin(corpus.modalities)]
    parts = {"all": _shares(len(used), study.splits.inner_fraction, 0.0)}
    return Images(parts, used["patient_id"].nunique(), len(used), source)


def _shares(fitted: float, inner: float, test: float) -> Parts:
    return Parts(fitted * (1 - inner), fitted * inner, test)


def _counted(cohort: CohortConfig, manifest: Path, seed: int) -> tuple[pd.DataFrame, str] | None:
    """Columns patient_id and modality, one row an image, and where they come from."""
    if manifest.is_file():
        columns = ["patient_id", "modality"]
        return pd.read_csv(manifest, usecols=columns, dtype=str, keep_default_na=False), str(manifest)
    if cohort.reader != "phantom":
        return None
    # Imported here: only simulated studies pay for the simulator's start-up.
    from sonogrid.cohort.phantom.simulate import draw_patients
    from sonogrid.config.modalities import MODALITIES

    wanted = tuple(modality for modality in MODALITIES if modality in cohort.modalities)
    patients = draw_patients(cast(PhantomSource, cohort.source), wanted, seed)
    rows = [
        (patient.patient_id, modality)
        for patient in patients
        for modality, count in patient.images.items()
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["patient_id", "modality"]), "the settings of the simulation"


# ---- rates


@dataclass(frozen=True)
class Speed:
    """Seconds that a fit takes, from one source."""

    train_image: float
    """an image and epoch of training"""
    predict_image: float
    """an image of prediction; 0 where training's number has it in it"""
    once: float
    """besides the epochs"""
    source: str
    device: str
    epochs: float | None = None
    """mean epochs until fits ended; None where none has ended"""

    def seconds(self, parts: Parts, batch_size: int, epochs: float) -> float:
        """Seconds of a fit and its predictions."""
        epoch = used_images(parts, batch_size) * self.train_image + parts.inner * self.predict_image
        return self.once + epochs * epoch + (parts.inner + parts.test) * self.predict_image


def used_images(parts: Parts, batch_size: int) -> float:
    """Images that an epoch trains on: whole batches only."""
    batch = min(batch_size, int(parts.train))
    return parts.train // batch * batch if batch else 0.0


def speed_of_rate(rate: Rate) -> Speed:
    """A measured rate as the speed of a fit."""
    return Speed(rate.train_seconds, rate.predict_seconds, rate.model_seconds, RATES_FILE, rate.device)


@dataclass(frozen=True)
class DoneRun:
    """A finished fit, from its run.json and history.csv."""

    backbone: str
    setting: Setting
    device: str
    epochs: int
    epoch_seconds: float
    """all epochs together"""
    seconds: float
    images: float
    """images of an epoch"""
    training: Training
    study_seed: int


def read_run(folder: Path, parts: Parts) -> DoneRun | None:
    """The finished fit in a folder; None if there is none, or it was made by a version that did not say all this."""
    try:
        run = read_json(folder / "run.json")
        # Not by pandas: there may be 12,000 of these files.
        with (folder / "history.csv").open(encoding="utf-8", newline="") as history:
            epoch_seconds = sum(float(row["seconds"]) for row in csv.DictReader(history))
        training = Training.model_validate(run["training"])
        # Cells that shared a GPU each had a part of it.
        shared = run["attempts"][-1].get("cells_at_once", 1) if "attempts" in run else 1
        setting = Setting(run["backbone"], run["input_size"], training.batch_size, training.mixed_precision)
        return DoneRun(
            backbone=run["backbone"],
            setting=setting,
            device=run["device"],
            epochs=run["epochs_run"],
            epoch_seconds=epoch_seconds / shared,
            seconds=float(run["seconds"]) / shared,
            images=used_images(parts, training.batch_size),
            training=training,
            study_seed=run["study_seed"],
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None


def speed_of_runs(runs: Sequence[DoneRun], setting: Setting, what: str) -> Speed | None:
    """The mean speed of the finished fits of a setting; None if there are none."""
    same = [run for run in runs if run.setting == setting and run.images > 0]
    if not same:
        return None
    images = sum(run.images * run.epochs for run in same)
    return Speed(
        train_image=sum(run.epoch_seconds for run in same) / images,
        predict_image=0.0,
        once=sum(max(0.0, run.seconds - run.epoch_seconds) for run in same) / len(same),
        source=f"{len(same)} {what}{'' if len(same) == 1 else 's'} done",
        device=", ".join(sorted({run.device for run in same})),
        epochs=sum(run.epochs for run in same) / len(same),
    )


# ---- the plan


@dataclass(frozen=True)
class Fit:
    """One fit of the grid, or one Grad-CAM panel.

    `most`: seconds with as many epochs as the recipe allows; `expected`: with as many as finished fits took; None where
    that is not known. `speed`: from where.
    """

    stage: str
    backbone: str
    speed: Speed | None
    most: float | None
    expected: float | None
    done: bool


@dataclass(frozen=True)
class Job:
    """A GPU job: its fits, what it makes (a name), and the names that it waits for."""

    fits: tuple[Fit, ...]
    makes: tuple[str, ...]
    needs: frozenset[tuple[str, ...]] = frozenset()

    def seconds(self, start: float, expected: bool) -> float | None:
        """Seconds with the start of the job; None where the seconds of a fit are not known."""
        found = [fit.expected if expected else fit.most for fit in self.fits]
        known = [seconds for seconds in found if seconds is not None]
        return start + sum(known) if len(known) == len(found) else None


@dataclass(frozen=True)
class Workload:
    """The work in a grid."""

    study: Study
    jobs_by_stage: dict[str, int]
    requests: dict[str, Request]
    cells_in_a_job: int
    sizes: tuple[int, ...]
    """how many cells a job can have"""
    images: dict[str, Images | None]
    """those of `cohort` and of the inits that have a corpus"""
    gpu_jobs: tuple[Job, ...]
    start: float | None
    """seconds once a job; None: not measured"""


def workload(study: Study) -> Workload:
    """The work in a study, from what lies in its results folder. Raises InputError for a damaged rates.csv."""
    grid = Grid.of(study)
    corpora = [name for name in grid.texts("init") if study.inits[name].source == "corpus"]
    cohort = images_of_study(study)
    corpus_images = {name: images_of_corpus(study, name) for name in corpora}
    rates = read_rates(study.results / RATES_FILE)
    return Workload(
        study=study,
        jobs_by_stage=_job_counts(study, corpora),
        requests=requests(study),
        cells_in_a_job=grid.cells_in_a_job(study.cells_per_job),
        sizes=possible_sizes(grid),
        images={"cohort": cohort, **corpus_images},
        gpu_jobs=(
            *(job for name in corpora for job in _pretrain_jobs(study, name, corpus_images[name], rates)),
            *_train_jobs(study, _cells(study, cohort, rates), corpora),
            *_panel_jobs(study, rates),
        ),
        start=_start(rates),
    )


def _job_counts(study: Study, corpora: Sequence[str]) -> dict[str, int]:
    grid = Grid.of(study)
    corpus_modalities = [cast(CohortConfig, study.inits[name].corpus).modalities for name in corpora]
    pairs = len(grid.texts("backbone")) * len(grid.texts("init"))
    return {
        "cohort": 1 + len(corpora),
        "images": len(study.grid.modalities) + sum(map(len, corpus_modalities)),
        "pretrain": len(grid.texts("backbone")) * len(corpora),
        "train": len(grid) // grid.cells_in_a_job(study.cells_per_job),
        "audit": 1 + len(corpora),
        "evaluate": 1,
        "explain": pairs,
        "figures": 1,
    }


def _start(rates: Sequence[Rate]) -> float | None:
    found = sorted(rate.start_seconds + (rate.job_seconds or 0.0) for rate in rates)
    return found[len(found) // 2] if found else None


def possible_sizes(grid: Grid) -> tuple[int, ...]:
    """Every number of cells that a job can have, from 1 to the whole grid."""
    sizes, limit = [], len(grid)
    while limit >= 1:
        sizes.append(grid.cells_in_a_job(limit))
        limit = sizes[-1] - 1
    return tuple(reversed(sizes))


def _rate_for(rates: Sequence[Rate], setting: Setting) -> Rate | None:
    wanted = (setting.backbone, setting.input_size, setting.batch_size, setting.mixed_precision)
    have = ((one.backbone, one.input_size, one.batch_size, one.mixed_precision) for one in rates)
    return next((rate for rate, found in zip(rates, have, strict=True) if found == wanted), None)


def _speed(rates: Sequence[Rate], runs: Sequence[DoneRun], setting: Setting, what: str) -> Speed | None:
    rate = _rate_for(rates, setting)
    return speed_of_runs(runs, setting, what) or (speed_of_rate(rate) if rate else None)


def _fit(stage: str, backbone: str, parts: Parts | None, speed: Speed | None, recipe: Training, done: bool) -> Fit:
    if parts is None or speed is None:
        return Fit(stage, backbone, speed, None, None, done)
    most = speed.seconds(parts, recipe.batch_size, recipe.epochs)
    expected = speed.seconds(parts, recipe.batch_size, min(speed.epochs, recipe.epochs)) if speed.epochs else None
    return Fit(stage, backbone, speed, most, expected, done)


def _is_current(run: DoneRun, study: Study, recipe: Training) -> bool:
    """Whether a finished fit was made with the settings that the study has now."""
    setting = setting_of(study, run.backbone, recipe)
    return run.training == recipe and run.study_seed == study.seed and run.setting == setting


def _cells(study: Study, images: Images | None, rates: Sequence[Rate]) -> dict[Cell, Fit]:
    """The fit of every cell."""
    parts: Mapping[str, Parts] = images.parts if images else {}
    cells = list(Grid.of(study).cells())
    read = {cell: read_run(Layout(study.results).cell(cell), parts[cell.modality]) for cell in cells if parts}
    # A cell of other settings says how fast cells are, but has to be trained again.
    done = {cell for cell, run in read.items() if run and _is_current(run, study, study.training)}
    runs = [run for run in read.values() if run is not None]
    speeds = {
        backbone: _speed(rates, runs, setting_of(study, backbone, study.training), "cell")
        for backbone in study.grid.backbones
    }
    return {
        cell: _fit(
            "train", cell.backbone, parts.get(cell.modality), speeds[cell.backbone], study.training, cell in done
        )
        for cell in cells
    }


def _pretrain_jobs(study: Study, init: str, images: Images | None, rates: Sequence[Rate]) -> Iterator[Job]:
    recipe = study.inits[init].training
    assert recipe is not None
    parts = images.parts["all"] if images else None
    for backbone in study.grid.backbones:
        folder = Layout(study.results).pretrained(init, backbone, 0)
        run = read_run(folder, parts) if parts else None
        speed = _speed(rates, [run] if run else [], setting_of(study, backbone, recipe), "run")
        done = run is not None and _is_current(run, study, recipe)
        fit = _fit("pretrain", backbone, parts, speed, recipe, done)
        yield Job((fit,), ("pretrain", init, backbone))


def _train_jobs(study: Study, fits: Mapping[Cell, Fit], corpora: Sequence[str]) -> Iterator[Job]:
    """The cells as jobs: those that agree on every axis that is not packed are one."""
    boxes: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    outside = _outside(study)
    for cell in fits:
        boxes[_job_name(cell, outside)].append(cell)
    for name, cells in boxes.items():
        needs = {("pretrain", cell.init, cell.backbone) for cell in cells if cell.init in corpora}
        yield Job(tuple(fits[cell] for cell in cells), name, frozenset(needs))


def _outside(study: Study) -> list[str]:
    grid = Grid.of(study)
    packed = grid.packed_axes(study.cells_per_job)
    return [axis for axis in grid.axes if axis not in packed]


def _job_name(cell: Cell, outside: Sequence[str]) -> tuple[str, ...]:
    return ("train", *(str(getattr(cell, axis)) for axis in outside))


def _panel_jobs(study: Study, rates: Sequence[Rate]) -> Iterator[Job]:
    """Grad-CAM panels of every backbone and init; each map has a model of its own."""
    outside, modalities, folds = _outside(study), study.grid.modalities, range(study.splits.folds)
    maps = len(study.cohort.classes) * len(study.explain.quantiles) * len(modalities)
    for backbone, init in product(study.grid.backbones, study.grid.inits):
        rate = _rate_for(rates, setting_of(study, backbone, study.training))
        seconds = maps * rate.panel_seconds if rate else None
        drawn = (study.results / "figures" / f"gradcam_{backbone}_{init}.csv").is_file()
        fit = Fit("explain", backbone, speed_of_rate(rate) if rate else None, seconds, seconds, drawn)
        needs = {_job_name(Cell(backbone, init, one, 0, fold), outside) for one in modalities for fold in folds}
        yield Job((fit,), ("explain", backbone, init), frozenset(needs))
