"""The table of transforms: complete, consistent, what medicine and physics say, and what a config is told by it."""

import inspect
from collections import Counter
from pathlib import Path

import pytest
import yaml

from sonogrid.config.augment_contract import (
    INPUTS,
    MODALITIES,
    OFFERED,
    OTHER_NAMES,
    RULED,
    RULINGS,
    TRANSFORMS,
    as_markdown,
    check_strengths,
    ruling,
    strength,
    why_not_offered,
)
from sonogrid.config.load import load_study
from sonogrid.config.study import json_schema
from sonogrid.config.training import Augment
from sonogrid.problems import InputError
from sonogrid.training import augment

ROOT = Path(__file__).parents[3]


def legal(transform):
    return {shown for shown in INPUTS if ruling(transform, shown).legal}


def test_every_transform_has_exactly_one_ruling_for_every_input_of_the_table():
    """All or none for an input: of a modality with some rulings, none is left out by mistake."""
    counted = Counter((one.transform, shown) for one in RULINGS for shown in one.inputs)
    assert counted == dict.fromkeys(((one, shown) for one in TRANSFORMS for shown in RULED), 1)
    assert set(RULED) >= {"bmode", "cdfi", "velocity", "elastography", "stiffness"}


def test_nothing_is_legal_for_an_input_without_rulings():
    assert [(one, shown) for one in TRANSFORMS for shown in {*INPUTS} - {*RULED} if ruling(one, shown).legal] == []


def test_decoding_colours_to_channels_makes_nothing_legal_and_nothing_illegal():
    for transform in TRANSFORMS:
        for modality, channels in (("cdfi", "velocity"), ("elastography", "stiffness")):
            assert ruling(transform, modality).legal == ruling(transform, channels).legal


def test_reasons_are_single_sentences_for_the_end_of_a_message():
    for one in RULINGS:
        assert 10 < len(one.reason) < 100
        assert "." not in one.reason and "|" not in one.reason
        assert one.reason == one.reason.strip()


@pytest.mark.parametrize("transform", ["horizontal_flip", "shift", "zoom", "rotate"])
def test_small_geometry_is_legal_everywhere(transform):
    assert legal(transform) == set(RULED)


@pytest.mark.parametrize("transform", ["gain", "time_gain", "gamma", "sharpen", "noise", "jpeg"])
def test_what_scanners_and_receivers_do_to_grey_is_legal_for_bmode_alone(transform):
    assert legal(transform) == {"bmode"}


NOWHERE = """
    hue saturation colour_jitter grayscale channel_shuffle invert equalize vertical_flip rotate90 aspect crop
    random_resized_crop shear elastic blur erasing mixup cutmix auto_augment
"""


@pytest.mark.parametrize("transform", NOWHERE.split())
def test_what_changes_depth_shape_margin_or_measurement_is_legal_nowhere(transform):
    assert legal(transform) == set()


def test_offered_transforms_are_the_config_keys_and_legal_somewhere():
    assert tuple(Augment.model_fields) == OFFERED
    assert all(legal(transform) for transform in OFFERED)


def test_other_names_lead_to_the_table_and_are_none_of_its_names():
    assert set(OTHER_NAMES.values()) <= set(TRANSFORMS)
    assert not set(OTHER_NAMES) & set(TRANSFORMS)


def test_refusals():
    assert all(why_not_offered(transform) is None for transform in (*OFFERED, "zom", "", "Hue"))
    assert all(why_not_offered(name) for name in (*TRANSFORMS, *OTHER_NAMES) if name not in OFFERED)
    assert why_not_offered("contrast") == "is called gain here"
    assert why_not_offered("color_jitter") == why_not_offered("colour_jitter")
    assert why_not_offered("hue").startswith("is legal for no modality (bmode: ")
    assert "cdfi: hue is the direction of flow" in why_not_offered("hue")
    assert "elastography: hue is stiffness" in why_not_offered("hue")
    assert why_not_offered("gamma").startswith("is legal for bmode only, and not offered (cdfi, elastography: ")
    assert "bmode, cdfi, elastography: the ratio of short to long axis" in why_not_offered("aspect")


