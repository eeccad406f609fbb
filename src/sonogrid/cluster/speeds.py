"""How fast fits are: from fits of this study that are done, otherwise from rates.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonogrid.cluster.image_counts import PartCounts
from sonogrid.cluster.rates import FitSetting, Rate, setting_of
from sonogrid.config.augment_contract import strength
from sonogrid.config.study import Study
from sonogrid.config.training import Training
from sonogrid.files import read_json
from sonogrid.layout import HISTORY, RUN


@dataclass(frozen=True)
class Speed:
    """Seconds that a fit takes, from one source."""

    train_image: float
    """per image and epoch of training"""
    predict_image: float
    """per image of prediction; 0 where the number for training includes it"""
    once: float
    """per fit, besides the epochs"""
    source: str
    device: str
    epochs: float | None = None
    """mean epochs until fits ended; None where none has ended"""

    def seconds(self, parts: PartCounts, batch_size: int, epochs: float) -> float:
        """Return the seconds of a fit and its predictions."""
        epoch = used_images(parts, batch_size) * self.train_image + parts.inner * self.predict_image
        return self.once + epochs * epoch + (parts.inner + parts.test) * self.predict_image


def used_images(parts: PartCounts, batch_size: int) -> float:
    """Return how many images an epoch trains on: whole batches only."""
    batch = min(batch_size, int(parts.train))
    return parts.train // batch * batch if batch else 0.0


def speed_of_rate(rate: Rate) -> Speed:
    """Return a measured rate as the speed of a fit."""
    return Speed(rate.train_seconds, rate.predict_seconds, rate.model_seconds, "rates.csv", rate.device)


@dataclass(frozen=True)
class DoneRun:
    """A finished fit, from its run.json and history.csv."""

    backbone: str
    setting: FitSetting
    device: str
    epochs: int
    epoch_seconds: float
    """all epochs together"""
    seconds: float
    images: float
    """images of an epoch"""
    training: Training
    study_seed: int


def read_run(folder: Path, parts: PartCounts) -> DoneRun | None:
    """Return the finished fit in a folder; None if there is none, or if its record lacks what is needed."""
    try:
        run = read_json(folder / RUN)
        # Not by pandas: there may be 12,000 of these files.
        with (folder / HISTORY).open(encoding="utf-8", newline="") as history:
            epoch_seconds = sum(float(row["seconds"]) for row in csv.DictReader(history))
        training = Training.model_validate(run["training"])
        # Cells that shared a GPU each had a part of it.
        shared = run["attempts"][-1].get("cells_at_once", 1) if "attempts" in run else 1
        setting = FitSetting(run["backbone"], run["input_size"], training.batch_size, training.mixed_precision)
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


def speed_of_runs(runs: Sequence[DoneRun], setting: FitSetting, what: str) -> Speed | None:
    """Return the mean speed of the finished fits of a setting; None if there are none."""
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


def is_current(run: DoneRun, study: Study, recipe: Training, modalities: Iterable[str]) -> bool:
    """Return whether a finished fit on images of `modalities` was made with the settings that the study has now."""
    setting = setting_of(study, run.backbone, recipe)
    same = _used(run.training, modalities) == _used(recipe, modalities)
    return same and run.study_seed == study.seed and run.setting == setting


def _used(training: Training, modalities: Iterable[str]) -> dict[str, Any]:
    """Return a recipe with the strength of every transform as the modalities get it, however the config says it."""
    strengths = {
        (transform, modality): strength(transform, getattr(training.augment, transform), modality)
        for transform in type(training.augment).model_fields
        for modality in modalities
    }
    return training.model_dump(exclude={"augment"}) | {"strengths": strengths}
