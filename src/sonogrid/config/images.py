"""The `images` section of config.yaml, and how the canvases of one modality follow from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sonogrid.config.base import Backbone, Section
from sonogrid.config.cohort import Layout


class Images(Section):
    """The canonical picture: the scan area, letterboxed on a square canvas."""

    size: int = Field(224, ge=16, le=1024, description="side of the stored canvas in pixels")
    elastography: Literal["rgb", "stiffness"] = Field(
        "rgb", description="rgb: as shown; stiffness: decoded by the colour bar to stiffness, colour box, grey below"
    )
    cdfi: Literal["rgb", "velocity"] = Field(
        "rgb", description="rgb: as shown; velocity: decoded by the colour bar to flow towards, flow away, grey"
    )
    input_size: dict[Backbone, Annotated[int, Field(ge=16, le=1024)]] = Field(
        default_factory=dict, description="backbone -> side in pixels at which it sees the canvas; default: size"
    )

    def canvas(self, modality: str, layouts: dict[str, Layout]) -> Canvas:
        """How the canvases of one modality are made."""
        channels = getattr(self, modality, "rgb")
        # A store of pictures as shown does not depend on where colour bars are.
        return Canvas(size=self.size, channels=channels, layouts={} if channels == "rgb" else layouts)


class Canvas(Section):
    """How the canvases of one modality are made."""

    size: int
    channels: Literal["rgb", "stiffness", "velocity"] = "rgb"
    layouts: dict[str, Layout] = Field(default_factory=dict)
