"""Fit one model. Knows nothing of grids, folds or paths; the held-out patients cannot reach it."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sonogrid.config.training import Training
from sonogrid.training.augment import Strengths, augment, strengths_of
from sonogrid.training.backbones import (
    compute_deterministically,
    first_model,
    has_bfloat16,
    logits_of,
    normalise,
    seeded,
)
from sonogrid.training.examples import Examples, FitParts, balanced_weights

FitState = dict[str, Any]
"""A fit between two epochs: tensors, numbers, texts, and lists and mappings of them; no other objects."""
Keep = Callable[[FitState], None]
"""Called with the state after every epoch, and once more, with key `done`, when the fit has ended."""


Resume = Callable[[nn.Module], FitState | None]
"""Called with the first model; gives the state to go on from, or None."""


def forget(state: FitState) -> None:
    """Keep nothing: for fits that are not resumed."""


class DivergedError(Exception):
    """No epoch of a fit had a finite inner loss."""


@dataclass
class Fit:
    """What happened in `fit`: one row per epoch, and the epoch (from 1) whose weights the model now has."""

    history: list[dict[str, float]] = field(default_factory=list)
    chosen_epoch: int = 0
    best_loss: float = math.inf

    def ended(self, training: Training) -> bool:
        """Return whether the settings ask for no further epoch."""
        epochs = len(self.history)
        return epochs >= training.epochs or epochs - self.chosen_epoch >= training.patience


def learning_rate_at(step: int, warmup_steps: int, total_steps: int, peak: float) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    passed = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))


def balanced_log_loss(logits: NDArray[np.float32], examples: Examples) -> float:
    """Mean -log p(true class) over images, every class and every patient within it counting the same."""
    losses = cross_entropy(torch.from_numpy(logits), torch.from_numpy(examples.labels), reduction="none")
    return float(np.average(losses.numpy(), weights=balanced_weights(examples.labels, examples.patients)))


class Fitting:
    """The moving parts of one fit: model, optimiser, data on the device, random numbers."""

    def __init__(
        self,
        model: nn.Module,
        train: Examples,
        training: Training,
        strengths: Strengths,
        seed: int,
        device: torch.device,
    ) -> None:
        self.training, self.device = training, device
        compute_deterministically(device)
        # Channels last: the layout in which CPUs and tensor cores convolve fastest (docs/benchmarks.md).
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.images = train.images.to(device)
        self.labels = torch.from_numpy(train.labels).to(device)
        self.weights = torch.from_numpy(balanced_weights(train.labels, train.patients)).to(device)
        self.strengths = strengths_of(strengths, train.modalities.tolist())
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW(_decay_groups(model, training.weight_decay), foreach=True)
        self.batch_size = min(training.batch_size, len(train))
        # A last, smaller batch is left out: batch normalisation is unstable on a few images.
        self.steps_per_epoch = len(train) // self.batch_size
        self.mixed = training.mixed_precision and has_bfloat16(device)
        self.step = 0

    def run_epoch(self) -> float:
        """One pass over the training images in a new order; returns the mean training loss."""
        self.model.train()
        order = torch.randperm(len(self.images), generator=self.generator)
        batches = order[: self.steps_per_epoch * self.batch_size].split(self.batch_size)
        losses = [self.run_step(rows) for rows in batches]
        return float(torch.stack(losses).mean())

    def run_step(self, rows: Tensor) -> Tensor:
        """One optimiser step on the images at `rows`; returns the loss, detached."""
        chosen = rows.to(self.device)
        self.set_learning_rate()
        strengths = {transform: values[rows] for transform, values in self.strengths.items()}
        inputs = augment(self.images[chosen], strengths, self.generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            logits = self.model(normalise(inputs, self.model).contiguous(memory_format=torch.channels_last))
        losses = cross_entropy(
            logits.float(), self.labels[chosen], reduction="none", label_smoothing=self.training.label_smoothing
        )
        loss = (losses * self.weights[chosen]).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        return loss.detach()

    def set_learning_rate(self) -> None:
        """Move every parameter group to the rate of this step."""
        training, steps = self.training, self.steps_per_epoch
        total = training.epochs * steps
        rate = learning_rate_at(self.step, training.warmup_epochs * steps, total, training.learning_rate)
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def state(self) -> FitState:
        """Everything that the next epochs depend on, random states included."""
        on_gpu = self.device.type == "cuda"
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if on_gpu else None,
        }

    def restore(self, state: FitState) -> None:
        """Go back to a state; the next epoch has the same numbers as if there had been no interruption."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["torch_rng"].cpu())
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)


