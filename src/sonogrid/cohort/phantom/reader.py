"""The reader that simulates its cohort."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

from sonogrid.cohort.phantom.simulate import MOST_IMAGES, simulate
from sonogrid.cohort.picture_files import PictureDecoder
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.sources import Reading
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import PhantomSource
from sonogrid.console import Advance


class PhantomReader(PictureDecoder, Reader):
    """Draws its patients and their pictures."""

    name: ClassVar[str] = "phantom"
    section: ClassVar[type[PhantomSource]] = PhantomSource

    def steps(self, config: CohortConfig) -> int:
        """Return the number of patients, and of images if every patient had as many as there can be."""
        return cast(PhantomSource, config.source).patients * (1 + MOST_IMAGES * len(config.modalities))

    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        """Simulate the cohort."""
        return simulate(config, seed, folder, workers, advance)
