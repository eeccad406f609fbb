"""The `audit` section of config.yaml: findings that are known and accepted."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from sonogrid.config.base import Section, unique


def _finding(text: str) -> str:
    if not re.fullmatch(r"[a-z_]+(-[0-9a-f]{12})?", text):
        raise ValueError(
            "must be the name of a finding, as same_file_two_labels-0123456789ab, or of a kind of findings"
        )
    return text


class Audit(Section):
    """What `sonogrid audit` may find without stopping the workflow."""

    accept: Annotated[tuple[Annotated[str, AfterValidator(_finding)], ...], AfterValidator(unique)] = Field(
        (), description="names of findings, or of kinds of findings, that are known and accepted"
    )
