"""How fast each backbone trains and predicts on the device at hand: what `sonogrid plan` computes GPU-hours from."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from sonogrid.config.study import Study
from sonogrid.config.training import Training
from sonogrid.console import Advance, silent
from sonogrid.problems import InputError, Problem, Problems

if TYPE_CHECKING:
    import torch

    from sonogrid.training.examples import Examples

WARM_UP_STEPS = 3
LEAST_REPETITIONS, MOST_REPETITIONS = 3, 20
REPETITION_SECONDS = 0.25
"""Target duration of one repetition, which is several steps."""
PREDICTED = 64
"""Images predicted in one repetition: the batch of sonogrid.training.backbones.logits_of."""
START_UP = """
import sonogrid.jobs, torch
from sonogrid.training.backbones import best_device
torch.zeros(1, device=best_device())
"""


@dataclass(frozen=True)
class FitSetting:
    """Everything except the device that affects the speed of a fit."""

    backbone: str
    input_size: int
    batch_size: int
    mixed_precision: bool


@dataclass(frozen=True)
class Rate(FitSetting):
    """One row of rates.csv: seconds on one device. `low` and `high` are quartiles over the repetitions."""

    device: str
    torch: str
    threads: int
    repetitions: int
    train_seconds: float
    """per image in training: forward, backward, optimiser, augmentation; median"""
    train_low: float
    train_high: float
    predict_seconds: float
    """per image in prediction; median"""
    predict_low: float
    predict_high: float
    model_seconds: float
    """per fit: building the model and what its first step takes longer than the others"""
    panel_seconds: float
    """per Grad-CAM map, with the building of its model"""
    gpu_mb: float | None
    """largest memory of the fit on the GPU, without CUDA's own; empty on a CPU"""
    start_seconds: float
    """per job: start of Python, imports, first touch of the device"""
    job_seconds: float | None
    """per job: from SLURM's start of it to the start of sonogrid; empty outside SLURM"""


def setting_of(study: Study, backbone: str, training: Training) -> FitSetting:
    """Return the setting in which a study fits a backbone."""
    size = study.images.input_size.get(backbone, study.images.size)
    return FitSetting(backbone, size, training.batch_size, training.mixed_precision)


def fit_settings(study: Study) -> list[FitSetting]:
    """Return every setting in which the cells and the pre-training of a study fit a model, each once."""
    recipes = [study.training, *filter(None, (study.inits[init].training for init in study.corpora))]
    pairs = product(study.grid.backbones, recipes)
    return list(dict.fromkeys(setting_of(study, backbone, recipe) for backbone, recipe in pairs))


def measure_rates(
    study: Study, seconds: float, threads: int, job_seconds: float | None = None, advance: Advance = silent
) -> list[Rate]:
    """Measure every setting of a study on the best device, each for about `seconds`.

    Raise InputError with every setting that could not be measured.
    """
    problems, found = Problems(), []
    start = start_seconds()
    for setting in fit_settings(study):
        try:
            found.append(measure_setting(setting, study, seconds, threads, start, job_seconds))
        except RuntimeError as error:
            where = f"{setting.backbone} at {setting.input_size} px, batch {setting.batch_size}"
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            problems.add(where, f"cannot be trained here ({reason})", "Lower batch_size or the input size")
        advance(setting.backbone)
    problems.raise_if_any()
    return found


def start_seconds(repetitions: int = 3) -> float:
    """Return the median seconds that a new process takes until it can compute."""

    def start() -> None:
        subprocess.run([sys.executable, "-c", START_UP], check=True)

    return float(np.median([_seconds(start) for _ in range(repetitions)]))


