"""Latency of a forward pass and of a training step, for each backbone. More backbones: extend BACKBONES."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from sonogrid.config.training import Training
from sonogrid.fits.recipe import effective_strengths
from sonogrid.training.backbones import build_model, logits_of, seeded
from sonogrid.training.examples import Examples
from sonogrid.training.fit import Fitting

BACKBONES = ("test_resnet", "test_vit", "resnet18", "vit_small_patch16_224")
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
SIZE = 96
CLASSES = 3
SHORT = pytest.mark.benchmark(min_rounds=3, max_time=0.5, warmup=True, warmup_iterations=1)


def images(count: int) -> torch.Tensor:
    """Random pictures as the stores hold them: uint8, count x 3 x SIZE x SIZE."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def examples(count: int) -> Examples:
    """As many pictures of patients of their own, the classes in turn."""
    return Examples(
        images=images(count),
        labels=np.arange(count) % CLASSES,
        image_ids=np.array([f"image{number}" for number in range(count)], dtype=object),
        patients=np.array([f"patient{number}" for number in range(count)], dtype=object),
        modalities=np.full(count, "bmode", dtype=object),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("backbone", BACKBONES)
@SHORT
def test_forward(benchmark: BenchmarkFixture, backbone: str, batch: int, device: str) -> None:
    """From uint8 pictures in memory to logits in memory; getting them back waits for the device."""
    with seeded(1):
        model = build_model(backbone, CLASSES, SIZE).to(device)
    pictures = images(batch)
    logits = benchmark(logits_of, model, pictures)
    assert logits.shape == (batch, CLASSES)
    # A picture's logits do not depend on the pictures beside it. Tolerance: another batch, another order of sums.
    np.testing.assert_allclose(logits[-1:], logits_of(model, pictures[-1:]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backbone", BACKBONES)
@SHORT
def test_train_step(benchmark: BenchmarkFixture, backbone: str, device: str) -> None:
    """Augmentation, forward, backward and optimiser on a batch of 16; reading the loss waits for the device."""
    recipe = Training(epochs=1000, patience=1000, batch_size=16, learning_rate=1e-4, warmup_epochs=0)
    with seeded(1):
        model = build_model(backbone, CLASSES, SIZE)
    strengths = effective_strengths(recipe.augment, ["bmode"])
    fitting = Fitting(model, examples(32), recipe, strengths, seed=1, device=torch.device(device))
    model.train()
    rows = torch.arange(16)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    loss = benchmark(lambda: float(fitting.run_step(rows)))
    assert np.isfinite(loss)
    assert fitting.step >= 3
    assert all(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
