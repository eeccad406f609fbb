"""The manifest: what every reader makes, the laws it must keep, and its two files."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from sonogrid.cohort.sources import READ_AGAIN, decoding_of
from sonogrid.files import read_json, write_csv, write_json
from sonogrid.layout import CohortLayout
from sonogrid.problems import InputError, Problem, Problems
from sonogrid.stored import stored_texts

PATIENT_COLUMNS = ("patient_id", "label", "hospital", "simulated")
IMAGE_COLUMNS = (
    *("image_id", "patient_id", "modality", "path", "decoder", "decoding", "sha256", "width", "height"),
    "mask_path",
    *("scan_x0", "scan_y0", "scan_x1", "scan_y1", "masked", "mm_per_pixel_x", "mm_per_pixel_y", "device", "simulated"),
)
MEASURED_COLUMNS = (
    *("measured_image_id", "mm_per_pixel_x", "mm_per_pixel_y"),
    *("measured_long_axis_mm", "measured_short_axis_mm"),
)
"""Columns of patients.csv that come from the masks (images/patient_axes.py)."""
SHOWN = 5
"""How many examples a problem names before it only counts the rest."""
_WHOLE_NUMBERS = ("width", "height")
_OPTIONAL_NUMBERS = ("scan_x0", "scan_y0", "scan_x1", "scan_y1")
_LENGTHS = ("mm_per_pixel_x", "mm_per_pixel_y")
REFUSED_COLUMNS = ("file", "reason", "remedy")


class Form(NamedTuple):
    """What a cell of a column must be, in words, and whether a text is that."""

    words: str
    fits: Callable[[str], bool]


def _is_length(text: str) -> bool:
    written = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII)
    return written is not None and math.isfinite(float(text))


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"\d{1,9}", text, re.ASCII) is not None


def _is_decoding(text: str) -> bool:
    try:
        decoding_of(text)
    # RecursionError: nested a thousandfold.
    except (ValueError, RecursionError):
        return False
    return True


_FLAGS: Mapping[str, bool] = MappingProxyType({"True": True, "False": False})
_FORMS: Mapping[str, Form] = MappingProxyType(
    {
        **dict.fromkeys(_WHOLE_NUMBERS, Form("a whole number of pixels", _is_whole)),
        **dict.fromkeys(
            _OPTIONAL_NUMBERS, Form("a whole number of pixels, or empty", lambda text: not text or _is_whole(text))
        ),
        **dict.fromkeys(_LENGTHS, Form("a number of mm, or empty", lambda text: not text or _is_length(text))),
        "simulated": Form("True or False", _FLAGS.__contains__),
        "decoding": Form('a JSON object such as {"frame": 0}, or empty', _is_decoding),
    }
)
"""Column of patients.csv or manifest.csv -> its form, if it is not free text; that of `masked`: images/boxes.py."""


@dataclass(frozen=True)
class Cohort:
    """Patients and images as docs/files.md describes them, and the ceiling of a simulated cohort.

    Ids, paths and clinical columns are text ('' where empty); width and height are int64, scan_x0 to scan_y1
    are Int64, mm_per_pixel_x and mm_per_pixel_y are float64 (missing where empty); simulated is bool.
    `refused` are files that could not be used while the others were.
    """

    patients: pd.DataFrame
    images: pd.DataFrame
    ceiling: dict[str, Any] | None = None
    refused: tuple[Problem, ...] = ()


def normal(text: str) -> str:
    """Text without outer white space and in Unicode form NFC, so that one name has one spelling."""
    return unicodedata.normalize("NFC", text.strip())


def some(names: Iterable[object]) -> str:
    """The first few names and how many more there are."""
    shown = [str(name) for name in names]
    rest = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + rest


def writable(text: str) -> bool:
    """Whether a name can be a cell of a CSV in UTF-8: no control characters, no undecodable bytes."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def find_problems(cohort: Cohort, classes: Sequence[str], modalities: Sequence[str]) -> list[Problem]:
    """Return a problem for every breach of a law of cohorts.

    No patient has two entries or two spellings, no image_id is given twice, every image has a patient, labels and
    modalities are those of the config, and each class has an image of each modality. Pictures that several patients
    share are a finding of the audit (audit/duplicates.py).
    """
    problems = Problems()
    patients, images = cohort.patients, cohort.images
    for patient, rows in patients[patients["patient_id"].duplicated(keep=False)].groupby("patient_id"):
        files = some(images.loc[images["patient_id"] == patient, "path"])
        problems.add(
            f"patient {patient!r} (files {files})",
            f"has {len(rows)} entries, with labels {some(sorted(set(rows['label'])))}",
            "Give every patient one label and one entry",
        )
    problems.found.extend(look_alikes(patients["patient_id"]))
    problems.found.extend(doubled_image_ids(zip(images["image_id"], images["path"], strict=True)))
    for patient in sorted(set(images["patient_id"]) - set(patients["patient_id"])):
        problems.add(f"patient {patient!r}", "has images but no entry among the patients", READ_AGAIN)
    for name, column, table, allowed in (
        ("label", "label", patients, classes),
        ("modality", "modality", images, modalities),
    ):
        for value, rows in table[~table[column].isin(list(allowed))].groupby(column):
            problems.add(
                f"{name} {value!r} of patient {some(rows['patient_id'])}",
                "is not in the config",
                f"Allowed here: {', '.join(allowed)}",
            )
    label_of = dict(zip(patients["patient_id"], patients["label"], strict=True))
    labels = images["patient_id"].map(label_of)
    problems.found.extend(gaps(set(zip(labels, images["modality"], strict=True)), classes, modalities))
    return problems.found


