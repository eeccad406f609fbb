"""Reader of a CSV with one row per image, and of CSV files of other people in general.

Cells are stripped of outer white space. Rows are numbered as a person sees them: the header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar, cast

from sonogrid.cohort.manifest import MEASURED_COLUMNS, PATIENT_COLUMNS, gaps, normal, some, writable
from sonogrid.cohort.picture_files import PictureDecoder
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.sources import Reading, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import TableColumns, TableSource
from sonogrid.console import Advance
from sonogrid.dicom.spacing import MM_RANGE, is_spacing
from sonogrid.problems import InputError, Problem, Problems

KEY = "table"
"""Config key of this reader, below `cohort` or the `corpus` of an init."""
_SAVE_AS = "Save it as 'CSV UTF-8 (comma delimited)'"
_FIELD = re.compile(r"\{([^{}]*)\}")

Cells = dict[str, str]


class TableReader(PictureDecoder, Reader):
    """A CSV with one row per image.

    Without a column for image_id, it is the picture's path as the table gives it, without its suffix.
    An empty hospital is `unknown`.
    """

    name: ClassVar[str] = "table"
    section: ClassVar[type[TableSource]] = TableSource

    def steps(self, config: CohortConfig) -> int:
        """Return the number of rows of the table."""
        return len(read_rows(cast(TableSource, config.source).file))

    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        """Find the picture of every row of the config's classes and modalities."""
        table = cast(TableSource, config.source)
        problems = Problems()
        rows = read_rows(table.file)
        _check_mappings(table, problems)
        require_columns(table.file, rows, _needed(table) | set(_optional(table)), problems)
        problems.raise_if_any()
        sources = _sources(table, rows, config, problems)
        found = {(source.label, source.modality) for source in sources}
        return Reading(sources, [*problems.found, *gaps(found, config.classes, config.modalities)])


def read_rows(file: Path) -> dict[int, Cells]:
    """Read a CSV as text: row number -> column -> value. Empty rows are left out.

    UTF-8 with or without a byte order mark, any line ends, comma separated. Raises InputError if it is not
    UTF-8, is not a well-formed CSV, names a column twice, or has no rows.
    """
    text = _decode(file)
    problems = Problems()
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InputError([Problem(str(file), f"is not a well-formed CSV ({error})", _SAVE_AS)]) from error
    header = [normal(name) for name in lines[0]] if lines else []
    doubles = sorted({name for name in header if header.count(name) > 1})
    if doubles:
        problems.add(f"{file}, row 1", f"names columns twice: {some(map(repr, doubles))}", "Rename them")
    rows: dict[int, Cells] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.add(
                f"{file}, row {number}",
                f"has {len(cells)} cells, the header has {len(header)}",
                "Put quotes around a cell with a comma, or complete the row",
            )
            continue
        rows[number] = dict(zip(header, map(normal, cells), strict=True))
    if not rows and not problems.found:
        problems.add(str(file), "has no rows", "Write a header and one row per image")
    problems.raise_if_any()
    return rows


