"""A stage gets the keys that it needs and no others; the same keys are the same text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from dummy_study import DEMO, make_study

from sonogrid.config.cohort import CohortConfig
from sonogrid.config.needs import NEEDS, Parts, parse_part
from sonogrid.config.study import Study
from sonogrid.problems import InputError

AXES: dict[str, list[str]] = {"backbone": ["resnet18"], "init": ["pretrained"], "modality": ["elastography"]}


def study(**changes: Any) -> Study:
    return make_study(DEMO).model_copy(update=changes)


@pytest.mark.parametrize("stage", NEEDS)
def test_every_key_of_a_part_can_be_read_and_no_other(stage: str) -> None:
    whole = study()
    part = parse_part(Parts(whole).json(stage, **AXES))
    named = {key.split(".")[0] for key in NEEDS[stage]}
    for key in Study.model_fields:
        if key in named:
            assert getattr(part, key) is not None
        else:
            with pytest.raises(AttributeError, match=key):
                getattr(part, key)


def test_what_is_read_from_a_part_is_what_the_study_has() -> None:
    whole = study()
    part = parse_part(Parts(whole).json("train", **AXES))
    assert part.training == whole.training
    assert part.cohort.classes == whole.cohort.classes
    assert part.results == whole.results
    assert part.inits["pretrained"].source == "corpus"
    with pytest.raises(AttributeError, match="training"):
        _ = part.inits["pretrained"].training
    with pytest.raises(KeyError):
        _ = part.inits["scratch"]


def test_input_size_of_another_backbone_is_not_in_a_part() -> None:
    base = study()
    sizes = base.images.model_copy(update={"input_size": {"resnet18": 32, "vit_tiny_patch16_224": 48}})
    changed = base.images.model_copy(update={"input_size": {"resnet18": 32, "vit_tiny_patch16_224": 40}})
    one, two = (Parts(study(images=images)).json("train", **AXES) for images in (sizes, changed))
    assert one == two
    assert parse_part(one).images.input_size == {"resnet18": 32}


def test_names_with_dots_are_one_name() -> None:
    base = study()
    images = base.images.model_copy(update={"input_size": {"resnet18.a1_in1k": 32}})
    text = Parts(study(images=images)).json("train", backbone=["resnet18.a1_in1k"], init=["scratch"])
    assert parse_part(text).images.input_size == {"resnet18.a1_in1k": 32}


def test_part_of_several_cells_has_the_keys_of_each() -> None:
    text = Parts(study()).json("train", backbone=["resnet18"], init=["scratch", "pretrained"])
    assert set(parse_part(text).inits) == {"scratch", "pretrained"}


def test_equal_parts_are_equal_texts_whatever_else_differs() -> None:
    one, two = study(), study(study="other", cells_per_job=7, seed=7)
    assert Parts(one).json("train", **AXES) == Parts(two).json("train", **AXES)
    assert Parts(one).json("tables", **AXES) != Parts(two).json("tables", **AXES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not part of a configuration as JSON"),
        ("[]", "not a mapping"),
        ('{"sed": 1}', "unknown keys sed"),
        ("[" * 100_000, "nested too deep"),
        ('{"seed": -1}', "--study key seed: value -1"),
        ('{"results": 5}', "--study key results: value 5"),
        ('{"grid": {"seeds": [0, 0]}}', "--study key grid.seeds: value [0, 0]: named more than once"),
        ('{"grid": {"seeds": [0.5]}}', "--study key grid.seeds 0: value 0.5"),
        ('{"inits": {"scratch": 3}}', "--study key inits.scratch"),
        ('{"inits": {"scratch": {"sources": "random"}}}', "unknown keys inits.scratch.sources"),
    ],
)
def test_text_that_is_no_part_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_part(text)
    assert said in str(caught.value)


def test_needs_name_keys_of_the_schema() -> None:
    """A key that is misspelt would silently be left out: each leads to a field, or is below a mapping by name."""
    whole = Parts(study())
    for stage, keys in NEEDS.items():
        content = json.loads(whole.json(stage, **AXES))
        for key in keys:
            node: Any = content
            for part in key.format(reader="phantom", **{axis: values[0] for axis, values in AXES.items()}).split("."):
                if part in ("resnet18", "patients_known") or node is None:
                    break
                assert part in node, f"{stage}: {key}"
                node = node[part]


def test_what_a_reader_reads_is_no_matter_of_tables_and_audits() -> None:
    base = study()
    assert base.cohort.phantom is not None
    phantom = base.cohort.phantom.model_copy(update={"patients": 7})
    other = study(cohort=base.cohort.model_copy(update={"phantom": phantom}))
    for stage in ("audit", "tables", "figures", "report", "evaluate", "train"):
        assert Parts(other).json(stage, **AXES) == Parts(base).json(stage, **AXES)
    assert Parts(other).json("cohort") != Parts(base).json("cohort")


def test_a_part_says_whether_patients_are_known() -> None:
    for known in (True, False):
        folders = {"root": "data", "labels": {}, "modalities": {}, "patients_known": known}
        cohort = {"classes": ["a", "b"], "modalities": ["bmode"], "reader": "folders", "folders": folders}
        whole = study(cohort=CohortConfig.model_validate(cohort))
        for stage in ("audit", "tables", "report"):
            assert parse_part(Parts(whole).json(stage, **AXES)).patients_known is known
