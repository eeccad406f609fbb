"""The `inits` section of config.yaml: where first weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from sonogrid.config.base import Backbone, Section
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.training import Training


class Init(Section):
    """Where a model's first weights come from."""

    source: Literal["random", "corpus", "timm"]
    corpus: CohortConfig | None = Field(None, description="source corpus: what to pre-train on")
    training: Training | None = Field(None, description="source corpus: how to pre-train")
    files: dict[Backbone, Path] = Field(
        default_factory=dict,
        description="source timm: backbone -> local weights file; a backbone not named comes from the hub",
    )
