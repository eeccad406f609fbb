"""What the schema of a config file finds, in plain words: key, value, what is allowed."""

from __future__ import annotations

import difflib
import re
from typing import Any

from pydantic import ValidationError

from sonogrid.config.augment_contract import OFFERED, why_not_offered
from sonogrid.config.base import Section
from sonogrid.config.study import Study
from sonogrid.problems import Problem

SHIPPED = "see the commented config.yaml that ships with sonogrid"
EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""


def as_problems(
    error: ValidationError, section: type[Section] = Study, what: str = "config key", help_text: str = SHIPPED
) -> list[Problem]:
    """What pydantic found, each with its key (`what` says of which file), the value, and what is allowed."""
    details = error.errors(include_url=False)
    parents = {detail["loc"][:-1] for detail in details}
    # A list of wrong entries counts as too short as well, which says nothing new.
    told = [one for one in details if one["type"] != "too_short" or one["loc"] not in parents]
    return [_as_problem(one, section, what, help_text) for one in told]


def _as_problem(detail: Any, section: type[Section], what: str, help_text: str) -> Problem:
    # pydantic's mark of a key that is refused itself; the value is that key.
    key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    where = f"{what} {key}".strip()
    if detail["type"] == "extra_forbidden":
        refused = why_not_offered(str(detail["loc"][-1])) if detail["loc"][-2:-1] == ("augment",) else None
        if refused:
            return Problem(where, refused, f"Take it out; offered are {', '.join(OFFERED)}")
        known = _fields_at(section, detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return Problem(where, "is not known", f"{hint}Allowed here: {', '.join(known)}")
    if detail["type"] == "missing":
        return Problem(where, "is missing", f"Add it; {help_text}")
    what = f"value {detail['input']!r}: {in_words(detail)}"
    return Problem(where, what, f"{_nearest(detail)}Change it; {help_text}")


def in_words(detail: Any) -> str:
    """Return what a value must be, of one of pydantic's details; its own words for what is not known here."""
    value, bounds = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "tuple_type" | "list_type":
            return "must be a list" if value is None or isinstance(value, dict) else f"must be a list, as [{value}]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be keys with values"
        case "too_short":
            return f"must have at least {_entries(bounds['min_length'])}"
        case "too_long":
            return f"must have at most {_entries(bounds['max_length'])}"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number{_as_number(value)}"
        case "float_type" | "float_parsing":
            return "must be a number"
        case "finite_number":
            return "must be a finite number"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "string_type":
            return "must be text" + ("; write it in quotes" if isinstance(value, (bool, int, float)) else "")
        case "path_type":
            return "must be a path"
        case "greater_than_equal":
            return f"must be at least {bounds['ge']}"
        case "greater_than":
            return f"must be above {bounds['gt']}"
        case "less_than_equal":
            return f"must be at most {bounds['le']}"
        case "less_than":
            return f"must be below {bounds['lt']}"
        case "literal_error":
            return f"must be {bounds['expected']}"
    return str(detail["msg"]).removeprefix("Value error, ")


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


def _as_number(value: Any) -> str:
    """What to write instead of 3.0, or of a text that means a whole number, as 1e3 and '1' are texts to YAML; or ''."""
    if isinstance(value, bool) or not isinstance(value, (str, float)):
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not number.is_integer() or abs(number) >= EXACT:
        return ""
    if isinstance(value, float):
        return f": write {number:.0f}"
    if value.isdecimal():
        return f": write {value} without quotes"
    return f", and YAML reads {value} as text: write {number:.0f}"


def _nearest(detail: Any) -> str:
    """The offer of the nearest of a few allowed values; '' where none is near."""
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    near = difflib.get_close_matches(detail["input"], re.findall(r"'([^']*)'", detail["ctx"]["expected"]), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def _fields_at(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a location such as ('inits', 'pretrained', 'corpus')."""
    schema: dict[str, Any] = section.model_json_schema()
    definitions, node = schema.get("$defs", {}), schema
    for part in location:
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = next((option for option in node.get("anyOf", ()) if "$ref" in option), node)
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
