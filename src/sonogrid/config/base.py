"""What every section of config.yaml is made of: closed sections, and the types of names, paths and modalities."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from sonogrid.config.backbone_names import check_backbone
from sonogrid.config.modalities import MODALITIES

AnyValue = TypeVar("AnyValue")


def unique(values: tuple[AnyValue, ...]) -> tuple[AnyValue, ...]:
    """Return the values; raise ValueError if one is there more than once."""
    doubles = [str(value) for value, count in Counter(values).items() if count > 1]
    if doubles:
        raise ValueError(f"named more than once: {', '.join(doubles)}")
    return values


def one_to_one(mapping: dict[AnyValue, str]) -> dict[AnyValue, str]:
    unique(tuple(mapping.values()))
    return mapping


def is_name(value: str) -> bool:
    """Return whether a word can be part of a path or a column."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value) is not None


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError("must be letters, digits, '_', '.', '-' and start with a letter or digit")
    return value


def plain_path(value: Path) -> Path:
    if any(character in "{}" or not character.isprintable() for character in str(value)):
        raise ValueError("must have no braces and no control characters")
    if str(value).startswith(("-", "~")):
        raise ValueError("must not begin with '-' or '~'")
    return value


def _not_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticKnownError("float_type")
    return value


WholeNumber = Annotated[int, Field(strict=True)]
"""Without strict, true is 1, 3.0 is 3 and '3' is 3: a mistake in a config would be a value that nobody wrote."""
NOT_BOOLEAN = BeforeValidator(_not_boolean)
"""For numbers; after the bounds in Annotated, as pydantic leaves bounds that follow it out of the JSON schema."""
Number = Annotated[float, NOT_BOOLEAN]
"""A number; not true, which pydantic takes for 1.0. Text as 1e-4, which YAML does not read as a number, is accepted."""
Name = Annotated[str, AfterValidator(_name)]
"""A word that becomes part of a path or a column: letters, digits, '_', '.', '-'."""
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(unique)]
Classes = Annotated[tuple[Name, ...], Field(min_length=2), AfterValidator(unique)]
Backbone = Annotated[str, AfterValidator(check_backbone)]
if TYPE_CHECKING:
    Modality = str
else:
    Modality = Literal[tuple(MODALITIES)]
Modalities = Annotated[tuple[Modality, ...], Field(min_length=1), AfterValidator(unique)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0), NOT_BOOLEAN]


class Section(BaseModel):
    """A closed section: a key that is not described here is a mistake, not an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)
