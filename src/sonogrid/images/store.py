"""The store of a modality: canonical pictures as one memory-mapped array, and an index of its rows."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.console import Advance, silent
from sonogrid.files import sha256, whole_file, write_csv
from sonogrid.images.boxes import Box, crop
from sonogrid.images.frame import scan_area
from sonogrid.images.geometry import Placement, letterbox
from sonogrid.pictures import Picture, in_order, open_picture
from sonogrid.problems import InputError, Problem, Problems

SCAN = ("scan_x0", "scan_y0", "scan_x1", "scan_y1")
INDEX_COLUMNS = ("row", "image_id", "patient_id", "sha256", "canvas_sha256", *SCAN, "scale", "left", "top")
_AGAIN = "Remove both files and build the store again (sonogrid images)"


@dataclass(frozen=True)
class Store:
    """Canonical pictures of a modality: N x S x S x 3 uint8, memory-mapped and read-only, and their index."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    index: pd.DataFrame


@dataclass(frozen=True)
class Canonical:
    """One picture made canonical: S x S x 3 uint8, the scan area used, and where it lies on the canvas."""

    canvas: Picture
    scan: Box
    place: Placement


def canonical(picture: Picture, size: int, scan: Box | None = None) -> Canonical:
    """Make one H x W x 3 picture canonical: scan area (detected unless given), letterboxed.

    Raises ValueError if the given scan area is not inside the picture.
    """
    area = scan_area(picture) if scan is None else scan
    canvas, place = letterbox(crop(picture, area), size)
    return Canonical(canvas, area, place)


def build(images: pd.DataFrame, size: int, npy: Path, csv: Path, advance: Advance = silent, workers: int = 1) -> None:
    """Write the store of one modality: `npy` (N x size x size x 3 uint8) and its index `csv`.

    `images` holds rows of a manifest, in the order of the store. The same images give the same bytes. Memory
    does not grow with N. Raises InputError with every picture that cannot be used, and leaves no file then.
    """
    if images.empty or images["modality"].nunique() != 1:
        raise ValueError("a store holds at least one image, and images of one modality")
    problems = Problems()
    lines: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = images.to_dict("records")  # type: ignore[assignment]
    with whole_file(npy) as temporary:
        # Written in sequence and not through a memory map: a full disk is then an error and not a crash.
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (len(rows), size, size, 3)}
            )
            results = in_order(functools.partial(_canonical_of, size=size), rows, workers)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, Canonical):
                    file.write(result.canvas.tobytes())
                    lines.append(_index_line(len(lines), row, result))
                else:
                    problems.found.append(result)
                advance()
        problems.raise_if_any()
        # An index without its array, or beside another array, must never look complete.
        csv.unlink(missing_ok=True)
    write_csv(pd.DataFrame(lines, columns=list(INDEX_COLUMNS)), csv)


def open_store(npy: Path, csv: Path) -> Store:
    """Open a store read-only, without reading its pixels.

    Raises InputError if a file is missing or damaged, or if the two do not belong together.
    """
    for path in (npy, csv):
        if not path.is_file():
            raise InputError([Problem(str(path), "is missing from the store", _AGAIN)])
    index = pd.read_csv(
        csv,
        dtype={"image_id": str, "patient_id": str, "sha256": str, "canvas_sha256": str},
        keep_default_na=False,
        converters={"scale": float},
        encoding="utf-8",
    )
    try:
        pixels = np.lib.format.open_memmap(npy, mode="r")
    except (ValueError, OSError) as error:
        raise InputError([Problem(str(npy), f"cannot be read ({error})", _AGAIN)]) from error
    problems = Problems()
    if tuple(index.columns) != INDEX_COLUMNS:
        problems.add(str(csv), f"must have the columns {', '.join(INDEX_COLUMNS)}", _AGAIN)
    elif index["row"].tolist() != list(range(len(index))):
        problems.add(str(csv), "must number its rows from 0", _AGAIN)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2:] != (pixels.shape[1], 3):
        problems.add(str(npy), f"must be uint8 N x S x S x 3, is {pixels.dtype} {pixels.shape}", _AGAIN)
    elif len(pixels) != len(index):
        problems.add(str(npy), f"holds {len(pixels)} images, its index {len(index)}", _AGAIN)
    problems.raise_if_any()
    return Store(pixels, index)


def _canonical_of(row: dict[str, Any], size: int) -> Canonical | Problem:
    path = Path(row["path"])
    try:
        picture = open_picture(path)
        if sha256(path) != row["sha256"]:
            return Problem(
                str(path), "has changed since the cohort was read", "Read the cohort again (sonogrid cohort)"
            )
        return canonical(picture, size, _told(row))
    except InputError as error:
        return error.problems[0]
    except ValueError as error:
        return Problem(f"{path} (image_id {row['image_id']!r})", str(error), "Correct scan_x0 to scan_y1")


def _told(row: dict[str, Any]) -> Box | None:
    """The scan area that the manifest tells, if it tells one."""
    if any(pd.isna(row[side]) for side in SCAN):
        return None
    return Box(*(int(row[side]) for side in SCAN))


def _index_line(number: int, row: dict[str, Any], made: Canonical) -> dict[str, Any]:
    identity = {"row": number} | {name: row[name] for name in ("image_id", "patient_id", "sha256")}
    identity["canvas_sha256"] = hashlib.sha256(made.canvas.tobytes()).hexdigest()
    return identity | dict(zip(SCAN, made.scan, strict=True)) | made.place._asdict()
