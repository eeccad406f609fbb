"""The laws of fitting: what may and what may not change a trained model."""

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sonogrid.config.training import Augment, Training
from sonogrid.fits.recipe import effective_strengths
from sonogrid.training.backbones import build_model, logits_of, seeded
from sonogrid.training.examples import Examples, balanced_weights
from sonogrid.training.fit import DivergedError, Fitting, balanced_log_loss, fit, learning_rate_at

CPU = torch.device("cpu")
RECIPE = Training(epochs=4, patience=4, batch_size=8, learning_rate=2e-3, warmup_epochs=1, augment=Augment(gain=0.0))
STRENGTHS = effective_strengths(RECIPE.augment, ["bmode"])


def bright_or_dark(n=24, seed=0, size=32):
    """Two classes that differ in brightness; two images a patient."""
    generator = torch.Generator().manual_seed(seed)
    labels = np.arange(n) // 2 % 2
    noise = torch.randint(0, 100, (n, 3, size, size), generator=generator)
    images = (noise + 120 * torch.from_numpy(labels)[:, None, None, None]).to(torch.uint8)
    return Examples(
        images=images,
        labels=labels.astype(np.int64),
        image_ids=np.array([f"i{k}" for k in range(n)], dtype=object),
        patients=np.array([f"p{k // 2}" for k in range(n)], dtype=object),
        modalities=np.full(n, "bmode", dtype=object),
    )


def trained(seed=1, recipe=RECIPE, train=None, inner=None):
    with seeded(seed):
        model = build_model("test_resnet", 2, 32)
        result = fit(model, train or bright_or_dark(), inner or bright_or_dark(8, 1), recipe, STRENGTHS, seed, CPU)
    return model, result


def test_same_seed_gives_bit_identical_weights_whatever_ran_before():
    one, _ = trained()
    trained(seed=9)
    torch.rand(5)
    other, _ = trained()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_another_seed_gives_other_weights():
    one, other = trained(1)[0], trained(2)[0]
    assert not torch.equal(one.state_dict()["fc.weight"], other.state_dict()["fc.weight"])


def test_it_learns_what_can_be_learned():
    recipe = RECIPE.model_copy(update={"epochs": 12, "patience": 12})
    model, _ = trained(recipe=recipe)
    held_out = bright_or_dark(20, 5)
    assert (logits_of(model, held_out.images).argmax(axis=1) == held_out.labels).mean() == 1.0


def test_the_model_ends_with_the_weights_of_the_lowest_inner_loss():
    inner = bright_or_dark(8, 1)
    model, result = trained(inner=inner)
    losses = [row["inner_loss"] for row in result.history]
    assert result.chosen_epoch == 1 + int(np.argmin(losses))
    assert balanced_log_loss(logits_of(model, inner.images), inner) == pytest.approx(min(losses), rel=1e-5)


def test_patience_ends_a_fit_that_gets_no_better():
    # Inner labels are the opposite of what is learned, so the loss on them rises once learning begins.
    inner = bright_or_dark(8, 1)
    opposite = Examples(inner.images, 1 - inner.labels, inner.image_ids, inner.patients, inner.modalities)
    recipe = RECIPE.model_copy(update={"epochs": 40, "patience": 3})
    _, result = trained(recipe=recipe, inner=opposite)
    assert len(result.history) == result.chosen_epoch + 3 < 40


def test_a_loss_that_is_never_finite_is_an_error():
    recipe = RECIPE.model_copy(update={"learning_rate": 1e30, "warmup_epochs": 0, "epochs": 2})
    with pytest.raises(DivergedError):
        trained(recipe=recipe)


def test_held_out_patients_are_not_among_the_arguments_of_fit():
    assert list(inspect.signature(fit).parameters) == [
        *("model", "train", "inner", "training", "strengths", "seed", "device", "start", "keep")
    ]


def test_balanced_weights_by_hand():
    # Class 0: patient a with two images, patient b with one. Class 1: patient c with one. Classes share 4 equally,
    # so each class sums to 2; in class 0 each patient sums to 1.
    weights = balanced_weights(np.array([0, 0, 0, 1]), np.array(["a", "a", "b", "c"], dtype=object))
    np.testing.assert_allclose(weights, [0.5, 0.5, 1.0, 2.0])


def test_balanced_log_loss_by_hand():
    examples = bright_or_dark(8)
    uniform = np.zeros((8, 2), dtype=np.float32)
    assert balanced_log_loss(uniform, examples) == pytest.approx(math.log(2))


def test_learning_rate_warms_up_and_falls_along_a_cosine():
    rates = [learning_rate_at(step, 2, 10, 1.0) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(0.0)
    assert all(later <= earlier for earlier, later in pairwise(rates[1:]))


def test_without_warm_up_the_peak_comes_first():
    assert learning_rate_at(0, 0, 10, 0.3) == pytest.approx(0.3)


def test_weight_decay_is_on_kernels_and_matrices_alone():
    model = build_model("test_resnet", 2, 32)
    fitting = Fitting(model, bright_or_dark(), RECIPE, STRENGTHS, 1, CPU)
    decay = {id(p): group["weight_decay"] for group in fitting.optimiser.param_groups for p in group["params"]}
    assert {name: decay[id(p)] for name, p in model.named_parameters()} == {
        name: RECIPE.weight_decay if p.ndim > 1 else 0.0 for name, p in model.named_parameters()
    }


def test_strengths_and_not_the_section_of_the_config_decide_the_transforms():
    told = RECIPE.model_copy(update={"augment": Augment(shift=0.2, rotate=15.0)})
    one, other = trained()[0], trained(recipe=told)[0]
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
