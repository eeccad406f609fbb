"""The words for what the schema of a config file refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field, ValidationError

from sonogrid.config.base import Section
from sonogrid.config.schema_mistakes import as_problems, shown


class Small(Section):
    """Every kind of value that a config has."""

    whole: Annotated[int, Field(ge=1, le=9)] = 1
    strict: Annotated[int, Field(strict=True)] = 1
    number: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.1
    word: str = "a"
    kind: Literal["phantom", "folders"] = "phantom"
    switch: bool = True
    some: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    many: Annotated[tuple[int, ...], Field(min_length=2, max_length=3)] = (1, 2)
    named: dict[str, int] = Field(default_factory=dict)
    file: Path = Path("a")
    below: Section = Section()


def told(text: str) -> str:
    """What is said about one line of YAML."""
    with pytest.raises(ValidationError) as caught:
        Small.model_validate(yaml.safe_load(text))
    (problem,) = as_problems(caught.value, Small, "key", "see the file")
    return str(problem)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("whole: 0", "must be at least 1"),
        ("whole: 10", "must be at most 9"),
        ("whole: many", "must be a whole number"),
        ("whole: 1.5", "must be a whole number"),
        ("whole: '1.5'", "must be a whole number"),
        ("whole: 1e0", "must be a whole number, and YAML reads 1e0 as text: write 1"),
        ("whole: 2E+3", "must be a whole number, and YAML reads 2E+3 as text: write 2000"),
        ("whole: 1e99", "must be a whole number"),
        ("whole: 1e999", "must be a whole number"),
        ("whole: nan", "must be a whole number"),
        ("strict: '7'", "must be a whole number: write 7 without quotes"),
        ("strict: yes", "must be a whole number"),
        ("strict: '-1'", "must be a whole number: write -1 without quotes"),
        ("strict: '+1'", "must be a whole number: write 1 without quotes"),
        ("strict: '-0'", "must be a whole number: write 0 without quotes"),
        ("strict: '2.0'", "must be a whole number: write 2 without quotes"),
        ("strict: '1_000'", "must be a whole number: write 1000 without quotes"),
        ("strict: １２", "must be a whole number, and YAML reads １２ as text: write 12"),
        ("strict: 3.0", "must be a whole number: write 3"),
        ("strict: 3.5", "must be a whole number"),
        ("strict: .inf", "must be a whole number"),
        ("number: fast", "must be a number"),
        ("number: 0", "must be above 0.0"),
        ("number: 0.5", "must be below 0.5"),
        ("number: .inf", "must be a finite number"),
        ("word: no", "must be text; write it in quotes"),
        ("word: [a]", "must be text"),
        ("switch: sometimes", "must be true or false"),
        ("switch: [1]", "must be true or false"),
        ("some: 3", "must be a list, as [3]"),
        ("some: yes", "must be a list"),
        ("some: {a: 1}", "must be a list"),
        ("some: null", "must be a list"),
        ("some: []", "must have at least 1 entry"),
        ("many: [1]", "must have at least 2 entries"),
        ("many: [1, 2, 3, 4]", "must have at most 3 entries"),
        ("named: 3", "must be keys with values"),
        ("below: 3", "must be keys with values"),
        ("file: 3", "must be a path"),
    ],
)
def test_value_is_refused_in_plain_words(text: str, words: str) -> None:
    key, value = next(iter(yaml.safe_load(text).items()))
    assert told(text) == f"key {key}: value {shown(value)}: {words}. Change it; see the file."


@pytest.mark.parametrize(
    ("value", "offer"),
    [
        ("fantom", "Did you mean 'phantom'? "),
        ("folder", "Did you mean 'folders'? "),
        ("PHANTOM", "Did you mean 'phantom'? "),
        ("x", ""),
    ],
)
def test_nearest_of_a_few_allowed_values_is_offered(value: str, offer: str) -> None:
    assert told(f"kind: {value}") == (
        f"key kind: value {value!r}: must be 'phantom' or 'folders'. {offer}Change it; see the file."
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "null"), (True, "true"), (False, "false"), (float("nan"), ".nan"), (float("-inf"), "-.inf")),
        *((1.5, "1.5"), ("a", "'a'"), ([1, 2], "[1, 2]"), ("1e3", "'1e3'")),
    ],
)
def test_a_value_is_shown_as_yaml_writes_it(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_large_value_is_shown_shortened() -> None:
    nested: object = "x" * 1000
    for _ in range(12):
        nested = [nested] * 9
    for value in ("a" * 100_000, list(range(100_000)), nested):
        assert len(shown(value)) < 5_000


@pytest.mark.parametrize("key", ["1", "null", "true", "2020-01-01"])
def test_a_key_that_is_no_text_is_told(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Small.model_validate(yaml.safe_load(f"{key}: 2"))
    (problem,) = as_problems(caught.value, Small, "key", "see the file")
    assert "a key must be text; write it in quotes" in str(problem) and "None" not in str(problem)


def test_a_list_that_is_too_short_and_has_a_wrong_entry_is_told_both() -> None:
    with pytest.raises(ValidationError) as caught:
        Small.model_validate({"many": ["a"]})
    whats = [problem.what for problem in as_problems(caught.value, Small, "key", "see the file")]
    assert whats == ["value 'a': must be a whole number", "value ['a']: must have at least 2 entries"]
