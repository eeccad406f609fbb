"""The `training` section of config.yaml: how one model is fitted, random transforms included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationInfo, ValidatorFunctionWrapHandler, field_validator

from sonogrid.config.augment_contract import check_strengths
from sonogrid.config.base import NOT_BOOLEAN, Fraction, Modality, Number, Section, WholeNumber

Strength = TypeVar("Strength")
ByModality: TypeAlias = Strength | dict[Modality, Strength]
"""One number for every modality for which it is legal, or modality -> number, with 0 for those left out."""


class Augment(Section):
    """Strengths of the random transforms; what is legal for which modality, and why: augment_contract.py."""

    horizontal_flip: ByModality[Annotated[float, Field(ge=0.0, le=1.0), NOT_BOOLEAN]] = Field(
        0.5, description="probability"
    )
    shift: ByModality[Annotated[float, Field(ge=0.0, le=0.2), NOT_BOOLEAN]] = Field(
        0.05, description="largest shift, share of the canvas"
    )
    zoom: ByModality[Annotated[float, Field(ge=0.0, le=0.3), NOT_BOOLEAN]] = Field(
        0.1, description="largest change of scale, in or out"
    )
    rotate: ByModality[Annotated[float, Field(ge=0.0, le=15.0), NOT_BOOLEAN]] = Field(
        5.0, description="largest rotation in degrees"
    )
    gain: ByModality[Annotated[float, Field(ge=0.0, le=0.5), NOT_BOOLEAN]] = Field(
        0.15, description="largest change of brightness and contrast (B-mode only)"
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _legal(cls, value: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Check a number as a number and a mapping as a mapping: a union would tell what is wrong with it as either."""
        transform = str(info.field_name)
        number, mapping = get_args(cls.model_fields[transform].annotation)
        meant = mapping if isinstance(value, Mapping) else number
        told = TypeAdapter(meant, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
        if isinstance(told, dict):
            check_strengths(transform, told)
        return told


class Training(Section):
    """How one model is fitted."""

    epochs: WholeNumber = Field(ge=1, description="upper limit; patience may end earlier")
    patience: WholeNumber = Field(ge=1, description="epochs without a better inner log loss before stopping")
    batch_size: WholeNumber = Field(ge=2)
    learning_rate: Number = Field(gt=0.0, description="peak of the cosine schedule (AdamW)")
    weight_decay: Number = Field(0.05, ge=0.0)
    warmup_epochs: WholeNumber = Field(1, ge=0)
    label_smoothing: Fraction = 0.0
    mixed_precision: bool = Field(True, description="bfloat16 where the device computes in it")
    augment: Augment = Augment()
