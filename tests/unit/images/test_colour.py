"""Colours as measurements: pixels worked out by hand, simulated pictures with known truth, and what is no colour."""

import io

import numpy as np
import pytest
from colour_maps import FLOW_MAPS, STIFFNESS_MAPS, colours
from numpy.typing import NDArray
from PIL import Image

from sonogrid.arrays import Picture
from sonogrid.cohort.phantom.scanner import OVERLAY, SCANNERS, Scanner, overlay_flow, overlay_stiffness
from sonogrid.images.colour import (
    decode_flow,
    decode_stiffness,
    encode_flow,
    encode_stiffness,
    measurement_channels,
    tolerance,
    velocities,
)

HUE = STIFFNESS_MAPS["hue"]
SHAPE = (160, 200)


def one(*pixel: int) -> Picture:
    return np.array([[pixel]], dtype=np.uint8)


def plane(value: float) -> NDArray[np.float32]:
    return np.full((1, 1), value, dtype=np.float32)


def jpeg(picture: Picture, quality: int = 90) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def speckle(seed: int = 0) -> NDArray[np.float32]:
    """Grey levels 0..255 of SHAPE, correlated over a few pixels."""
    import cv2

    noise = np.random.default_rng(seed).rayleigh(1.0, SHAPE).astype(np.float32)
    return np.clip(90 * cv2.GaussianBlur(noise, (5, 5), 1.0), 0, 255)


def smooth(seed: int, low: float, high: float) -> NDArray[np.float32]:
    import cv2

    noise = np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
    wide = cv2.GaussianBlur(noise, (0, 0), 12.0)
    return (low + (high - low) * (wide - wide.min()) / np.ptp(wide)).astype(np.float32)


def test_encoded_pixels_are_those_worked_out_by_hand() -> None:
    # 0.5 * 100 + 0.5 * (0, 0, 255), and the red end over white.
    assert encode_stiffness(plane(0), plane(100 / 255), HUE, 0.5).tolist() == [[[50, 50, 178]]]
    assert encode_stiffness(plane(1), plane(1), HUE, 0.4).tolist() == [[[255, 153, 153]]]


def test_decoded_pixels_are_those_worked_out_by_hand() -> None:
    stiffness, grey, coloured, blending = decode_stiffness(one(50, 50, 178), HUE, 0.5)
    assert stiffness[0, 0] == 0 and coloured.all() and blending == 0.5
    assert grey[0, 0] == pytest.approx(100 / 255, abs=1 / 255)
    # Yellow is three quarters of the way from blue to red.
    assert decode_stiffness(one(190, 190, 63), HUE, 0.5).stiffness[0, 0] == pytest.approx(0.75, abs=2 / 255)


def test_the_grey_level_tells_apart_places_of_one_chroma() -> None:
    # Both ends of the map have no chroma but for a trace of red; only the grey level differs.
    bar = colours("280000 ff0000 00ff00 ffd7d7")
    for end in (0.0, 1.0):
        shown = encode_stiffness(plane(end), plane(0.5), bar, 0.8)
        assert decode_stiffness(shown, bar, 0.8).stiffness[0, 0] == pytest.approx(end, abs=0.02)


def test_a_map_that_crosses_itself_has_a_large_tolerance() -> None:
    crossing = colours("ff0000 00ff00 0000ff ff0000")
    assert tolerance(crossing, 0.5).stiffness == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", STIFFNESS_MAPS)
@pytest.mark.parametrize("blending", [0.3, 0.5, 0.62, 0.8, 1.0])
def test_stated_tolerances(name: str, blending: float) -> None:
    found = tolerance(STIFFNESS_MAPS[name], blending)
    assert found.stiffness < 0.026
    assert found.grey < {0.3: 0.02, 0.5: 0.03, 0.62: 0.03, 0.8: 0.05, 1.0: 1.01}[blending]


def test_a_grey_picture_is_nowhere_coloured_and_keeps_its_grey_levels() -> None:
    picture = np.repeat(speckle()[..., None], 3, axis=2).astype(np.uint8)
    stiffness, grey, coloured, blending = decode_stiffness(picture, HUE)
    assert not coloured.any() and not stiffness.any() and blending == 0
    assert np.abs(grey * 255 - picture[..., 0]).max() < 1e-3
    flow = decode_flow(picture, FLOW_MAPS["red_blue"])
    assert not flow.mask.any() and np.abs(flow.grey * 255 - picture[..., 0]).max() < 1e-3


def test_colours_that_are_none_of_the_maps_are_not_coloured() -> None:
    # Magenta is not on the way from blue over green to red, and no grey level makes it so.
    assert not decode_stiffness(one(255, 0, 255), HUE, 0.9).coloured.any()
    assert not decode_flow(one(0, 255, 0), FLOW_MAPS["red_blue"]).mask.any()


@pytest.mark.parametrize("pixel", [(255, 255, 255), (235, 235, 235), (255, 255, 0), (0, 0, 0)])
@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
def test_outlines_and_writing_are_no_flow(scanner: Scanner, pixel: tuple[int, int, int]) -> None:
    assert not decode_flow(one(*pixel), scanner.flow).mask.any()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
