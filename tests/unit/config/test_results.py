"""The formats of figures: what is allowed, and that a mistake names its key."""

import pytest
from dummy_study import DEMO, make_study

from sonogrid.config.load import load_study
from sonogrid.problems import InputError

RAW = make_study(DEMO).model_dump(mode="json")


def test_png_and_svg_unless_the_config_says_otherwise():
    assert load_study({key: value for key, value in RAW.items() if key != "figures"}).figures.formats == ("png", "svg")
    assert load_study(RAW | {"figures": {"formats": ["png", "pdf"]}}).figures.formats == ("png", "pdf")


@pytest.mark.parametrize(
    ("formats", "words"),
    [
        (["svg", "pdf"], "must have png"),
        ([], "must have png"),
        (["png", "png"], "named more than once: png"),
        (["png", "jpeg"], "figures.formats.1: value 'jpeg'"),
        ("png", "must be a list, as [png]"),
    ],
)
def test_wrong_formats_are_refused_with_their_key(formats, words):
    with pytest.raises(InputError) as caught:
        load_study(RAW | {"figures": {"formats": formats}})
    assert len(caught.value.problems) == 1
    assert "config key figures.formats" in str(caught.value)
    assert words in str(caught.value)