def measure_setting(
    setting: FitSetting, study: Study, seconds: float, threads: int, start: float, job: float | None
) -> Rate:
    """Measure one setting: the fit as a cell makes it, on random pictures; most of `seconds` goes into training."""
    import torch

    from sonogrid.fits.recipe import effective_strengths
    from sonogrid.fits.record import device_name
    from sonogrid.reporting.gradcam import grad_cam
    from sonogrid.training.backbones import best_device, build_model, logits_of, seeded
    from sonogrid.training.fit import Fitting

    torch.set_num_threads(threads)
    device, classes = best_device(), len(study.cohort.classes)
    recipe = study.training.model_copy(
        update={"batch_size": setting.batch_size, "mixed_precision": setting.mixed_precision}
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    examples = random_examples(setting, study.grid.modalities[0], classes, study.seed)

    with seeded(study.seed):
        began = time.perf_counter()
        model = build_model(setting.backbone, classes, setting.input_size)
        strengths = effective_strengths(recipe.augment, study.grid.modalities)
        fitting = Fitting(model, examples, recipe, strengths, study.seed, device)
        rows = torch.arange(setting.batch_size)

        def step() -> None:
            fitting.run_step(rows)
            _wait(device)

        model.train()
        step()
        logits_of(model, examples.images[:1])
        first = time.perf_counter() - began
        for _ in range(WARM_UP_STEPS):
            step()
        training = repeated(step, seconds * 0.6)
        predicted = examples.images[:PREDICTED]
        prediction = repeated(lambda: logits_of(model, predicted), seconds * 0.3)
        gpu_mb = torch.cuda.max_memory_reserved(device) / 2**20 if device.type == "cuda" else None

        def panel() -> None:
            shown = build_model(setting.backbone, classes, setting.input_size).to(device)
            grad_cam(shown, examples.images[0], 0)

        panel()
        panels = repeated(panel, seconds * 0.1)
    train, predict = (np.quantile(training, QUARTILES), np.quantile(prediction, QUARTILES))
    train, predict = train / setting.batch_size, predict / len(predicted)
    return Rate(
        **asdict(setting),
        device=device_name(device),
        torch=torch.__version__,
        threads=threads,
        repetitions=len(training),
        train_seconds=float(train[1]),
        train_low=float(train[0]),
        train_high=float(train[2]),
        predict_seconds=float(predict[1]),
        predict_low=float(predict[0]),
        predict_high=float(predict[2]),
        model_seconds=max(0.0, first - float(train[1]) * setting.batch_size),
        panel_seconds=float(np.median(panels)),
        gpu_mb=gpu_mb,
        start_seconds=start,
        job_seconds=job,
    )


QUARTILES = (0.25, 0.5, 0.75)


def random_examples(setting: FitSetting, modality: str, classes: int, seed: int) -> Examples:
    """Return images of random pixels, as many as a batch or a prediction takes; each is a patient of its own."""
    import torch

    from sonogrid.training.examples import Examples

    count = max(setting.batch_size, PREDICTED)
    generator, size = torch.Generator().manual_seed(seed), setting.input_size
    names = np.array([f"random{number:04d}" for number in range(count)], dtype=object)
    return Examples(
        images=torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator),
        labels=np.arange(count, dtype=np.int64) % classes,
        image_ids=names,
        patients=names,
        modalities=np.full(count, modality, dtype=object),
    )


def repeated(work: Callable[[], object], budget: float) -> list[float]:
    """Return the seconds per call of `work` in several repetitions, which take about `budget` seconds together."""
    calls = max(1, ceil(REPETITION_SECONDS / max(_seconds(work), 1e-6)))
    found: list[float] = []
    ends = time.perf_counter() + budget
    while len(found) < LEAST_REPETITIONS or (len(found) < MOST_REPETITIONS and time.perf_counter() < ends):
        found.append(_seconds(lambda: [work() for _ in range(calls)]) / calls)
    return found


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    """Wait for a GPU, which computes while Python goes on."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rates_table(rates: Sequence[Rate]) -> pd.DataFrame:
    """Return one row per setting."""
    return pd.DataFrame([asdict(rate) for rate in rates], columns=[field.name for field in fields(Rate)])


def read_rates(file: Path) -> list[Rate]:
    """Return the rates in a file; none if it is missing. Raise InputError for what `sonogrid rates` did not write."""
    if not file.is_file():
        return []
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records")
        return TypeAdapter(list[Rate]).validate_python([_without_empty(row) for row in rows])
    except (ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            [Problem(str(file), f"is not a table of rates ({reason})", "Remove it, measure again")]
        ) from None


def _without_empty(row: dict[Hashable, Any]) -> dict[str, str | None]:
    return {str(key): value or None for key, value in row.items()}
