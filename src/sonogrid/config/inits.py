"""The `inits` section of config.yaml: where first weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sonogrid.config.base import Backbone, Name, Section
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.training import Training

COHORT = "study"
"""The name by which the study's own cohort has its random numbers; a corpus has them by the name of its init."""


def _not_the_cohort(name: str) -> str:
    if name == COHORT:
        raise ValueError(
            "is reserved: the study's own cohort draws its random numbers by this name, so a simulated corpus of that "
            "name could be pre-trained on the patients of the cohort"
        )
    return name


InitName = Annotated[Name, AfterValidator(_not_the_cohort)]


class Init(Section):
    """Where a model's first weights come from."""

    source: Literal["random", "corpus", "timm"]
    corpus: CohortConfig | None = Field(None, description="source corpus: what to pre-train on")
    training: Training | None = Field(None, description="source corpus: how to pre-train")
    files: dict[Backbone, Path] = Field(
        default_factory=dict,
        description="source timm: backbone -> local weights file; a backbone not named comes from the hub",
    )
