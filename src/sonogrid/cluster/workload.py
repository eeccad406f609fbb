"""The work in a grid before it starts: its jobs, and the seconds of each from measured rates or finished fits.

Nothing is guessed: where a number of images or a rate is not known, the seconds are None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonogrid.cluster.image_counts import ImageCounts, PartCounts, images_of_corpus, images_of_study
from sonogrid.cluster.rates import FitSetting, Rate, read_rates, setting_of
from sonogrid.cluster.requests import Request, requests
from sonogrid.cluster.speeds import DoneRun, Speed, is_current, read_run, speed_of_rate, speed_of_runs
from sonogrid.config.study import Study
from sonogrid.config.training import Training
from sonogrid.grid import Cell, Grid
from sonogrid.layout import Layout
from sonogrid.reporting.exhibits import at_each_point, panels_of

JobName = tuple[str, ...]
"""A rule, and the values that tell its jobs apart."""


@dataclass(frozen=True)
class PlannedFit:
    """One fit of the grid, or one Grad-CAM panel.

    `most`: seconds with as many epochs as the recipe allows; `expected`: with as many as finished fits took; None where
    that is not known. `speed`: from where.
    """

    rule: str
    backbone: str
    speed: Speed | None
    most: float | None
    expected: float | None
    done: bool


@dataclass(frozen=True)
class PlannedJob:
    """A GPU job: its fits, its name, and the names of the jobs that it waits for."""

    fits: tuple[PlannedFit, ...]
    name: JobName
    needs: frozenset[JobName] = frozenset()

    def seconds(self, start: float, expected: bool) -> float | None:
        """Return seconds with the start of the job; None where the seconds of a fit are not known."""
        found = [fit.expected if expected else fit.most for fit in self.fits]
        known = [seconds for seconds in found if seconds is not None]
        return start + sum(known) if len(known) == len(found) else None


@dataclass(frozen=True)
class Workload:
    """The work in a grid."""

    study: Study
    requests: dict[str, Request]
    """of the rules that have jobs"""
    cells_in_a_job: int
    sizes: tuple[int, ...]
    """how many cells a job can have"""
    images: dict[str, ImageCounts | None]
    """those of `cohort` and of the inits that have a corpus"""
    gpu_jobs: tuple[PlannedJob, ...]
    start: float | None
    """seconds per job before its first epoch; None: not measured"""


def workload(study: Study) -> Workload:
    """Return the work in a study, from what is in its results folder. Raise InputError for a damaged rates.csv."""
    grid = Grid.of(study)
    cohort = images_of_study(study)
    corpus_images = {init: images_of_corpus(study, init) for init in study.corpora}
    rates = read_rates(Layout(study.results).rates)
    gpu_jobs = (
        *(job for init, images in corpus_images.items() for job in _pretrain_jobs(study, init, images, rates)),
        *_train_jobs(study, _cells(study, cohort, rates)),
        *_panel_jobs(study, rates),
    )
    return Workload(
        study=study,
        requests={rule: request for rule, request in requests(study).items() if request.jobs},
        cells_in_a_job=grid.cells_in_a_job(study.cells_per_job),
        sizes=possible_sizes(grid),
        images={"cohort": cohort, **corpus_images},
        gpu_jobs=gpu_jobs,
        start=_start(rates),
    )


def _start(rates: Sequence[Rate]) -> float | None:
    found = sorted(rate.start_seconds + (rate.job_seconds or 0.0) for rate in rates)
    return found[len(found) // 2] if found else None


def possible_sizes(grid: Grid) -> tuple[int, ...]:
    """Return every number of cells that a job can have, from 1 to the whole grid."""
    sizes, limit = [], len(grid)
    while limit >= 1:
        sizes.append(grid.cells_in_a_job(limit))
        limit = sizes[-1] - 1
    return tuple(reversed(sizes))


def _rate_for(rates: Sequence[Rate], setting: FitSetting) -> Rate | None:
    wanted = (setting.backbone, setting.input_size, setting.batch_size, setting.mixed_precision)
    have = ((rate.backbone, rate.input_size, rate.batch_size, rate.mixed_precision) for rate in rates)
    return next((rate for rate, found in zip(rates, have, strict=True) if found == wanted), None)


def _speed(rates: Sequence[Rate], runs: Sequence[DoneRun], setting: FitSetting, what: str) -> Speed | None:
    rate = _rate_for(rates, setting)
    return speed_of_runs(runs, setting, what) or (speed_of_rate(rate) if rate else None)


def _fit(
    rule: str, backbone: str, parts: PartCounts | None, speed: Speed | None, recipe: Training, done: bool
) -> PlannedFit:
    if parts is None or speed is None:
        return PlannedFit(rule, backbone, speed, None, None, done)
    most = speed.seconds(parts, recipe.batch_size, recipe.epochs)
    expected = speed.seconds(parts, recipe.batch_size, min(speed.epochs, recipe.epochs)) if speed.epochs else None
    return PlannedFit(rule, backbone, speed, most, expected, done)


def _cells(study: Study, images: ImageCounts | None, rates: Sequence[Rate]) -> dict[Cell, PlannedFit]:
    """Return the fit of every cell."""
    parts: Mapping[str, PartCounts] = images.parts if images else {}
    layout, cells = Layout(study.results), list(Grid.of(study).cells())
    read = {cell: read_run(layout.cell(cell), parts[cell.modality]) for cell in cells if parts}
    # A cell of other settings says how fast cells are, but has to be trained again.
    done = {cell for cell, run in read.items() if run and is_current(run, study, study.training, [cell.modality])}
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


def _pretrain_jobs(study: Study, init: str, images: ImageCounts | None, rates: Sequence[Rate]) -> Iterator[PlannedJob]:
    """Yield one job per backbone and seed."""
    recipe, layout = study.inits[init].training, Layout(study.results)
    assert recipe is not None
    parts = images.parts["all"] if images else None
    for backbone in study.grid.backbones:
        folders = {seed: layout.pretrained(init, backbone, seed) for seed in study.grid.seeds}
        read = {seed: read_run(folder, parts) for seed, folder in folders.items() if parts}
        runs = [run for run in read.values() if run]
        speed = _speed(rates, runs, setting_of(study, backbone, recipe), "run")
        for seed in study.grid.seeds:
            run = read.get(seed)
            done = run is not None and is_current(run, study, recipe, study.corpora[init].modalities)
            yield PlannedJob(
                (_fit("pretrain", backbone, parts, speed, recipe, done),), _pretraining(init, backbone, seed)
            )


def _pretraining(init: str, backbone: str, seed: int) -> JobName:
    return ("pretrain", init, backbone, str(seed))


def _train_jobs(study: Study, fits: Mapping[Cell, PlannedFit]) -> Iterator[PlannedJob]:
    """Yield the cells as jobs: those that agree on every axis that is not packed are one."""
    boxes: dict[JobName, list[Cell]] = defaultdict(list)
    outside = _outside(study)
    for cell in fits:
        boxes[_training(cell, outside)].append(cell)
    corpora = study.corpora
    for name, cells in boxes.items():
        needs = {_pretraining(cell.init, cell.backbone, cell.seed) for cell in cells if cell.init in corpora}
        yield PlannedJob(tuple(fits[cell] for cell in cells), name, frozenset(needs))


def _outside(study: Study) -> list[str]:
    grid = Grid.of(study)
    packed = grid.packed_axes(study.cells_per_job)
    return [axis for axis in grid.axes if axis not in packed]


def _training(cell: Cell, outside: Sequence[str]) -> JobName:
    return ("train", *(str(getattr(cell, axis)) for axis in outside))


def _panel_jobs(study: Study, rates: Sequence[Rate]) -> Iterator[PlannedJob]:
    """Yield the Grad-CAM panels of every backbone and init; each map has a model of its own, of the first seed."""
    outside = _outside(study)
    needed: dict[tuple[str, str], set[JobName]] = defaultdict(set)
    for cell in Grid.of(study).cells():
        if cell.seed == study.grid.seeds[0]:
            needed[cell.backbone, cell.init].add(_training(cell, outside))
    maps = len(study.cohort.classes) * len(study.explain.quantiles) * len(study.grid.modalities)
    files: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for exhibit in panels_of(study):
        for panel, axes in at_each_point(exhibit, study):
            files[axes["backbone"], axes["init"]] += panel.files(study)
    for (backbone, init), made in files.items():
        rate = _rate_for(rates, setting_of(study, backbone, study.training))
        seconds = maps * rate.panel_seconds if rate else None
        drawn = all(file.is_file() for file in made)
        fit = PlannedFit("explain", backbone, speed_of_rate(rate) if rate else None, seconds, seconds, drawn)
        yield PlannedJob((fit,), ("explain", backbone, init), frozenset(needed[backbone, init]))