def test_stiffness_of_a_simulated_scanner_is_read_without_knowing_its_blending(
    scanner: Scanner, compressed: bool
) -> None:
    grey, truth = speckle(1), smooth(2, 0.1, 0.9)
    box = (20, 16, 180, 144)
    view = np.rint(overlay_stiffness(np.repeat(grey[..., None], 3, axis=2), truth, box, scanner)).astype(np.uint8)
    found = decode_stiffness(jpeg(view) if compressed else view, scanner.stiffness)
    inside = np.zeros(SHAPE, dtype=bool)
    inside[17:143, 21:179] = True
    error = np.abs(found.stiffness - truth)[inside & found.coloured]
    below = np.abs(found.grey - grey / 255)[inside & found.coloured]
    assert found.blending == pytest.approx(OVERLAY, abs=0.02)
    if compressed:
        assert found.coloured[inside].mean() > 0.95 and (found.coloured & ~inside).sum() < 0.02 * inside.sum()
        assert error.mean() < 0.02 and np.quantile(error, 0.95) < 0.04 and below.mean() < 0.05
    else:
        assert np.array_equal(found.coloured, inside)
        limit = tolerance(scanner.stiffness, OVERLAY)
        # The estimate of the blending adds a little.
        assert error.max() < limit.stiffness + 0.01 and below.max() < limit.grey + 0.02


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
def test_velocity_of_a_simulated_scanner(scanner: Scanner, compressed: bool) -> None:
    grey, truth = speckle(3), smooth(4, -0.95, 0.95)
    box = (20, 16, 180, 144)
    view = np.rint(overlay_flow(np.repeat(grey[..., None], 3, axis=2), truth, box, scanner)).astype(np.uint8)
    found = decode_flow(jpeg(view) if compressed else view, scanner.flow)
    shown = np.zeros(SHAPE, dtype=bool)
    shown[17:143, 21:179] = (np.abs(truth) > 0.3)[17:143, 21:179]
    both = shown & found.mask
    dice = 2 * both.sum() / (shown.sum() + found.mask.sum())
    error = np.abs(found.velocity - truth)[both]
    assert np.array_equal(np.sign(found.velocity[both]), np.sign(truth[both])) or compressed
    if compressed:
        assert dice > 0.95 and error.mean() < 0.03
    else:
        assert dice == 1 and error.max() < 0.01


def test_velocity_scales() -> None:
    signed = velocities(FLOW_MAPS["red_blue"])
    assert signed[0] == -1 and signed[255] == 1 and abs(float(signed[127] + signed[128])) < 1e-6
    power = velocities(FLOW_MAPS["power"])
    assert power[0] == 0 and power[255] == 1
    mirrored = velocities(colours("ffff00 ff0000 000000 ff0000 ffff00"))
    assert mirrored[0] == mirrored[255] == 1 and mirrored.min() >= 0
    # Baseline at a quarter of the bar: 0.25 away for 0.75 towards.
    shifted = velocities(colours("0000ff 000000 800000 ff0000 ffff00"))
    assert shifted[0] == pytest.approx(-1 / 3, abs=0.01) and shifted[255] == 1


def test_power_doppler_of_a_mirrored_bar_is_never_away() -> None:
    bar = colours("ffff00 ff0000 000000 ff0000 ffff00")
    found = decode_flow(encode_flow(plane(0.5), plane(1) > 0, plane(0), bar), bar)
    assert found.velocity[0, 0] == pytest.approx(0.5, abs=0.02)


def test_channels_of_an_elastogram() -> None:
    inside = np.array([[True, False]])
    shown = encode_stiffness(np.full((1, 2), 0.8), np.full((1, 2), 0.4), HUE, 0.5, inside)
    (left, right) = measurement_channels(np.repeat(shown, 1, axis=0), HUE, "elastography")[0].astype(int)
    assert right.tolist() == [0, 0, 102]
    assert left[1] == 255


def test_channels_of_flow() -> None:
    bar = FLOW_MAPS["red_blue"]
    velocity = np.array([[0.6, -0.6, 0.0]], dtype=np.float32)
    shown = encode_flow(velocity, velocity != 0, np.full((1, 3), 0.2), bar)
    towards, away, still = measurement_channels(shown, bar, "cdfi")[0].astype(int)
    assert abs(towards[0] - 153) <= 1 and towards[1:].tolist() == [0, 0]
    assert abs(away[1] - 153) <= 1 and away[[0, 2]].tolist() == [0, 0]
    assert still.tolist() == [0, 0, 51]


def test_black_is_nothing_in_every_channel() -> None:
    black = np.zeros((4, 5, 3), dtype=np.uint8)
    assert not measurement_channels(black, HUE, "elastography").any()
    assert not measurement_channels(black, FLOW_MAPS["power"], "cdfi").any()


def test_bmode_has_no_measurement() -> None:
    with pytest.raises(ValueError, match="bmode"):
        measurement_channels(one(1, 2, 3), HUE, "bmode")
