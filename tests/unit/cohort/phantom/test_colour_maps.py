"""Colour maps: their ends and middles are those that are written, and the simulated scanners use them."""

import numpy as np
import pytest
from colour_maps import FLOW_MAPS, STIFFNESS_MAPS, colours

from sonogrid.arrays import Colours
from sonogrid.cohort.phantom.scanner import SCANNERS
from sonogrid.images.colour import inverted


@pytest.mark.parametrize("bar", [*STIFFNESS_MAPS.values(), *FLOW_MAPS.values()])
def test_a_map_is_256_colours_of_8_bits(bar: Colours) -> None:
    assert bar.shape == (256, 3) and bar.dtype == np.float32
    assert bar.min() >= 0 and bar.max() <= 255


def test_stops_are_evenly_spaced() -> None:
    bar = colours("000000 ff0000 ffff00 ffffff")
    assert bar[0].tolist() == [0, 0, 0] and bar[255].tolist() == [255, 255, 255]
    assert bar[85].tolist() == [255, 0, 0] and bar[170].tolist() == [255, 255, 0]
    assert np.allclose(bar[51], [153, 0, 0], atol=1e-4)


@pytest.mark.parametrize(("name", "places"), [("jet", 9), ("turbo", 17)])
def test_maps_of_matplotlib_are_its_own_at_the_stops(name: str, places: int) -> None:
    from matplotlib import colormaps

    at = np.linspace(0, 1, places)
    own = 255 * colormaps[name](at)[:, :3]
    shipped = np.stack([np.interp(255 * at, np.arange(256), STIFFNESS_MAPS[name][:, i]) for i in range(3)], axis=1)
    assert np.abs(own - shipped).max() < 3


def test_red_is_hard_unless_inverted() -> None:
    for bar in STIFFNESS_MAPS.values():
        assert bar[0, 2] > bar[0, 0] and bar[255, 0] > bar[255, 2]
        assert inverted(bar)[0, 0] > inverted(bar)[0, 2]
        assert np.array_equal(inverted(inverted(bar)), bar)


def test_simulated_scanners_show_shipped_maps() -> None:
    for scanner in SCANNERS:
        assert np.array_equal(scanner.flow, FLOW_MAPS[f"simulated_{scanner.hospital}"])
        assert np.array_equal(scanner.stiffness, STIFFNESS_MAPS[f"simulated_{scanner.hospital}"])