def require_columns(file: Path, rows: Mapping[int, Cells], needed: Iterable[str], problems: Problems) -> None:
    """Note every needed column that the rows lack, with the columns that are there and the nearest one."""
    present = list(next(iter(rows.values())))
    for name in sorted(set(needed) - set(present)):
        near = difflib.get_close_matches(name, present, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        other = next((mark for mark in ";\t" if len(present) == 1 and mark in present[0]), "")
        if other:
            hint = f"It seems to be separated by {other!r}: save it with commas. "
        problems.add(f"{file}, row 1", f"there is no column {name!r}", f"{hint}Its columns: {', '.join(present)}")


def _decode(file: Path) -> str:
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError([Problem(str(file), "is UTF-16 text and not UTF-8", _SAVE_AS)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Relative to the decoder's input, which has no byte order mark.
        start = error.start + len(content) - len(error.object)
        row = len(re.findall(rb"\r\n|\r|\n", content[:start])) + 1
        what = f"is not UTF-8 (byte {content[start]:#04x} at position {start})"
        raise InputError([Problem(f"{file}, row {row}", what, _SAVE_AS)]) from error


def _needed(table: TableSource) -> set[str]:
    """Columns in which a cell must not be empty."""
    columns = table.columns
    named = {columns.patient_id, columns.label, columns.image_id, columns.modality}
    return {name for name in named if name is not None} | set(_FIELD.findall(table.image))


def _optional(table: TableSource) -> list[str]:
    """Columns in which a cell may be empty; an empty cell of the mask path means that there is no mask."""
    columns = table.columns
    lengths = (columns.mm_per_pixel_x, columns.mm_per_pixel_y)
    others = (columns.hospital, columns.device, *lengths, *table.clinical, *_FIELD.findall(table.mask))
    return [name for name in others if name is not None]


def _check_mappings(table: TableSource, problems: Problems) -> None:
    for key, template in (("image", table.image), ("mask", table.mask)):
        if "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
            problems.add(f"config key {KEY}.{key}", f"{template!r} has a brace without its partner", "Write {Column}")
    if table.columns.modality is None and len(table.modalities) != 1:
        problems.add(
            f"config key {KEY}.modalities",
            "has several entries although no column says the modality",
            f"Leave one, or name the column under {KEY}.columns.modality",
        )
    for mapping, values in (("labels", table.labels.values()), ("modalities", table.modalities.values())):
        if len(set(values)) < len(values):
            problems.add(f"config key {KEY}.{mapping}", "gives one value two meanings", "Give each its own value")
    for name in sorted(set(table.clinical) & {*PATIENT_COLUMNS, *MEASURED_COLUMNS}):
        problems.add(f"config key {KEY}.clinical", f"{name!r} is a column of patients.csv", "Rename the column")


def _sources(table: TableSource, rows: Mapping[int, Cells], config: CohortConfig, problems: Problems) -> list[Source]:
    """Every row of the config's classes and modalities; rows with a problem are left out and noted."""
    found: list[Source] = []
    unknown: dict[tuple[str, str], list[int]] = {}
    labels = {normal(value): label for label, value in table.labels.items()}
    modalities: dict[str, str] = {normal(value): modality for modality, value in table.modalities.items()}
    needed = sorted(_needed(table))
    for number, row in rows.items():
        where = f"{table.file}, row {number}"
        faulty = False
        for name in needed:
            if not row[name] or not writable(row[name]):
                state = "is empty" if not row[name] else "holds control characters"
                problems.add(where, f"column {name!r} {state}", "Fill it in, or remove the row")
                faulty = True
        if faulty:
            continue
        label = labels.get(row[table.columns.label], "")
        modality = next(iter(modalities.values()))
        if not label:
            unknown.setdefault((table.columns.label, row[table.columns.label]), []).append(number)
        if table.columns.modality is not None:
            modality = modalities.get(row[table.columns.modality], "")
            if not modality:
                unknown.setdefault((table.columns.modality, row[table.columns.modality]), []).append(number)
        if label in config.classes and modality in config.modalities:
            source = _source(table, row, where, label, modality, problems)
            found.extend([source] if source is not None else [])
    for (column, value), numbers in unknown.items():
        allowed = labels if column == table.columns.label else modalities
        problems.add(
            f"{table.file}, row {some(numbers)}",
            f"{column} {value!r} is not in the config",
            f"Allowed: {', '.join(allowed)}; a value that is mapped but not used in the cohort is left out",
        )
    return found


def _source(table: TableSource, row: Cells, where: str, label: str, modality: str, problems: Problems) -> Source | None:
    path = _path(table.file.parent, table.image, row, {}, where, problems)
    has_mask = bool(table.mask) and all(row[name] for name in _FIELD.findall(table.mask))
    mask = _path(table.file.parent, table.mask, row, table.mask_replace, where, problems) if has_mask else None
    if path is None or (has_mask and mask is None):
        return None
    columns = table.columns
    scale = _mm_per_pixel(columns, row, where, problems)
    named = row[columns.image_id] if columns.image_id else PurePosixPath(fill(table.image, row)).with_suffix("")
    return Source(
        origin=where,
        image_id=str(named),
        patient_id=row[columns.patient_id],
        label=label,
        modality=modality,
        path=path,
        masks=() if mask is None else (mask,),
        hospital=(row[columns.hospital] if columns.hospital else "") or "unknown",
        device=row[columns.device] if columns.device else "",
        clinical={name: row[name] for name in table.clinical},
        mm_per_pixel=scale,
    )


def _mm_per_pixel(columns: TableColumns, row: Cells, where: str, problems: Problems) -> tuple[float, float] | None:
    """Size of a pixel along x and y, where the row has both and a scan can have it; one column may serve for both."""
    names = [columns.mm_per_pixel_x, columns.mm_per_pixel_y]
    texts = [row[name] for name in names if name is not None]
    if len(texts) < 2 or not all(texts):
        return None
    try:
        wide, high = map(float, texts)
    except ValueError:
        wide = high = math.nan
    if not is_spacing(wide, high):
        least, most = MM_RANGE
        remedy = f"Write two numbers from {least:g} to {most:g}, or none"
        problems.add(where, f"mm per pixel is {' and '.join(map(repr, texts))}", remedy)
        return None
    return wide, high


def fill(template: str, row: Mapping[str, str], replace: Mapping[str, str] | None = None) -> str:
    """Fill {Column} with the row's values, after replacements in them; KeyError for an unknown column."""

    def value(match: re.Match[str]) -> str:
        text = row[match[1]]
        for old, new in (replace or {}).items():
            text = text.replace(old, new)
        return text

    return _FIELD.sub(value, template)


def _path(
    base: Path, template: str, row: Cells, replace: Mapping[str, str], where: str, problems: Problems
) -> Path | None:
    """The file that a row names, if it is there and below the folder that the template itself names."""
    names: Sequence[str] = _FIELD.findall(template)
    for name in names:
        parts = PureWindowsPath(row[name])
        if parts.anchor or ".." in parts.parts or not writable(row[name]):
            problems.add(
                where,
                f"column {name!r} holds {row[name]!r}, a path that leaves the table's folder",
                "Write a path below the folder of the table, without '..'",
            )
            return None
    path = base / fill(template, row, replace)
    literal = template.partition("{")[0].rpartition("/")[0]
    if not path.resolve().is_relative_to((base / literal).resolve()):
        problems.add(
            where,
            f"leads to {path}, which is outside {base / literal}",
            "Put the file itself into that folder",
        )
    elif not path.is_file():
        problems.add(where, f"there is no file {path}", f"Add it, remove the row, or correct {KEY}.image or {KEY}.mask")
    else:
        return path
    return None
