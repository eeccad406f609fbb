"""Sources of patients and images: each reader turns one kind of source into the same manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sonogrid.cohort import folders, table
from sonogrid.cohort.manifest import Cohort, check
from sonogrid.config.cohort import CohortConfig, PhantomSource
from sonogrid.console import Advance, silent

Read = Callable[[CohortConfig, int, Path, int, Advance], Cohort]
"""Reads a cohort: its config, the seed, the folder for files the reader makes, workers, progress."""


@dataclass(frozen=True)
class Reader:
    """A kind of source: how to read it, and how many steps of progress that takes."""

    read: Read
    steps: Callable[[CohortConfig], int]


def _read_phantom(config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Cohort:
    # Imported here: only simulated studies pay for the simulator's start-up.
    from sonogrid.cohort.phantom.simulate import make_phantom

    return Cohort(*make_phantom(config, seed, folder, workers, advance))


def _read_dicom(config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Cohort:
    # Imported here: only studies on DICOM files pay for pydicom's start-up.
    from sonogrid.cohort.dicom import read

    return read(config, seed, folder, workers, advance)


def _count_dicom(config: CohortConfig) -> int:
    from sonogrid.cohort.dicom import count

    return count(config)


READERS = {
    "phantom": Reader(_read_phantom, lambda config: cast(PhantomSource, config.source).patients),
    "folders": Reader(folders.read, folders.count),
    "table": Reader(table.read, table.count),
    "dicom": Reader(_read_dicom, _count_dicom),
}


def read_cohort(config: CohortConfig, seed: int, folder: Path, workers: int = 1, advance: Advance = silent) -> Cohort:
    """Read and check the cohort that a config describes.

    Pictures that a reader makes (phantoms, merged masks) are written below `folder`; nothing else is written.
    Raises InputError with every problem of the source.
    """
    cohort = READERS[config.reader].read(config, seed, folder, workers, advance)
    check(cohort, config.classes, config.modalities)
    return cohort
