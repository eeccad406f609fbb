"""The `splits` section of config.yaml: folds and inner parts."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sonogrid.config.base import Number, Section, WholeNumber


class OfficialFolds(Section):
    """Folds that came with the data."""

    file: Path = Field(description="CSV with one row per image")
    image_id: str = Field(description="column with the image_id of the manifest")
    fold: str = Field(description="column with the fold; any values, sorted to 0, 1, ...")


class Splits(Section):
    """Patient-level cross-validation with an inner validation part in every training fold."""

    folds: WholeNumber = Field(5, ge=2, le=10_000)
    inner_fraction: Number = Field(0.2, gt=0.0, lt=0.5, description="share of a training fold kept for epoch choice")
    official: OfficialFolds | None = Field(None, description="use these folds instead of drawing them")
