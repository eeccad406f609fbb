"""The `explain`, `statistics` and `figures` sections of config.yaml: what is made of the trained models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sonogrid.config.base import NOT_BOOLEAN, Name, Number, Section, WholeNumber, unique


class Explain(Section):
    """Grad-CAM panels: for each class, the held-out patients at these quantiles of p(true class)."""

    quantiles: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=1.0), NOT_BOOLEAN], ...], Field(min_length=1), AfterValidator(unique)
    ] = (0.5,)


class Statistics(Section):
    """Patient bootstrap."""

    resamples: WholeNumber = Field(2000, ge=200)
    confidence: Number = Field(0.95, gt=0.5, lt=1.0)
    pretraining_effect: Annotated[tuple[Name, Name], AfterValidator(unique)] | None = Field(
        None, description="[init, reference]: the paired difference of the effect table; null: no table"
    )


FigureFormat = Literal["png", "svg", "pdf"]
"""Formats of figures; each has an entry in METADATA of reporting/figures.py."""


def _with_png(formats: tuple[str, ...]) -> tuple[str, ...]:
    if "png" not in formats:
        raise ValueError("must have png, which the report shows; other formats are optional")
    return formats


class Figures(Section):
    """Files of figures and panels."""

    formats: Annotated[tuple[FigureFormat, ...], AfterValidator(unique), AfterValidator(_with_png)] = Field(
        ("png", "svg"), description="png at 200 dpi, which the report needs; the other formats are drawings"
    )
