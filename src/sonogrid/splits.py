"""Patient-level folds: made once from sorted ids and one seed, the same for every modality, and verified.

Drawn folds: patients are ordered by class, hospital and a hash of the seed and their id, and dealt to the
folds in turn. Any run of that order is spread over the folds with counts that differ by at most one, so classes,
hospitals within a class and fold sizes are all balanced, whatever their numbers; no stratum has to be merged.
The hash makes a patient's place depend on nothing but the patients, so other images, row orders and library
versions do not move it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from sonogrid.cohort.manifest import some
from sonogrid.cohort.table import read_rows, require_columns
from sonogrid.config.splits import OfficialFolds, Splits
from sonogrid.grid import derive_seed
from sonogrid.problems import InputError, Problem, Problems
from sonogrid.stored import stored_parts

COLUMNS = ("patient_id", "fold", "part")
PARTS = ("train", "inner", "test")
_AGAIN = "Make the splits again (sonogrid splits)"


def make_splits(patients: pd.DataFrame, images: pd.DataFrame, splits: Splits, seed: int) -> pd.DataFrame:
    """Assign every patient to a part of every fold: columns patient_id, fold (int64, from 0), part.

    Sorted by fold and patient_id. Raises InputError if the folds cannot be drawn, if official folds do not
    fit the cohort, or if verify refuses the result.
    """
    table = patients[["patient_id", "label", "hospital"]].sort_values("patient_id", ignore_index=True)
    if splits.official is None:
        test_fold = draw_folds(table, splits.folds, seed)
    else:
        test_fold = official_folds(images, splits.official, splits.folds)
    inner = {
        fold: draw_inner(
            table[table["patient_id"].map(test_fold) != fold],
            splits.inner_fraction,
            derive_seed(seed, "inner", fold),
        )
        for fold in range(splits.folds)
    }
    rows = [
        (
            patient,
            fold,
            "test" if test_fold[patient] == fold else "inner" if patient in inner[fold] else "train",
        )
        for fold in range(splits.folds)
        for patient in table["patient_id"]
    ]
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    verify(made, patients, images, splits.folds)
    return made


def draw_folds(patients: pd.DataFrame, k: int, seed: int) -> dict[str, int]:
    """Deal patients (columns patient_id, label, hospital) to test folds 0 to k - 1; see the module's text.

    Raises InputError if a class has fewer than k patients.
    """
    problems = Problems()
    counts = patients["label"].value_counts().sort_index()
    most = int(counts[counts > 1].min()) if (counts > 1).any() else 1
    for label, count in counts[counts < k].items():
        fewer_folds = f"Set splits.folds to {most} or less, or add patients"
        remedy = fewer_folds if count > 1 else "Add patients, or take the class out of cohort.classes"
        what = f"has {count} patients, fewer than {k} folds: some folds could not be tested on it"
        problems.add(f"class {label!r}", what, remedy)
    problems.raise_if_any()
    return {patient: place % k for place, patient in enumerate(_order(patients, derive_seed(seed, "folds")))}


def draw_inner(patients: pd.DataFrame, fraction: float, seed: int) -> set[str]:
    """Draw the inner validation part of a training fold's patients, class by class.

    A class of n patients gives round(fraction * n), at least 1; they are spread evenly over the class ordered
    by hospital and hash, so each hospital gives its share to within one patient.
    """
    chosen: set[str] = set()
    for _, group in patients.groupby("label"):
        order = _order(group, seed)
        count = max(1, round(fraction * len(order)))
        chosen.update(order[int((place + 0.5) * len(order) / count)] for place in range(count))
    return chosen


def draw_corpus_inner(patients: pd.DataFrame, fraction: float, seed: int) -> frozenset[str]:
    """Draw the inner validation part of a corpus (columns patient_id, label, hospital), by the rule of `draw_inner`.

    A corpus has no folds: the other patients are the training part. Raise InputError for a class of a single patient,
    which would leave none of them.
    """
    problems = Problems()
    counts = patients["label"].value_counts().sort_index()
    for label in counts[counts < 2].index:
        what = "has a single patient, and training and inner part need one each"
        problems.add(f"class {label!r} of the corpus", what, "Add patients, or remove the class")
    problems.raise_if_any()
    return frozenset(draw_inner(patients, fraction, seed))


def official_folds(images: pd.DataFrame, official: OfficialFolds, k: int) -> dict[str, int]:
    """Test fold of every patient from a CSV of image ids and folds; its values, sorted, become 0 to k - 1.

    Numbers sort as numbers. Rows of images that are not in the cohort are ignored. Raises InputError if an
    image has no fold or two, if a patient's images are in several folds, or if there are not k folds.
    """
    fold_of = _official_rows(official)
    problems = Problems()
    missing = sorted(set(images["image_id"]) - set(fold_of))
    if missing:
        problems.add(
            str(official.file),
            f"gives no fold to image_id {some(map(repr, missing))}",
            "Add the rows, or correct splits.official.image_id",
        )
    known = images[images["image_id"].isin(list(fold_of))]
    fold_of_patient: dict[str, set[str]] = {}
    for patient, image in zip(known["patient_id"], known["image_id"], strict=True):
        fold_of_patient.setdefault(patient, set()).add(fold_of[image])
    for patient, folds in sorted(fold_of_patient.items()):
        if len(folds) > 1:
            problems.add(
                str(official.file),
                f"puts images of patient {patient!r} into folds {some(sorted(folds))}",
                "Use folds that keep a patient together, or write null to draw folds",
            )
    values = {value for folds in fold_of_patient.values() for value in folds}
    numeric = all(value.isdecimal() for value in values)
    ordered = sorted(values, key=int) if numeric else sorted(values)
    if len(ordered) != k:
        problems.add(
            f"{official.file}, column {official.fold!r}",
            f"has {len(ordered)} folds for this cohort ({some(ordered)}), splits.folds is {k}",
            f"Set splits.folds to {len(ordered)}",
        )
    problems.raise_if_any()
    return {patient: ordered.index(next(iter(folds))) for patient, folds in fold_of_patient.items()}


def verify(splits: pd.DataFrame, patients: pd.DataFrame, images: pd.DataFrame, k: int) -> None:
    """Raise InputError unless the splits keep the laws that every result rests on.

    Every patient has one row in each of k folds and is tested in exactly one. In every fold, each part has
    every class. In every modality and fold, the train part has every class and the other parts have someone;
    a class that is missing from a modality's test part alone is left to the metrics, which say so.
    """
    problems = Problems()
    expected = {(patient, fold) for patient in patients["patient_id"] for fold in range(k)}
    given = list(zip(splits["patient_id"], splits["fold"], strict=True))
    if len(given) != len(set(given)) or set(given) != expected:
        wrong = sorted({str(patient) for patient, _ in set(given) ^ expected})
        what = f"do not hold every patient once in each of {k} folds ({some(wrong) or 'doubles'})"
        problems.add("splits", what, _AGAIN)
    if not set(splits["part"]) <= set(PARTS):
        problems.add("splits", f"have parts other than {', '.join(PARTS)}", _AGAIN)
    tested = splits[splits["part"] == "test"].groupby("patient_id").size()
    wrong = sorted(set(patients["patient_id"]) - set(tested[tested == 1].index))
    if wrong:
        problems.add("splits", f"do not test exactly once patient {some(wrong)}", _AGAIN)
    problems.raise_if_any()
    label_of = dict(zip(patients["patient_id"], patients["label"], strict=True))
    problems.found.extend(_empty_parts(splits, label_of, k))
    for modality, rows in images.groupby("modality"):
        seen = splits[splits["patient_id"].isin(rows["patient_id"])]
        problems.found.extend(_thin_modality(str(modality), seen, label_of, k))
    problems.raise_if_any()


def load_splits(path: Path) -> pd.DataFrame:
    """Read splits.csv, ids as text. Raises InputError if it is missing or its columns are others."""
    if not path.is_file():
        raise InputError([Problem(str(path), "there is no such file", _AGAIN)])
    table = stored_parts(path)
    if tuple(table.columns) != COLUMNS or table["fold"].dtype != "int64":
        raise InputError([Problem(str(path), f"must have the columns {', '.join(COLUMNS)}", _AGAIN)])
    return table


def _order(patients: pd.DataFrame, seed: int) -> list[str]:
    """Patient ids by class, hospital and hash."""
    keyed = patients.assign(key=[derive_seed(seed, patient) for patient in patients["patient_id"]])
    return keyed.sort_values(["label", "hospital", "key", "patient_id"])["patient_id"].tolist()


def _official_rows(official: OfficialFolds) -> dict[str, str]:
    rows = read_rows(official.file)
    problems = Problems()
    require_columns(official.file, rows, (official.image_id, official.fold), problems)
    problems.raise_if_any()
    fold_of: dict[str, str] = {}
    for number, row in rows.items():
        image, fold = row[official.image_id], row[official.fold]
        if not image or not fold:
            problems.add(f"{official.file}, row {number}", "has an empty image or fold", "Fill it in")
        elif fold_of.setdefault(image, fold) != fold:
            problems.add(
                f"{official.file}, row {number}",
                f"puts image_id {image!r} into fold {fold}, an earlier row into {fold_of[image]}",
                "Leave one of them",
            )
    problems.raise_if_any()
    return fold_of


def _empty_parts(splits: pd.DataFrame, label_of: Mapping[str, str], k: int) -> list[Problem]:
    found = set(zip(splits["fold"], splits["part"], splits["patient_id"].map(label_of), strict=True))
    sizes = pd.Series(label_of).value_counts()
    return [
        Problem(
            f"class {label!r} ({sizes[label]} patients)",
            f"is missing from the {part} part of fold {fold}",
            "Use fewer folds, or add patients of this class",
        )
        for label in sorted(set(label_of.values()))
        for fold in range(k)
        for part in PARTS
        if (fold, part, label) not in found
    ]


def _thin_modality(modality: str, splits: pd.DataFrame, label_of: Mapping[str, str], k: int) -> list[Problem]:
    labels = splits["patient_id"].map(label_of)
    parts = set(zip(splits["fold"], splits["part"], strict=True))
    train = splits["part"] == "train"
    trained = set(zip(splits.loc[train, "fold"], labels[train], strict=True))
    remedy = "Use fewer folds, add images of this modality, or take it out of the cohort"
    problems = Problems()
    for fold in range(k):
        for label in sorted(set(label_of.values())):
            if (fold, label) not in trained:
                what = f"has no image of class {label!r} in the train part of fold {fold}"
                problems.add(f"modality {modality!r}", what, remedy)
        for part in ("inner", "test"):
            if (fold, part) not in parts:
                problems.add(f"modality {modality!r}", f"has no image in the {part} part of fold {fold}", remedy)
    return problems.found
