"""What a fit reads of its files: labels, parts of folds, canvases and their index, as they are there.

The digest in every recipe holds this code, as that of training/ (`fits/recipe.py`): a recipe has the hashes of the
files, and how they are read decides the fit too. What is wrong with a file is said where it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Store:
    """Canonical pictures of a modality: N x S x S x 3 uint8, memory-mapped and read-only, and their index."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    index: pd.DataFrame


def stored_pixels(npy: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of a store, memory-mapped and read-only. Raise OSError and ValueError."""
    return np.lib.format.open_memmap(npy, mode="r")


def stored_index(csv: Path) -> pd.DataFrame:
    """Return the index of a store, ids and hashes as text. Raise OSError and ValueError."""
    return pd.read_csv(
        csv,
        dtype={"image_id": str, "patient_id": str, "sha256": str, "canvas_sha256": str},
        keep_default_na=False,
        converters={"scale_x": float, "scale_y": float},
        encoding="utf-8",
    )


def stored_parts(splits: Path) -> pd.DataFrame:
    """Return splits.csv, ids and parts as text. Raise OSError and ValueError."""
    return pd.read_csv(splits, dtype={"patient_id": str, "part": str}, keep_default_na=False, encoding="utf-8")


def stored_labels(patients: Path) -> pd.Series[str]:
    """Return the class name of every patient of a patients.csv, by patient_id. Raise OSError, ValueError, KeyError."""
    table = pd.read_csv(patients, dtype=str, keep_default_na=False)
    return table.set_index("patient_id")["label"]
