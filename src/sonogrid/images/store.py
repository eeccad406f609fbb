"""The store of a modality: canonical pictures as one memory-mapped array, and an index of its rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sonogrid.arrays import Picture
from sonogrid.cohort.registry import decoder_of
from sonogrid.cohort.sources import READ_AGAIN, decoding_of
from sonogrid.config.images import Canvas
from sonogrid.config.modalities import MODALITIES
from sonogrid.console import Advance, silent
from sonogrid.files import digest, sha256, whole_file, write_csv
from sonogrid.images.boxes import boxes_from_text
from sonogrid.images.canvas import Canonical, canvas_of, pixel_aspect, place_of
from sonogrid.images.code import CANVAS, deciding_code
from sonogrid.images.framing import SCAN, framing_columns, framing_of, layout_of
from sonogrid.images.messages import NoCanvas, no_length
from sonogrid.layout import made_beside
from sonogrid.parallel import in_order
from sonogrid.problems import InputError, Problem, Problems
from sonogrid.stored import Store, canvas_sha256, stored_index, stored_pixels

INDEX_COLUMNS = (
    *("row", "image_id", "patient_id", "sha256", "canvas_sha256", *SCAN),
    *("scale_x", "scale_y", "left", "top"),
)
MADE_COLUMNS = ("recipe_sha256", "canvas_sha256")
_AGAIN = "Remove both files and build the store again (sonogrid images)"


Earlier = Mapping[str, tuple[Picture, str]]
"""By recipe: a canvas of an earlier store, memory-mapped, and the SHA-256 that it must have."""


class Made(NamedTuple):
    """A canvas, and whether it is that of an earlier store."""

    canonical: Canonical
    reused: bool = False


def build(images: pd.DataFrame, how: Canvas, npy: Path, csv: Path, advance: Advance = silent, workers: int = 1) -> int:
    """Write the store of one modality, `npy` (N x size x size x 3 uint8) and its index `csv`; return how many are new.

    `images` holds rows of a manifest, in the order of the store. The same images give the same bytes; canvases that
    an earlier store holds, and whose pictures and settings are the same, are taken from there. Memory does not grow
    with N. Raises InputError with every picture that cannot be used, and leaves no new file then.
    """
    if images.empty or images["modality"].nunique() != 1:
        raise ValueError("a store holds at least one image, and images of one modality")
    for decoder in sorted(set(images["decoder"])):
        decoder_of(decoder).versions()
    problems = Problems()
    lines: list[dict[str, Any]] = []
    recipes: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = images.to_dict("records")  # type: ignore[assignment]
    made_before = _earlier(npy, csv, how.size)
    new = 0
    with whole_file(npy) as temporary:
        # Written in sequence and not through a memory map: a full disk is then an error and not a crash.
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (len(rows), how.size, how.size, 3)}
            )
            results = in_order(functools.partial(_canvas_of, how=how, earlier=made_before), rows, workers)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, Problem):
                    problems.found.append(result)
                else:
                    file.write(result.canonical.canvas.tobytes())
                    lines.append(_index_line(len(lines), row, result.canonical))
                    recipes.append((_recipe(row, how), lines[-1]["canvas_sha256"]))
                    new += not result.reused
                advance()
        problems.raise_if_any()
        # An index without its array, or beside another array, must never look complete.
        csv.unlink(missing_ok=True)
    write_csv(pd.DataFrame(recipes, columns=list(MADE_COLUMNS)), made_beside(csv))
    write_csv(pd.DataFrame(lines, columns=list(INDEX_COLUMNS)), csv)
    return new


def _earlier(npy: Path, csv: Path, size: int) -> Earlier:
    """Canvases of an earlier store by recipe; none where it is missing, damaged or of another size."""
    try:
        store = open_store(npy, csv)
        made = pd.read_csv(made_beside(csv), dtype=str, keep_default_na=False)
        pairs = list(zip(made["recipe_sha256"], made["canvas_sha256"], strict=True))
    except (InputError, OSError, ValueError, KeyError):
        return {}
    if store.pixels.shape[1] != size or len(pairs) != len(store.index):
        return {}
    return {recipe: (store.pixels[row], known) for row, (recipe, known) in enumerate(pairs)}


def canvas_recipe(row: Mapping[str, Any], how: Canvas) -> dict[str, Any]:
    """Return all that decides the canvas of a row of a manifest."""
    layout = layout_of(row["device"], how.layouts)
    return {
        "sha256": row["sha256"],
        "decoder": row["decoder"],
        "decoding": decoding_of(row["decoding"]),
        "framing": framing_columns(framing_of(row)),
        "pixel_aspect": pixel_aspect(row),
        "modality": MODALITIES[row["modality"]].pixel_facts,
        "size": how.size,
        "channels": how.channels,
        "layout": None if layout is None else [layout.colour_bar, layout.high_end],
        "code": deciding_code(CANVAS, row["decoder"]),
    }


def _recipe(row: Mapping[str, Any], how: Canvas) -> str:
    return digest(**canvas_recipe(row, how))


def open_store(npy: Path, csv: Path) -> Store:
    """Open a store read-only, without reading its pixels.

    Raises InputError if a file is missing or damaged, or if the two do not belong together.
    """
    for path in (npy, csv):
        if not path.is_file():
            raise InputError([Problem(str(path), "is missing from the store", _AGAIN)])
    index = stored_index(csv)
    try:
        pixels = stored_pixels(npy)
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


def _canvas_of(row: dict[str, Any], how: Canvas, earlier: Earlier) -> Made | Problem:
    path = Path(row["path"])
    where = f"{path} (image_id {row['image_id']!r})"
    try:
        if not path.is_file() or sha256(path) != row["sha256"]:
            state = "has changed since the cohort was read" if path.is_file() else "is gone since the cohort was read"
            return Problem(str(path), state, READ_AGAIN)
        wrong = next(_wrong_columns(row), None)
        if wrong is not None:
            column, must = wrong
            return Problem(f"{where}, column {column} of the manifest", must, READ_AGAIN)
        known, known_sha256 = earlier.get(_recipe(row, how), (None, ""))
        if known is not None and canvas_sha256(known) == known_sha256:
            return Made(Canonical(np.array(known), place_of(row, how)), reused=True)
        return Made(canvas_of(row, how))
    except InputError as error:
        return error.problems[0]
    except NoCanvas as error:
        return Problem(where, str(error), error.remedy)
    except ZeroDivisionError:
        flat = no_length(row["mm_per_pixel_x"], row["mm_per_pixel_y"])
        return Problem(where, str(flat), flat.remedy)
    except ValueError as error:
        return Problem(where, str(error), READ_AGAIN)


def _wrong_columns(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the columns of a row whose text cannot be read, and what they must be; numbers are cohort.manifest's."""
    yield from ((side, "must be a whole number of pixels, and is empty") for side in SCAN if pd.isna(row[side]))
    try:
        boxes_from_text(row["masked"])
    except ValueError:
        yield "masked", "must be boxes 'x0 y0 x1 y1; x0 y0 x1 y1', or empty"
    try:
        mistake = decoder_of(row["decoder"]).decoding_mistake(decoding_of(row["decoding"]))
    except ValueError:
        mistake = "must be a JSON object, or empty"
    if mistake:
        yield "decoding", mistake


def _index_line(number: int, row: dict[str, Any], made: Canonical) -> dict[str, Any]:
    identity = {"row": number} | {name: row[name] for name in ("image_id", "patient_id", "sha256")}
    identity["canvas_sha256"] = canvas_sha256(made.canvas)
    return identity | dict(zip(SCAN, framing_of(row).scan, strict=True)) | made.place._asdict()
