"""Laws of all numbers in a config: each is refused or accepted by what was written, not by what Python makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from sonogrid.config.schema_mistakes import as_problems, shown
from sonogrid.config.study import Study, json_schema

SCHEMA = json_schema()
NAME = "resnet18"
"""A key of any mapping by name: of inits, devices, backbones."""
Route = tuple[str | int, ...]
"""Keys from the top of a config to a value; an integer is a place in a list."""


def numbers(node: dict[str, Any], route: Route = ()) -> Iterator[tuple[Route, str]]:
    """Every place where the schema allows a number, and which."""
    if "$ref" in node:
        node = SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]]
    if node.get("type") in ("integer", "number"):
        yield route, node["type"]
    for option in node.get("anyOf", ()):
        yield from numbers(option, route)
    for key, below in node.get("properties", {}).items():
        yield from numbers(below, (*route, key))
    if isinstance(node.get("additionalProperties"), dict):
        key = node.get("propertyNames", {}).get("enum", [NAME])[0]
        yield from numbers(node["additionalProperties"], (*route, key))
    for place, below in enumerate(node.get("prefixItems", ())):
        yield from numbers(below, (*route, place))
    if isinstance(node.get("items"), dict):
        yield from numbers(node["items"], (*route, 0))


KINDS = dict(numbers(SCHEMA))
WHOLE = [route for route, kind in KINDS.items() if kind == "integer"]
REAL = [route for route, kind in KINDS.items() if kind == "number"]


def dotted(route: Route) -> str:
    return ".".join(map(str, route))


def said(route: Route, value: Any) -> list[str]:
    """What is said about a value at one place; what the rest of the config lacks is left out."""
    raw = value
    for part in reversed(route):
        # The places of a box before this one; those after it are missing.
        raw = {part: raw} if isinstance(part, str) else [1] * part + [raw]
    try:
        Study.model_validate(raw)
    except ValidationError as error:
        start = f"config key {dotted(route)}: value {shown(value)}: "
        return [text.removeprefix(start) for text in map(str, as_problems(error)) if text.startswith(start)]
    raise AssertionError("a config of one key is no study")


def test_numbers_of_every_depth_are_found() -> None:
    known = ("seed", "training.epochs", f"inits.{NAME}.training.epochs", f"images.input_size.{NAME}", "grid.seeds.0")
    assert {*known, f"cohort.layouts.{NAME}.scan.3", f"inits.{NAME}.corpus.dicom.frames"} <= set(map(dotted, WHOLE))
    known = ("training.learning_rate", "explain.quantiles.0", "training.augment.shift", "training.augment.shift.bmode")
    assert {*known, f"cohort.layouts.{NAME}.at", "splits.inner_fraction"} <= set(map(dotted, REAL))


@pytest.mark.parametrize("value", [True, False, 3.5, 3.0, "3", "three", [3]], ids=repr)
@pytest.mark.parametrize("route", WHOLE, ids=dotted)
def test_whole_number_is_nothing_else(route: Route, value: Any) -> None:
    (text,) = said(route, value)
    assert text.startswith("must be a whole number")


@pytest.mark.parametrize("value", [True, False], ids=repr)
@pytest.mark.parametrize("route", REAL, ids=dotted)
def test_number_is_no_boolean(route: Route, value: bool) -> None:
    (text,) = said(route, value)
    assert text.startswith("must be a number")


@pytest.mark.parametrize("route", KINDS, ids=dotted)
def test_integer_is_a_number_of_both_kinds(route: Route) -> None:
    """Bounds may refuse 0 or 1; that they are integers is never the reason."""
    assert all("number" not in text for value in (0, 1) for text in said(route, value))


@pytest.mark.parametrize("route", REAL, ids=dotted)
def test_number_that_yaml_reads_as_text_is_the_number(route: Route) -> None:
    assert said(route, "1e-4") == said(route, 1e-4)
