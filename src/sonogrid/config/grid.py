"""The `grid` section of config.yaml: the axes of the grid; folds are in `splits`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from sonogrid.config.base import Backbone, Modalities, Names, Section, WholeNumber, unique

Seed = Annotated[WholeNumber, Field(ge=0, lt=2**32)]


class GridConfig(Section):
    """The axes of the grid; folds are in `splits`."""

    backbones: Annotated[tuple[Backbone, ...], Field(min_length=1), AfterValidator(unique)]
    inits: Names
    modalities: Modalities
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        (0,), description="every model is trained once per seed; folds and resamples do not depend on it"
    )
