"""Time of augmentation, training steps, inference and Grad-CAM, and of the paper's four networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture

from sonogrid.config.modalities import MODALITIES
from sonogrid.config.training import Training
from sonogrid.fits.recipe import effective_strengths
from sonogrid.perf.measuring import measure_speed
from sonogrid.reporting.gradcam import grad_cam
from sonogrid.training.augment import augment, strengths_of
from sonogrid.training.backbones import build_model, logits_of, seeded
from sonogrid.training.examples import Examples
from sonogrid.training.fit import Fitting

SMALL = ("test_resnet", "test_vit", "resnet18")
"""A small CNN, a small ViT, and the smallest network of the paper."""
PAPER = {"resnet18": 224, "efficientnet_b7": 299, "convnext_tiny": 224, "vit_small_patch16_224": 224}
"""The paper's networks, and the side in pixels at which they see a picture."""
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
SIZE, BATCH, CLASSES = 64, 16, 3
RECIPE = Training(epochs=1000, patience=1000, batch_size=BATCH, learning_rate=1e-4, warmup_epochs=0)
LARGEST = 8e9
"""Bytes that a training step of the paper's networks may take; batches of 64 are halved until they fit."""
BYTES_PER_IMAGE = {"resnet18": 4e7, "efficientnet_b7": 7e8, "convnext_tiny": 1.6e8, "vit_small_patch16_224": 9e7}
"""Memory of a training step per image, rounded up: a step on 8 images on a CPU added 0.3, 5.0, 1.0 and 0.7 GB."""


def images(count: int, size: int = SIZE) -> torch.Tensor:
    """Random pictures as the stores hold them: uint8, count x 3 x size x size."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def examples(count: int, size: int = SIZE) -> Examples:
    """As many pictures of patients of their own, the classes in turn."""
    return Examples(
        images=images(count, size),
        labels=np.arange(count) % CLASSES,
        image_ids=np.array([f"image{number}" for number in range(count)], dtype=object),
        patients=np.array([f"patient{number}" for number in range(count)], dtype=object),
        modalities=np.full(count, "bmode", dtype=object),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("modality", MODALITIES)
def test_augmentation(benchmark: BenchmarkFixture, modality: str, device: str) -> None:
    """16 pictures of 64 px through all random transforms that are legal for their modality; read back to wait."""
    pictures = images(BATCH).to(device)
    strengths = strengths_of(effective_strengths(RECIPE.augment, [modality]), [modality] * BATCH)

    def check(moved: torch.Tensor) -> None:
        assert moved.shape == pictures.shape and moved.min() >= 0 and moved.max() <= 1
        # Random pixels that are moved differ by a third on average, by less where sampling mixes them.
        assert 0.05 < (moved - pictures.cpu() / 255).abs().mean() < 0.5

    measure_speed(
        benchmark,
        lambda: augment(pictures, strengths, torch.Generator().manual_seed(2)).cpu(),
        check=check,
        unit="image",
        count=BATCH,
        inputs=[pictures, strengths, device],
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, BATCH])
@pytest.mark.parametrize("backbone", SMALL)
def test_inference(benchmark: BenchmarkFixture, backbone: str, batch: int, device: str) -> None:
    """From uint8 pictures of 64 px in memory to logits in memory; getting them back waits for the device."""
    infer(benchmark, backbone, batch, SIZE, device)


@pytest.mark.full
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", PAPER)
def test_inference_of_the_paper(benchmark: BenchmarkFixture, backbone: str, device: str) -> None:
    """Batch 16 at the side of the paper."""
    infer(benchmark, backbone, BATCH, PAPER[backbone], device)


def infer(benchmark: BenchmarkFixture, backbone: str, batch: int, size: int, device: str) -> None:
    """Measure the logits of a batch."""
    with seeded(1):
        model = build_model(backbone, CLASSES, size).to(device)
    pictures = images(batch, size)

    def check(logits: NDArray[np.float32]) -> None:
        assert logits.shape == (batch, CLASSES)
        # A picture's logits do not depend on the pictures beside it. Tolerance: another batch, another order of sums.
        np.testing.assert_allclose(logits[-1:], logits_of(model, pictures[-1:]), rtol=1e-3, atol=1e-4)

    measure_speed(
        benchmark,
        lambda: logits_of(model, pictures),
        check=check,
        unit="image",
        count=batch,
        inputs=[backbone, *model.state_dict().values(), pictures, device],
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", SMALL)
def test_train_step(benchmark: BenchmarkFixture, backbone: str, device: str) -> None:
    """Augmentation, forward, backward and optimiser on 16 pictures of 64 px; reading the loss waits for the device."""
    train(benchmark, backbone, BATCH, SIZE, device)


@pytest.mark.full
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", PAPER)
def test_train_step_of_the_paper(benchmark: BenchmarkFixture, backbone: str, device: str) -> None:
    """Batch 64 at the side of the paper, fewer where 64 need more than 8 GB."""
    batch = 64
    while batch * BYTES_PER_IMAGE[backbone] > LARGEST:
        batch //= 2
    train(benchmark, backbone, batch, PAPER[backbone], device)


def train(benchmark: BenchmarkFixture, backbone: str, batch: int, size: int, device: str) -> None:
    """Measure steps on one batch, each from where the one before ended."""
    recipe = RECIPE.model_copy(update={"batch_size": batch})
    with seeded(1):
        model = build_model(backbone, CLASSES, size)
    strengths = effective_strengths(recipe.augment, ["bmode"])
    given = examples(2 * batch, size)
    fitting = Fitting(model, given, recipe, strengths, seed=1, device=torch.device(device))
    model.train()
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def check(loss: float) -> None:
        assert 0 < loss < 10
        moved = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
        # Not all after one step: what lies before a norm that timm begins with zeros has no gradient yet.
        assert sum(moved) > len(moved) / 2

    measure_speed(
        benchmark,
        lambda: float(fitting.run_step(torch.arange(batch))),
        check=check,
        unit="image",
        count=batch,
        inputs=[backbone, *before, given.images, given.labels, recipe.model_dump(mode="json"), device],
        # After the first step: what the optimiser made of the gradients is in the parameters.
        numbers=lambda loss: [loss, *model.state_dict().values()],
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_grad_cam(benchmark: BenchmarkFixture, backbone: str, device: str) -> None:
    """The map of one picture of 64 px."""
    with seeded(1):
        model = build_model(backbone, CLASSES, SIZE).to(device)
    picture = images(1)[0]

    def check(heat: NDArray[np.float32]) -> None:
        # Scaled to its own maximum.
        assert heat.shape == (SIZE, SIZE) and heat.min() >= 0 and heat.max() == pytest.approx(1)

    measure_speed(
        benchmark,
        lambda: grad_cam(model, picture, 0),
        check=check,
        unit="image",
        inputs=[backbone, *model.state_dict().values(), picture, device],
    )
