"""What a reader finds: pictures with what is said of them, and files that are left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonogrid.arrays import Box
from sonogrid.problems import Problem

READ_AGAIN = "Read the cohort again (snakemake --forcerun cohort; of a corpus: --forcerun corpus_cohort)"
"""Remedy for files of a cohort that are missing or damaged."""
RefusedFile = tuple[Path, Problem]
"""A file that is left out, and why."""


@dataclass(frozen=True)
class Source:
    """One picture as a reader finds it; `origin` tells a person where (a file, or a row of a table)."""

    origin: str
    image_id: str
    patient_id: str
    label: str
    modality: str
    path: Path
    masks: tuple[Path, ...] = ()
    hospital: str = "unknown"
    device: str = ""
    clinical: Mapping[str, str] = field(default_factory=dict)
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """what `Reader.decode` must know beside the file, as JSON can write it: frame, slice, range, orientation"""
    scan: Box | None = None
    """the scan area, where the source says it"""
    mm_per_pixel: tuple[float, float] | None = None
    """along x and y, where the source says it"""
    simulated: bool = False


@dataclass(frozen=True)
class Reading:
    """All that a reader found: sources, what is wrong with the data, and files that are left out."""

    sources: Sequence[Source]
    problems: Sequence[Problem] = ()
    refused: Sequence[RefusedFile] = ()
    ceiling: Mapping[str, Any] | None = None
    """the best that any reader of simulated pictures can reach"""


def decoding_text(decoding: Mapping[str, Any]) -> str:
    """Return what decides a decoding as a cell of the manifest: JSON with sorted keys, '' for nothing."""
    return json.dumps(dict(decoding), sort_keys=True, allow_nan=False) if decoding else ""


def decoding_of(text: str) -> dict[str, Any]:
    """Return what decoding_text wrote. Raise ValueError for anything else."""
    decoding = json.loads(text) if text else {}
    if not isinstance(decoding, dict):
        raise ValueError(f"decoding {text!r} is not a JSON object")
    return decoding
