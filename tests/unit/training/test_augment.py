"""Which transform touches which modality, and that geometry keeps what it must."""

import pytest
import torch

from sonogrid.config.augment_contract import MODALITIES
from sonogrid.config.training import Augment
from sonogrid.fits.recipe import effective_strengths
from sonogrid.training.augment import augment, strengths_of

STILL = Augment(horizontal_flip=0.0, shift=0.0, zoom=0.0, rotate=0.0, gain=0.0)
IMAGES = torch.randint(1, 256, (4, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def run(told, modalities=("bmode",) * 4, images=IMAGES, seed=1):
    strengths = strengths_of(effective_strengths(told, MODALITIES), modalities)
    return augment(images, strengths, torch.Generator().manual_seed(seed))


def test_no_strength_changes_nothing_at_all():
    assert torch.equal(run(STILL), IMAGES / 255)


def test_flip_with_probability_one_is_the_mirror_image():
    flipped = run(STILL.model_copy(update={"horizontal_flip": 1.0}))
    torch.testing.assert_close(flipped, IMAGES.flip(3) / 255, atol=2e-6, rtol=0)


def test_strengths_are_a_value_per_image_by_its_modality():
    strengths = {"shift": {"bmode": 0.1, "cdfi": 0.2}, "gain": {"bmode": 0.3, "cdfi": 0.0}}
    found = strengths_of(strengths, ("cdfi", "bmode", "cdfi"))
    assert {transform: values.tolist() for transform, values in found.items()} == {
        "shift": [0.2, 0.1, 0.2],
        "gain": [0.0, 0.3, 0.0],
    }
    assert all(values.dtype == torch.float64 for values in found.values())
    with pytest.raises(KeyError, match="elastography"):
        strengths_of(strengths, ("elastography",))


@pytest.mark.parametrize("transform", Augment.model_fields)
def test_every_transform_of_the_config_does_something(transform):
    """A transform that is offered and forgotten here would be silently off."""
    told = {"horizontal_flip": 1.0, "shift": 0.2, "zoom": 0.3, "rotate": 15.0, "gain": 0.5}
    strong = STILL.model_copy(update={transform: told[transform]})
    assert not torch.equal(run(strong), IMAGES / 255)


@pytest.mark.parametrize("modality", ["cdfi", "elastography"])
def test_gain_leaves_measured_colours_alone(modality):
    strong = STILL.model_copy(update={"gain": 0.5})
    assert torch.equal(run(strong, (modality,) * 4), IMAGES / 255)
    assert not torch.allclose(run(strong), IMAGES / 255, atol=1e-2)


def test_gain_keeps_the_letterbox_border_black():
    images = IMAGES.clone()
    images[:, :, :6] = 0
    assert run(STILL.model_copy(update={"gain": 0.5}), images=images)[:, :, :6].abs().max() == 0


def test_a_transform_told_for_one_modality_touches_no_other():
    told = STILL.model_copy(update={"shift": {"cdfi": 0.2}})
    found = run(told, ("bmode", "cdfi", "elastography", "cdfi"))
    same = [torch.equal(one, before / 255) for one, before in zip(found, IMAGES, strict=True)]
    assert same == [True, False, True, False]


def test_colours_stay_in_range_and_geometry_invents_no_colour():
    found = run(Augment(horizontal_flip=0.5, shift=0.2, zoom=0.3, rotate=15.0, gain=0.0), ("cdfi",) * 4)
    assert found.min() >= 0
    assert found.max() <= 1
    red = torch.zeros(4, 3, 24, 24, dtype=torch.uint8)
    red[:, 0] = 200
    moved = run(Augment(gain=0.0), ("cdfi",) * 4, images=red)
    assert moved[:, 1:].abs().max() == 0


def test_depth_is_never_reversed():
    images = torch.zeros(64, 3, 24, 24, dtype=torch.uint8)
    images[:, :, :12] = 255  # bright near the probe
    found = run(Augment(rotate=15.0, zoom=0.3, shift=0.0), ("bmode",) * 64, images=images)
    assert (found[:, :, 4:9].mean(dim=(1, 2, 3)) > found[:, :, 15:20].mean(dim=(1, 2, 3))).all()


def test_aspect_is_kept():
    images = torch.zeros(32, 3, 48, 48, dtype=torch.uint8)
    images[:, :, 14:34, 14:34] = 255
    found = run(Augment(shift=0.0, rotate=0.0, gain=0.0, zoom=0.3), ("bmode",) * 32, images=images)
    wide, high = found[:, 0].amax(dim=1).sum(dim=1), found[:, 0].amax(dim=2).sum(dim=1)
    torch.testing.assert_close(wide, high, atol=0.02, rtol=0)
    assert wide.max() > 1.2 * wide.min()


def test_same_seed_same_numbers_other_seed_others():
    assert torch.equal(run(Augment(), seed=4), run(Augment(), seed=4))
    assert not torch.equal(run(Augment(), seed=4), run(Augment(), seed=5))