def test_strengths_of_illegal_pairs_are_refused_unless_they_are_zero():
    check_strengths("gain", {"bmode": 0.2, "cdfi": 0.0, "elastography": 0})
    with pytest.raises(ValueError, match=r"illegal for cdfi: .*speed of flow; gain is illegal for elastography: "):
        check_strengths("gain", {"bmode": 0.2, "cdfi": 0.1, "elastography": 0.1})


def test_a_number_is_for_legal_modalities_and_a_mapping_for_those_it_names():
    shown = ("bmode", "cdfi", "elastography")
    assert [strength("gain", 0.2, modality) for modality in shown] == [0.2, 0.0, 0.0]
    assert [strength("rotate", 3.0, modality) for modality in shown] == [3.0] * 3
    assert [strength("rotate", {"cdfi": 2.0}, modality) for modality in shown] == [0.0, 2.0, 0.0]
    assert [strength("gain", {"bmode": 0.1, "cdfi": 0.3}, modality) for modality in shown] == [0.1, 0.0, 0.0]


def test_an_unknown_pair_is_an_error():
    for pair in (("hue", "ct"), ("blurr", "bmode")):
        with pytest.raises(ValueError, match="no ruling"):
            ruling(*pair)


def test_the_docstring_shows_the_offered_part_of_the_table():
    assert as_markdown(OFFERED) in inspect.getdoc(augment) + "\n"


def test_the_page_shows_the_table():
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    showing = [page for page in pages if as_markdown().splitlines()[0] in page]
    if not showing:
        pytest.skip("no page of docs/ shows the table")
    assert all(as_markdown() in page for page in showing), "write augment_contract.as_markdown() into it"


def messages(augment_section):
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["training"]["augment"] = augment_section
    with pytest.raises(InputError) as caught:
        load_study(raw)
    return {
        problem.where.removeprefix("config key training.augment."): str(problem) for problem in caught.value.problems
    }


def test_a_config_may_say_a_strength_by_modality():
    told = Augment(gain={"bmode": 0.15, "elastography": 0}, rotate={"cdfi": 2, "bmode": 5.0}, shift=0.1)
    assert told.gain == {"bmode": 0.15, "elastography": 0.0}
    assert told.rotate == {"cdfi": 2.0, "bmode": 5.0}
    assert Augment.model_validate_json(told.model_dump_json()) == told


def test_a_config_is_told_all_its_mistakes_by_name_and_reason():
    found = messages(
        {
            "gain": {"cdfi": 0.1},
            "hue": 0.2,
            "vertical_flip": 0.5,
            "brightness": 0.1,
            "zom": 0.2,
            "rotate": 50,
            "shift": {"bmode": 9, "ct": 0.1},
            "zoom": "much",
            "horizontal_flip": {"cdfi": float("nan")},
        }
    )
    assert set(found) == {
        *("gain", "hue", "vertical_flip", "brightness", "zom", "rotate", "zoom"),
        *("shift.bmode", "shift.ct", "horizontal_flip.cdfi"),
    }
    assert ruling("gain", "cdfi").reason in found["gain"]
    assert ruling("hue", "elastography").reason in found["hue"]
    assert ruling("vertical_flip", "bmode").reason in found["vertical_flip"]
    assert "is not known" not in found["hue"] + found["vertical_flip"] + found["brightness"]
    assert all(f"offered are {', '.join(OFFERED)}" in found[name] for name in ("hue", "vertical_flip", "brightness"))
    assert "is not known. Did you mean 'zoom'?" in found["zom"]
    assert "must be at most 15" in found["rotate"] and "must be at most 0.2" in found["shift.bmode"]


def test_the_schema_allows_a_number_or_numbers_by_modality():
    number, mapping = json_schema()["$defs"]["Augment"]["properties"]["gain"]["anyOf"]
    assert number == {"type": "number", "minimum": 0.0, "maximum": 0.5}
    assert mapping["additionalProperties"] == number
    assert mapping["propertyNames"]["enum"] == list(MODALITIES)
