"""What the schema of a config file finds, in plain words: key, value, what is allowed."""

from __future__ import annotations

import difflib
import functools
import math
import re
from reprlib import Repr
from typing import Any

import yaml
from pydantic import ValidationError

from sonogrid.config.augment_contract import OFFERED, why_not_offered
from sonogrid.config.base import Section
from sonogrid.config.study import Study
from sonogrid.problems import Problem

SHIPPED = "see the commented config.yaml that ships with sonogrid"
EXACT = 2.0**53
"""Whole numbers below it are exact as floats."""
SHORTENED = Repr()
"""A value may be a whole file, or lists of lists of one list: what is shown of it fits a few lines."""
SHORTENED.maxstring = SHORTENED.maxother = 100
SHORTENED.maxlist = SHORTENED.maxtuple = SHORTENED.maxdict = 8
SHORTENED.maxlevel = 3


def as_problems(
    error: ValidationError, section: type[Section] = Study, what: str = "config key", help_text: str = SHIPPED
) -> list[Problem]:
    """What pydantic found, each with its key (`what` says of which file), the value, and what is allowed."""
    details = [detail for detail in error.errors(include_url=False) if not _counts_wrong_entries(detail)]
    return list(dict.fromkeys(_as_problem(detail, section, what, help_text) for detail in details))


def _counts_wrong_entries(detail: Any) -> bool:
    """Whether a list is called too short only because pydantic leaves out its wrong entries, which are told anyway."""
    return bool(detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"])


def shown(value: Any) -> str:
    """Return a value as YAML writes it, shortened to a few lines."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return SHORTENED.repr(value)


def _as_problem(detail: Any, section: type[Section], what: str, help_text: str) -> Problem:
    # pydantic's mark of a key that is refused itself; the value is that key.
    path = [str(part) for part in detail["loc"] if part != "[key]"]
    if detail["type"] == "invalid_key":
        path[-1] = shown(detail["input"])
    where = f"{what} {'.'.join(path)}".strip()
    if detail["type"] == "extra_forbidden":
        refused = why_not_offered(str(detail["loc"][-1])) if detail["loc"][-2:-1] == ("augment",) else None
        if refused:
            return Problem(where, refused, f"Take it out; offered are {', '.join(OFFERED)}")
        known = _fields_at(section, detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return Problem(where, "is not known", f"{hint}Allowed here: {', '.join(known)}")
    if detail["type"] == "missing" and isinstance(detail["loc"][-1], int):
        return Problem(f"{what} {'.'.join(path[:-1])}", "has too few entries", f"Change it; {help_text}")
    if detail["type"] == "missing":
        return Problem(where, "is missing", f"Add it; {help_text}")
    found = f"value {shown(detail['input'])}: {in_words(detail)}"
    return Problem(where, found, f"{_nearest(detail)}Change it; {help_text}")


def in_words(detail: Any) -> str:
    """Return what a value must be, of one of pydantic's details; its own words for what is not known here."""
    value, bounds = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "tuple_type":
            alone = isinstance(value, (str, int, float)) and not isinstance(value, bool)
            return f"must be a list, as [{_clipped(str(value))}]" if alone else "must be a list"
        case "dict_type" | "model_type":
            return "must be keys with values"
        case "too_short":
            return f"must have at least {_entries(bounds['min_length'])}"
        case "too_long":
            return f"must have at most {_entries(bounds['max_length'])}"
        case "invalid_key":
            return "a key must be text; write it in quotes"
        case "string_unicode":
            return "must be text in UTF-8"
        case "int_type" | "int_from_float" | "int_parsing" | "int_parsing_size":
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


def _clipped(text: str) -> str:
    return text if len(text) <= SHORTENED.maxstring else f"{text[: SHORTENED.maxstring]}..."


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
        return f": write {int(number)}"
    if isinstance(yaml.safe_load(value.strip()), str):
        return f", and YAML reads {_clipped(value.strip())} as text: write {int(number)}"
    return f": write {int(number)} without quotes"


def _nearest(detail: Any) -> str:
    """The offer of the nearest of a few allowed values; '' where none is near."""
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    allowed = {name.lower(): name for name in re.findall(r"'([^']*)'", detail["ctx"]["expected"])}
    near = difflib.get_close_matches(detail["input"].lower(), allowed, n=1)
    return f"Did you mean {allowed[near[0]]!r}? " if near else ""


@functools.cache
def _json_schema(section: type[Section]) -> dict[str, Any]:
    """The schema of a section, which takes milliseconds to make: a file may have thousands of unknown keys."""
    return section.model_json_schema()


def _fields_at(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    """Field names of the section at a location such as ('inits', 'pretrained', 'corpus')."""
    schema = _json_schema(section)
    definitions, node = schema.get("$defs", {}), schema
    for part in location:
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = next((option for option in node.get("anyOf", ()) if "$ref" in option), node)
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
