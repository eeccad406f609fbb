"""What a copy of a picture keeps beside its scan area: bars with colour, and none in which text can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sonogrid.arrays import Box, Picture
from sonogrid.config.cohort import CohortConfig
from sonogrid.images.framing import Framing
from sonogrid.images.look import bars_to_keep, blackened_outside

SCAN = Box(60, 10, 190, 110)
FOUND, GIVEN = Box(10, 20, 22, 100), Box(8, 18, 40, 102)


def config(**changes: Any) -> CohortConfig:
    known = {
        "classes": ["benign", "malignant"],
        "modalities": ["cdfi"],
        "reader": "folders",
        "folders": {"root": "none", "labels": {"benign": "b", "malignant": "m"}, "modalities": {"cdfi": "x"}},
        "burned_in_text": "keep",
    }
    return CohortConfig.model_validate(known | changes)


def picture() -> Picture:
    """Grey speckle in SCAN, and at FOUND a bar from red at the top to blue."""
    pixels = np.zeros((120, 200, 3), dtype=np.uint8)
    pixels[10:110, 60:190] = np.random.default_rng(1).integers(30, 90, (100, 130, 1))
    ramp = np.linspace(250, 5, 80).astype(np.uint8)
    pixels[20:100, 10:22, 0], pixels[20:100, 10:22, 2] = ramp[:, None], ramp[::-1, None]
    return pixels


def test_the_bar_of_the_layout_is_kept_else_those_that_are_found() -> None:
    layouts = {"A": {"colour_bar": list(GIVEN)}}
    assert bars_to_keep(picture(), SCAN, "B", config(layouts=layouts)) == [FOUND]
    assert bars_to_keep(picture(), SCAN, "A", config(layouts=layouts)) == [GIVEN]


def test_a_bar_beyond_the_picture_is_an_error() -> None:
    layouts = {"*": {"colour_bar": [0, 0, 10, 121]}}
    with pytest.raises(ValueError, match=r"colour bar \(0, 0, 10, 121\) is not inside a picture of 200 x 120 pixels"):
        bars_to_keep(picture(), SCAN, "A", config(layouts=layouts))


@pytest.mark.parametrize("layouts", [{}, {"*": {"colour_bar": list(GIVEN)}}])
def test_a_bar_with_text_is_dropped_where_text_is_masked(
    layouts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def find_text(part: Picture) -> list[Box]:
        shapes.append(part.shape)
        return [Box(0, 0, 4, 4)]

    monkeypatch.setattr("sonogrid.images.text.find_text", find_text)
    assert bars_to_keep(picture(), SCAN, "A", config(layouts=layouts, burned_in_text="mask")) == []
    box = GIVEN if layouts else FOUND
    assert shapes == [(box.y1 - box.y0, box.x1 - box.x0, 3)]
    assert bars_to_keep(picture(), SCAN, "A", config(layouts=layouts)) == [box]
    monkeypatch.setattr("sonogrid.images.text.find_text", lambda part: [])
    assert bars_to_keep(picture(), SCAN, "A", config(layouts=layouts, burned_in_text="mask")) == [box]


def test_what_is_black_outside_and_in_masked_boxes() -> None:
    white = np.full((120, 200, 3), 255, dtype=np.uint8)
    inside = Box(70, 20, 80, 30)
    shown = blackened_outside(white, Framing(SCAN, (inside,)), [FOUND])
    assert np.count_nonzero(shown[..., 0]) == SCAN.area + FOUND.area - inside.area
    assert not shown[20:30, 70:80].any() and shown[10:20, 60:190].all() and shown[20:100, 10:22].all()
    assert white.all()
