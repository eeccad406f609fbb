"""What a fit reads of its files: labels, parts of folds, canvases and their index, as they are there.

The digest in every recipe holds this code, as that of training/ (`fits/recipe.py`): a recipe has the hashes of the
files, and how they are read decides the fit too. What is wrong with a file is said where it is opened.
"""

from __future__ import annotations

import hashlib
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


def canvas_sha256(canvas: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return the SHA-256 of an S x S x 3 canvas in C order, 64 hex digits: the column canvas_sha256 of the index."""
    return hashlib.sha256(canvas.tobytes()).hexdigest()


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


def stored_texts(csv: Path) -> pd.DataFrame:
    """Return a table with every cell as text, '' where it is empty. Raise OSError and ValueError."""
    table = pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8")
    if not isinstance(table.index, pd.RangeIndex):
        # Where every row has a cell too many, pandas takes the first column for names of rows and shifts the others.
        raise ValueError("rows have more cells than the header")
    return table


def stored_labels(patients: Path) -> pd.Series[str]:
    """Return the class name of every patient of a patients.csv, by patient_id. Raise OSError, ValueError, KeyError."""
    return stored_texts(patients).set_index("patient_id")["label"]
