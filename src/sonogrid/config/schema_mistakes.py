"""What the schema of a config file finds, in plain words: key, value, what is allowed."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from sonogrid.config.augment_contract import OFFERED, why_not_offered
from sonogrid.config.base import Section
from sonogrid.config.study import Study
from sonogrid.problems import Problem

SHIPPED = "see the commented config.yaml that ships with sonogrid"


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
    key = ".".join(str(part) for part in detail["loc"])
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
    reason = detail["msg"].removeprefix("Value error, ")
    return Problem(where, f"value {detail['input']!r}: {reason}", f"Change it; {help_text}")


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
