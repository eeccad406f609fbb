"""The `images` section of config.yaml, and how the canvases of one modality follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model

from sonogrid.config.base import Backbone, Section, WholeNumber
from sonogrid.config.cohort import ScreenLayout
from sonogrid.config.modalities import MEASUREMENTS, MODALITIES, Measurement


def _rgb_or(measured: Measurement) -> tuple[object, object]:
    """The type and the field of a key by which colours are decoded."""
    what = f"rgb: as shown; {measured.name}: decoded by the colour bar to {measured.channels}"
    return Literal["rgb", measured.name], Field("rgb", description=what)


if TYPE_CHECKING:
    _Decoded = Section
    Channels = str
else:
    _keys = {row.name: _rgb_or(row.measurement) for row in MODALITIES.values() if row.measurement is not None}
    _Decoded = create_model("_Decoded", __base__=Section, **_keys)
    Channels = Literal[("rgb", *MEASUREMENTS)]


class Images(_Decoded):
    """The canonical picture: the scan area, letterboxed on a square canvas."""

    size: WholeNumber = Field(224, ge=16, le=1024, description="side of the stored canvas in pixels")
    input_size: dict[Backbone, Annotated[WholeNumber, Field(ge=16, le=1024)]] = Field(
        default_factory=dict, description="backbone -> side in pixels at which it sees the canvas; default: size"
    )

    def channels(self, modality: str) -> str:
        """Return what the channels of a modality's canvases hold: rgb, or the name of a measurement."""
        return str(getattr(self, modality)) if MODALITIES[modality].measurement is not None else "rgb"

    def canvas(self, modality: str, layouts: dict[str, ScreenLayout]) -> Canvas:
        """How the canvases of one modality are made."""
        channels = self.channels(modality)
        # A store of pictures as shown does not depend on where colour bars are.
        return Canvas(size=self.size, channels=channels, layouts={} if channels == "rgb" else layouts)

    @property
    def decoded(self) -> tuple[str, ...]:
        """Modalities whose channels are measurements, not colours."""
        return tuple(modality for modality in MODALITIES if self.channels(modality) != "rgb")


class Canvas(Section):
    """How the canvases of one modality are made."""

    size: WholeNumber
    channels: Channels = "rgb"
    layouts: dict[str, ScreenLayout] = Field(default_factory=dict)
