"""Laws of colour decode: what was encoded comes back within the stated tolerance, and only the pixel matters."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from colour_maps import FLOW_MAPS, STIFFNESS_MAPS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from sonogrid.arrays import Colours, Picture
from sonogrid.images.colour import (
    COLOURED,
    FLOW_COLOURED,
    OPAQUE,
    decode_flow,
    decode_stiffness,
    encode_flow,
    encode_stiffness,
    inverted,
    measurement_channels,
    tolerance,
    velocities,
)

Plane = NDArray[np.float32]
Flip = Callable[[NDArray[Any]], NDArray[Any]]
MAPS = [*STIFFNESS_MAPS.values(), *FLOW_MAPS.values()]
ANY_MAP = st.sampled_from([*MAPS, *map(inverted, STIFFNESS_MAPS.values())])
BLENDING = st.floats(0.3, 1.0) | st.just(1.0)
SHARE = st.floats(0, 1, width=32)
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def planes(draw: st.DrawFn, count: int) -> list[Plane]:
    """Planes of one shape with values 0..1: any that Hypothesis thinks of, or evenly random ones."""
    shape = draw(SHAPES)
    if draw(st.booleans()):
        return [draw(arrays.arrays(np.float32, shape, elements=SHARE)) for _ in range(count)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [rng.random((40, 40), dtype=np.float32) for _ in range(count)]


PICTURES = arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=14).map(lambda s: (*s, 3)))


def seen(picture: Picture, least: int) -> NDArray[np.bool_]:
    return np.asarray(np.ptp(picture.astype(int), axis=2) >= least)


@given(st.data())
def test_stiffness_and_grey_come_back_within_the_tolerance(data: st.DataObject) -> None:
    stiffness, grey = data.draw(planes(2))
    colours, blending = data.draw(ANY_MAP), data.draw(BLENDING)
    picture = encode_stiffness(stiffness, grey, colours, blending)
    found, limit = decode_stiffness(picture, colours, blending), tolerance(colours, blending)
    coloured = seen(picture, COLOURED)
    assert np.array_equal(found.coloured, coloured)
    assert np.abs(found.stiffness - stiffness)[coloured].max(initial=0) <= limit.stiffness
    assert np.abs(found.grey - grey)[coloured].max(initial=0) <= limit.grey


@pytest.mark.parametrize("name", STIFFNESS_MAPS)
@given(data=st.data())
def test_stiffness_maps_show_a_colour_everywhere(name: str, data: st.DataObject) -> None:
    stiffness, grey = data.draw(planes(2))
    blending = data.draw(BLENDING)
    assert decode_stiffness(
        encode_stiffness(stiffness, grey, STIFFNESS_MAPS[name], blending), STIFFNESS_MAPS[name], blending
    ).coloured.all()


@pytest.mark.parametrize("name", STIFFNESS_MAPS)
@given(blending=BLENDING, seed=st.integers(0, 2**32 - 1))
def test_blending_is_found(name: str, blending: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stiffness, grey = rng.random((2, 48, 48), dtype=np.float32)
    colours = STIFFNESS_MAPS[name]
    found = decode_stiffness(encode_stiffness(stiffness, grey, colours, blending), colours)
    assert abs(found.blending - blending) <= 0.01
    assert np.abs(found.stiffness - stiffness).max() <= tolerance(colours, blending).stiffness + 0.01


@given(st.data())
def test_velocity_comes_back_within_the_tolerance(data: st.DataObject) -> None:
    share, grey = data.draw(planes(2))
    colours = data.draw(st.sampled_from(list(FLOW_MAPS.values())))
    scale = velocities(colours)
    velocity = (scale.min() + (scale.max() - scale.min()) * share).astype(np.float32)
    mask = grey > data.draw(SHARE)
    picture = encode_flow(velocity, mask, grey, colours)
    found = decode_flow(picture, colours)
    shown = mask & seen(picture, FLOW_COLOURED)
    assert np.array_equal(found.mask, shown)
    limit = tolerance(colours, 1.0).stiffness * float(scale.max() - scale.min())
    assert np.abs(found.velocity - velocity)[shown].max(initial=0) <= limit
    assert np.array_equal(np.sign(found.velocity[shown]), np.sign(velocity[shown]))
    assert np.abs(found.grey - grey)[~mask].max(initial=0) <= 0.5 / 255 + 1e-6


@given(PICTURES, ANY_MAP, st.none() | BLENDING)
def test_shapes_types_and_ranges_whatever_the_picture(picture: Picture, colours: Colours, given: float | None) -> None:
    stiffness, grey, coloured, blending = decode_stiffness(picture, colours, given)
    velocity, flow_grey, mask = decode_flow(picture, colours)
    for plane in (stiffness, grey, velocity, flow_grey):
        assert plane.shape == picture.shape[:2] and plane.dtype == np.float32
    for shares in (stiffness, grey, flow_grey, np.abs(velocity)):
        assert shares.min() >= 0 and shares.max() <= 1
    assert coloured.dtype == mask.dtype == np.bool_ and 0 <= blending <= 1
    assert not stiffness[~coloured].any() and not velocity[~mask].any() and not flow_grey[mask].any()
    if blending > OPAQUE:
        assert not grey[coloured].any()
    for modality in ("elastography", "cdfi"):
        channels = measurement_channels(picture, colours, modality)  # type: ignore[arg-type]
        assert channels.shape == picture.shape and channels.dtype == np.uint8
        if modality == "cdfi":
            assert not (channels[..., 0] & channels[..., 1]).any()


@given(PICTURES, ANY_MAP, st.none() | BLENDING, st.sampled_from([np.fliplr, np.flipud, np.rot90]))
def test_flip_commutes_with_decode_exactly(picture: Picture, colours: Colours, given: float | None, flip: Flip) -> None:
    pairs = [
        (decode_stiffness(flip(picture), colours, given), decode_stiffness(picture, colours, given)),
        (decode_flow(flip(picture), colours), decode_flow(picture, colours)),
    ]
    for flipped, straight in pairs:
        for one, other in zip(flipped, straight, strict=True):
            assert np.array_equal(one, flip(other) if isinstance(other, np.ndarray) else other)


@given(PICTURES, ANY_MAP, BLENDING, st.data())
def test_a_pixel_is_decoded_by_itself(picture: Picture, colours: Colours, blending: float, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, picture.shape[0] - 1)), data.draw(st.integers(0, picture.shape[1] - 1))
    pixel = picture[row : row + 1, column : column + 1]
    pairs = [
        (decode_stiffness(picture, colours, blending)[:3], decode_stiffness(pixel, colours, blending)[:3]),
        (decode_flow(picture, colours), decode_flow(pixel, colours)),
    ]
    for whole, alone in pairs:
        for one, other in zip(whole, alone, strict=True):
            assert one[row, column] == pytest.approx(other[0, 0], abs=1e-6)


@given(PICTURES, ANY_MAP)
def test_decoding_does_not_change_the_picture(picture: Picture, colours: Colours) -> None:
    before = picture.copy()
    first = decode_stiffness(picture, colours)
    decode_flow(picture, colours)
    again = decode_stiffness(picture, colours)
    assert np.array_equal(picture, before)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


@given(st.data())
def test_what_was_decoded_encodes_to_itself(data: st.DataObject) -> None:
    stiffness, grey = data.draw(planes(2))
    colours = data.draw(st.sampled_from(list(STIFFNESS_MAPS.values())))
    blending = data.draw(st.floats(0.3, 0.9))
    picture = encode_stiffness(stiffness, grey, colours, blending)
    found = decode_stiffness(picture, colours, blending)
    again = encode_stiffness(found.stiffness, found.grey, colours, blending)
    # The nearest place and grey level: as near to the pixel as rounding lets the true ones be.
    assert np.abs(again.astype(int) - picture).max() <= 2
