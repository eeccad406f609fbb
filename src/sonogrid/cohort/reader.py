"""What a reader is: one object that finds the pictures of its kind of source and decodes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from sonogrid.arrays import Picture
from sonogrid.cohort.sources import Reading
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import ReaderSection
from sonogrid.console import Advance
from sonogrid.imports import file_of
from sonogrid.problems import InputError, Problem


class Decoder(ABC):
    """Turns a file into pixels; a canvas depends on its code and packages only where it decodes the picture."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """distributions whose versions decide the pixels, those of base classes among them; one that is not installed is
    asked for when it is needed"""
    modules: ClassVar[tuple[str, ...]] = ()
    """modules that decide the pixels and are reached by no import from those of the class and its bases"""

    @property
    def decoder(self) -> str:
        """Name in the column `decoder` of a manifest: its own, unless several share one."""
        return self.name

    @abstractmethod
    def decode(self, path: Path, decoding: Mapping[str, Any]) -> Picture:
        """Return the picture of a file, H x W x 3; `decoding` is that of its source.

        Raise InputError with one Problem, which names the file, if it cannot be decoded.
        """

    def decoding_mistake(self, decoding: Mapping[str, Any]) -> str:
        """Return what the `decoding` in a row of a manifest must be and is not, '' if `decode` can use it."""
        return ""

    def versions(self) -> tuple[str, ...]:
        """Return name and version of every package. Raise InputError with how to install those that are missing."""
        found, missing = [], []
        for package in self.packages:
            try:
                found.append(f"{package} {version(package)}")
            except PackageNotFoundError:
                missing.append(package)
        if missing:
            what = f"needs {', '.join(missing)}, which sonogrid does not install by itself"
            raise InputError([Problem(f"reader {self.name}", what, f"Install: pip install {' '.join(missing)}")])
        return tuple(found)

    def code(self) -> tuple[str, ...]:
        """Return the modules from which the code that decides the pixels is reached.

        They are those of the class and of all its bases, because `decode` may call a method that any of them defines.
        Left out are classes that define nothing besides how files are found (FINDING), and those of installed packages.
        """
        bases = [base for base in type(self).__mro__ if base.__module__ != __name__]
        own = [base.__module__ for base in bases if not _only_finds(base) and file_of(base.__module__) is not None]
        return tuple(dict.fromkeys([*own, *(module for base in bases for module in vars(base).get("modules", ()))]))


class Reader(Decoder):
    """A kind of source; `name` is its key in config.yaml and in both registries."""

    name: ClassVar[str]
    section: ClassVar[type[ReaderSection]]
    """its section of config.yaml, which holds what is checked before anything runs, and the files that are watched"""
    leaves_out_unreadable: ClassVar[bool] = False
    """whether a file that cannot be decoded is left out and listed; else it is a problem that stops"""

    @abstractmethod
    def steps(self, config: CohortConfig) -> int:
        """Return how many units of progress reading and looking take at most."""

    @abstractmethod
    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        """Find the pictures; those that the reader makes go below `folder`. Raise InputError if it cannot begin."""


FINDING = ("name", "section", "leaves_out_unreadable", "steps", "read", "decoding_mistake")
"""What a class may define of a reader without deciding a pixel: where a mistake is told, there is no canvas."""


class _Empty(Decoder):
    """A class that defines nothing: it has what Python itself notes of a class."""

    name: ClassVar[str]


def _only_finds(kind: type) -> bool:
    return vars(kind).keys() <= {*FINDING, *vars(_Empty)}
