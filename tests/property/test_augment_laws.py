"""Laws of augmentation, for any images, modalities and strengths that the config allows."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sonogrid.config.augment_contract import MODALITIES, ruling
from sonogrid.config.training import Augment
from sonogrid.fits.recipe import effective_strengths
from sonogrid.training.augment import augment, strengths_of

LIMITS = {"horizontal_flip": 1.0, "shift": 0.2, "zoom": 0.3, "rotate": 15.0, "gain": 0.5}


def told(transform: str) -> st.SearchStrategy[float | dict[str, float]]:
    """A number, or numbers by modality, as far as they are legal."""
    numbers = st.floats(0, LIMITS[transform])
    legal = [modality for modality in MODALITIES if ruling(transform, modality).legal]
    return st.one_of(numbers, st.dictionaries(st.sampled_from(legal), numbers))


STRENGTHS = st.builds(Augment, **{transform: told(transform) for transform in LIMITS})
SHOWN = st.lists(st.sampled_from(tuple(MODALITIES)), min_size=1, max_size=6)
SIDES = st.integers(1, 33)
SEEDS = st.integers(0, 2**31)


def pictures(n: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=generator)


def run(images: torch.Tensor, strengths: Augment, shown: list[str], seed: int) -> torch.Tensor:
    by_image = strengths_of(effective_strengths(strengths, MODALITIES), shown)
    return augment(images, by_image, torch.Generator().manual_seed(seed))


@given(STRENGTHS, SHOWN, SIDES, SIDES, SEEDS)
def test_shape_type_and_range(strengths: Augment, shown: list[str], height: int, width: int, seed: int) -> None:
    images = pictures(len(shown), height, width, seed)
    before = images.clone()
    found = run(images, strengths, shown, seed)
    assert found.shape == images.shape and found.dtype == torch.float32
    assert bool((found >= 0).all()) and bool((found <= 1).all())  # nan is neither
    assert torch.equal(images, before)


@given(st.floats(0, 0.5), SHOWN, SIDES, SIDES, SEEDS)
def test_without_geometry_measured_colours_come_back_exactly(
    gain: float, shown: list[str], height: int, width: int, seed: int
) -> None:
    images = pictures(len(shown), height, width, seed)
    found = run(images, Augment(horizontal_flip=0, shift=0, zoom=0, rotate=0, gain=gain), shown, seed)
    for modality, before, after in zip(shown, images, found, strict=True):
        assert MODALITIES[modality].recolour or torch.equal(after, before / 255)


@given(STRENGTHS, SHOWN, SIDES, SIDES, SEEDS)
def test_measured_colours_are_moved_and_never_recoloured(
    strengths: Augment, shown: list[str], height: int, width: int, seed: int
) -> None:
    # Of one colour and black, a weighted mean is that colour, darker: the channels keep their ratio.
    colour = torch.tensor([250, 125, 50], dtype=torch.uint8)[None, :, None, None]
    images = (pictures(len(shown), height, width, seed)[:, :1] > 99) * colour
    for modality, found in zip(shown, run(images, strengths, shown, seed), strict=True):
        if not MODALITIES[modality].recolour:
            assert float(found[0].max()) <= 250 / 255 + 1e-6
            torch.testing.assert_close(found[1], found[0] / 2, atol=1e-6, rtol=0)
            torch.testing.assert_close(found[2], found[0] / 5, atol=1e-6, rtol=0)


@given(STRENGTHS, SHOWN, st.data(), SEEDS)
def test_an_image_does_not_depend_on_the_others(
    strengths: Augment, shown: list[str], data: st.DataObject, seed: int
) -> None:
    images = pictures(len(shown), 17, 24, seed)
    at = data.draw(st.integers(0, len(shown) - 1))
    others = data.draw(st.lists(st.sampled_from(tuple(MODALITIES)), min_size=len(shown), max_size=len(shown)))
    strangers = pictures(len(shown), 17, 24, seed + 1)
    others[at], strangers[at] = shown[at], images[at]
    assert torch.equal(run(images, strengths, shown, seed)[at], run(strangers, strengths, others, seed)[at])


@given(STRENGTHS, STRENGTHS, SHOWN, SEEDS)
def test_as_many_random_numbers_are_drawn_whatever_the_strengths_and_modalities(
    strengths: Augment, others: Augment, shown: list[str], seed: int
) -> None:
    images = pictures(len(shown), 5, 6, seed)
    after = []
    for recipe, modalities in ((strengths, shown), (others, shown[::-1])):
        generator = torch.Generator().manual_seed(seed)
        augment(images, strengths_of(effective_strengths(recipe, MODALITIES), modalities), generator)
        after.append(generator.get_state())
    assert torch.equal(*after)


@given(STRENGTHS, SHOWN, SEEDS)
def test_black_stays_black(strengths: Augment, shown: list[str], seed: int) -> None:
    images = torch.zeros(len(shown), 3, 11, 12, dtype=torch.uint8)
    assert float(run(images, strengths, shown, seed).abs().max()) == 0