def doubled_image_ids(named: Iterable[tuple[str, str]]) -> list[Problem]:
    """Return a problem for every image_id that is given twice; `named` has pairs of an image_id and where it is."""
    places: dict[str, list[str]] = {}
    for image, place in named:
        places.setdefault(image, []).append(place)
    return [
        Problem(some(where), f"have the same image_id {image!r}", "Give every picture a name or id of its own")
        for image, where in places.items()
        if len(where) > 1
    ]


def look_alikes(patients: Iterable[str], shown: Callable[[str], str] = ascii) -> list[Problem]:
    """Ids that differ only in case, spaces, invisible characters or Unicode form: one patient, spelt in two ways.

    `shown` is how a message names an id.
    """
    spellings: dict[str, list[str]] = {}
    for patient in sorted(set(patients)):
        visible = "".join(one for one in unicodedata.normalize("NFKC", patient) if unicodedata.category(one) != "Cf")
        spellings.setdefault(" ".join(visible.casefold().split()), []).append(patient)
    what = "look alike and would count as different patients, who can stand in training and test"
    remedy = "Spell one patient in one way; give different patients ids that differ in more"
    return [
        Problem(f"patients {some(map(shown, alike))}", what, remedy) for alike in spellings.values() if len(alike) > 1
    ]


def gaps(found: Set[tuple[str, str]], classes: Sequence[str], modalities: Sequence[str]) -> list[Problem]:
    """Classes and modalities without an image, alone or together; `found` has (label, modality)."""
    problems = Problems()
    labels, shown = {label for label, _ in found}, {modality for _, modality in found}
    remedy = "Add pictures, or take it out of the cohort's config"
    for name in classes:
        if name not in labels:
            problems.add(f"class {name!r}", "has no image", remedy)
    for name in modalities:
        if name not in shown:
            problems.add(f"modality {name!r}", "has no image", remedy)
    for label, modality in product(classes, modalities):
        if label in labels and modality in shown and (label, modality) not in found:
            problems.add(f"class {label!r} of modality {modality!r}", "has no image", remedy)
    return problems.found


def check_laws(cohort: Cohort, classes: Sequence[str], modalities: Sequence[str]) -> None:
    """Raise InputError with everything that find_problems finds."""
    found = find_problems(cohort, classes, modalities)
    if found:
        raise InputError(found)