@dataclass(frozen=True)
class FirstModel:
    """The model that a fit starts from; see backbones.first_model."""

    source: str
    backbone: str
    n_classes: int
    input_size: int
    """side in pixels"""
    weights: Path | None


def first_of(recipe: Mapping[str, Any], weights: Path | None) -> FirstModel:
    """Return the model that a recipe starts from; `weights` is the file that it names, if there is one."""
    n_classes = len(recipe["classes"])
    return FirstModel(recipe["init_source"], recipe["backbone"], n_classes, recipe["input_size"], weights)


def fit_recipe(
    recipe: Mapping[str, Any],
    weights: Path | None,
    parts: FitParts,
    device: torch.device,
    resume: Resume,
    keep: Keep = forget,
) -> tuple[nn.Module, Fit]:
    """Build a model and `fit` it by the values of its recipe and by nothing else.

    Every random number follows from `random_seed`. Raise WeightsError and what `fit` raises.
    """
    first, training = first_of(recipe, weights), Training.model_validate(recipe["training"])
    strengths, seed = recipe["training"]["augment"], recipe["random_seed"]
    with seeded(seed):
        model = first_model(first.source, first.backbone, first.n_classes, first.input_size, first.weights)
        start = resume(model)
        return model, fit(model, parts.train, parts.inner, training, strengths, seed, device, start, keep)


def fit(
    model: nn.Module,
    train: Examples,
    inner: Examples,
    training: Training,
    strengths: Strengths,
    seed: int,
    device: torch.device,
    start: FitState | None = None,
    keep: Keep = forget,
) -> Fit:
    """Fit `model` in place on `train`; `inner` chooses the epoch. Same seed and machine, same weights.

    AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with warm-up and cosine, class- and patient-balanced
    cross-entropy, random transforms by the `strengths` of each image's modality (`training.augment` is not read). Ends
    with the weights of the epoch of the lowest inner loss. A fit that `start`s from a state which `keep` was given ends
    bit-identical to one that was not interrupted.
    Raise DivergedError if no epoch had a finite inner loss.
    """
    fitting = Fitting(model, train, training, strengths, seed, device)
    result, best_weights = Fit(), model.state_dict()
    if start is not None:
        result, best_weights = Fit(**start["fit"]), start["best_weights"]
        if "done" not in start:
            fitting.restore(start)
    while not result.ended(training):
        started = time.perf_counter()
        train_loss = fitting.run_epoch()
        inner_loss = balanced_log_loss(logits_of(model, inner.images), inner)
        epoch = len(result.history) + 1
        if inner_loss < result.best_loss:
            result.best_loss, result.chosen_epoch = inner_loss, epoch
            best_weights = copy.deepcopy(model.state_dict())
        seconds = time.perf_counter() - started
        result.history.append({"epoch": epoch, "train_loss": train_loss, "inner_loss": inner_loss, "seconds": seconds})
        keep(fitting.state() | {"fit": asdict(result), "best_weights": best_weights})
    if result.chosen_epoch == 0:
        raise DivergedError
    model.load_state_dict(best_weights)
    keep({"fit": asdict(result), "best_weights": best_weights, "done": True})
    return result


def _decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels only: biases and norms have no scale to shrink (timm's rule too)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