def save_cohort(cohort: Cohort, folder: Path) -> None:
    """Write patients.csv, manifest.csv, refused.csv and, if simulated, ceiling.json; each whole or not at all."""
    places = CohortLayout(folder, folder)
    write_csv(cohort.patients.sort_values("patient_id"), places.patients)
    if cohort.ceiling is not None:
        write_json(cohort.ceiling, places.ceiling)
    else:
        places.ceiling.unlink(missing_ok=True)
    refused = [(problem.where, problem.what, problem.remedy) for problem in cohort.refused]
    write_csv(pd.DataFrame(sorted(refused), columns=list(REFUSED_COLUMNS)), places.refused)
    write_csv(cohort.images[list(IMAGE_COLUMNS)].sort_values("image_id"), places.manifest)
    _remove_leftovers(cohort.images, folder)


def _remove_leftovers(images: pd.DataFrame, folder: Path) -> None:
    """Remove pictures and masks below `folder` that an earlier cohort made and this one does not name."""
    # Resolved: a source may lie there too, and its path may be spelled in another way.
    named = {Path(path).resolve() for path in [*images["path"], *images["mask_path"].fillna("")]}
    for made in (CohortLayout(folder, folder).pictures, CohortLayout(folder, folder).masks):
        for path in sorted(made.rglob("*.png")):
            if path.resolve() not in named:
                path.unlink()
        for path in sorted(made.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()


def load(folder: Path) -> Cohort:
    """Read what save_cohort wrote. Raise InputError for missing files and columns, and with every wrong cell."""
    places = CohortLayout(folder, folder)
    patients = _read(places.patients, PATIENT_COLUMNS)
    refused = _read(places.refused, REFUSED_COLUMNS)
    images = _read(places.manifest, IMAGE_COLUMNS)
    problems = Problems()
    problems.found.extend(_wrong_cells(places.patients, patients[list(PATIENT_COLUMNS)]))
    problems.found.extend(_wrong_cells(places.manifest, images))
    problems.raise_if_any()
    return Cohort(
        _flagged(patients),
        typed(_flagged(images)),
        _ceiling(places.ceiling),
        tuple(Problem(*row) for row in refused[list(REFUSED_COLUMNS)].itertuples(index=False)),
    )


def _wrong_cells(file: Path, table: pd.DataFrame) -> Iterator[Problem]:
    """Yield a problem for every column with cells that are not of its form; rows are numbered from 1, the header."""
    for column, form in _FORMS.items():
        if column in table.columns:
            known = {text: form.fits(text) for text in table[column].unique()}
            wrong = table[column][~table[column].map(known).astype(bool)]
            if not wrong.empty:
                rows = some(f"row {number + 2}" for number in wrong.index)
                # The value stays unsaid: in a row that lacks a cell it is what a clinical column says of a patient.
                yield Problem(f"{file}, {rows}, column {column}", f"must be {form.words}", READ_AGAIN)


def _flagged(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(simulated=table["simulated"].map(_FLAGS).astype(bool))


def _ceiling(file: Path) -> dict[str, Any] | None:
    """The ceiling of a simulated cohort; None where there is no file."""
    if not file.is_file():
        return None
    try:
        ceiling: dict[str, Any] = read_json(file)
    except ValueError as error:
        raise InputError([Problem(str(file), f"is not JSON in UTF-8 ({error})", READ_AGAIN)]) from error
    return ceiling


def typed(images: pd.DataFrame) -> pd.DataFrame:
    """Columns of a manifest in their types; '' and missing are the same in columns of optional numbers."""
    columns: dict[str, Any] = {name: images[name].astype("int64") for name in _WHOLE_NUMBERS}
    for name in (*_OPTIONAL_NUMBERS, *_LENGTHS):
        numbers = pd.to_numeric(images[name].replace("", None))
        columns[name] = numbers.astype("float64" if name in _LENGTHS else "Int64")
    return images.assign(**columns)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError([Problem(str(path), "there is no such file", READ_AGAIN)])
    try:
        table = stored_texts(path)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError([Problem(str(path), f"is not a CSV table in UTF-8 ({reason})", READ_AGAIN)]) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError([Problem(str(path), f"lacks the columns {', '.join(missing)}", READ_AGAIN)])
    return table
