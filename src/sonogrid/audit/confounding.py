"""What tells the class without showing tissue: hospital, device, sizes; as a classifier that sees nothing else.

Effect: the macro one-vs-one ROC AUC, by patient, of class frequencies by level of the predictor, learnt on the other
folds of the study: the AUC that a model could reach by reading the predictor alone. Mann-Whitney counts are added up
over folds, so that scores of different folds are never compared. Test: the share of permutations of the labels with at
least this AUC (Phipson and Smyth 2010), Holm over all predictors and modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from sonogrid.audit.album import content_box
from sonogrid.audit.findings import Finding
from sonogrid.cohort.manifest import Cohort
from sonogrid.multiplicity import holm
from sonogrid.stored import Store

_Ints = npt.NDArray[np.int64]

PERMUTATIONS = 1999
ALPHA = 0.05
STOP_AUC = 0.7
"""From here a discrimination is commonly called acceptable (Hosmer, Lemeshow and Sturdivant 2013, 5.2.4): a model that
reads nothing but the predictor would pass for one that works."""
OWN_LEVEL = 5
"""A number or size that so many patients share, as the screens of one device, is a level of its own."""
BINS = 5
"""The other numbers are put into so many levels of about equal size."""
NOT_KNOWN = "not known"
"""A level like others: what is known of one class only tells it."""
_PRIOR = 1.0
"""Patients' worth of the overall class frequencies that are added to each level."""


@dataclass(frozen=True)
class Predictor:
    """A value of every patient that the pictures may give away; `modality` is '' if it is the same in all."""

    name: str
    modality: str
    levels: pd.Series[str]


@dataclass(frozen=True)
class Effect:
    """AUC of a predictor, the p value of its permutation test, patients and levels."""

    auc: float
    p: float
    patients: int
    levels: int


def confounders(
    cohort: Cohort, stores: Mapping[str, Store], test_fold: Mapping[str, int], classes: Sequence[str], seed: int
) -> list[Finding]:
    """Predictors of the class: stop from STOP_AUC and where significant, note where only one of the two holds."""
    labels = cohort.patients.set_index("patient_id")["label"]
    measured = [
        (one, effect)
        for one in predictors(cohort, stores)
        if (effect := association(one.levels, labels, test_fold, classes, seed)) is not None
    ]
    corrected = holm([effect.p for _, effect in measured]).tolist()
    return [
        _finding(one, effect, p)
        for (one, effect), p in zip(measured, corrected, strict=True)
        if p < ALPHA or effect.auc >= STOP_AUC
    ]


def predictors(cohort: Cohort, stores: Mapping[str, Store]) -> list[Predictor]:
    """Hospital; by modality device, size of the picture, mm per pixel, and the share of the canvas that is filled."""
    hospital = cohort.patients.set_index("patient_id")["hospital"].astype(str)
    found = [Predictor("hospital", "", hospital)]
    for modality, store in sorted(stores.items()):
        rows = cohort.images[cohort.images["modality"] == modality]
        by_patient = rows[rows["device"] != ""].groupby("patient_id")["device"]
        devices = by_patient.agg(lambda one: " + ".join(sorted(set(one))))
        found.append(Predictor("device", modality, _of_all(devices, rows)))
        found.append(Predictor("image_size", modality, _sizes(rows)))
        scale = rows.dropna(subset=["mm_per_pixel_x"]).groupby("patient_id")["mm_per_pixel_x"].median()
        found.append(Predictor("mm_per_pixel", modality, _of_all(as_levels(scale.round(4)), rows)))
        shape = store.index.apply(_shape, axis=1).groupby(store.index["patient_id"]).median()
        found.append(Predictor("canvas_shape", modality, as_levels(shape.round(2))))
    return found


def _of_all(levels: pd.Series[str], rows: pd.DataFrame) -> pd.Series[str]:
    """Levels of the patients who have one, and NOT_KNOWN for the others of the rows."""
    return levels.reindex(sorted(set(rows["patient_id"])), fill_value=NOT_KNOWN)


def as_levels(numbers: pd.Series[float], shown: pd.Series[str] | None = None) -> pd.Series[str]:
    """Levels of a number: those that OWN_LEVEL patients share by themselves, the others in BINS quantiles."""
    shown = numbers.astype(str) if shown is None else shown
    own = shown.groupby(shown).transform("size") >= OWN_LEVEL
    rest = numbers[~own]
    levels = shown.where(own, "")
    if len(rest):
        rank = rest.rank(method="first") - 1
        levels[~own] = "about quantile " + (1 + rank * BINS // len(rest)).astype(int).astype(str)
    return levels


def association(
    levels: pd.Series[str],
    labels: pd.Series[str],
    test_fold: Mapping[str, int],
    classes: Sequence[str],
    seed: int,
    permutations: int = PERMUTATIONS,
) -> Effect | None:
    """AUC and permutation p of a predictor, for the patients who have it; None where nothing can be measured."""
    patients = sorted(set(levels.index) & set(labels.index) & set(test_fold))
    level = pd.factorize(levels.loc[patients].to_numpy(), sort=True)[0].astype(np.int64)
    label = np.array([list(classes).index(labels[patient]) for patient in patients], dtype=np.int64)
    fold = np.array([test_fold[patient] for patient in patients], dtype=np.int64)
    shape = (int(fold.max(initial=-1)) + 1, int(level.max(initial=-1)) + 1, len(classes))
    if shape[1] < 2:
        return None
    observed = _auc(_counts(fold, level, label, shape))
    if np.isnan(observed):
        return None
    rng = np.random.default_rng(seed)
    drawn = [_auc(_counts(fold, level, rng.permutation(label), shape)) for _ in range(permutations)]
    # Within rounding an equal AUC counts as at least as large.
    above = int((np.array(drawn) >= observed - 1e-12).sum())
    return Effect(observed, (1 + above) / (1 + permutations), len(patients), shape[1])


def _counts(fold: _Ints, level: _Ints, label: _Ints, shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Patients by fold, level and class."""
    flat = (fold * shape[1] + level) * shape[2] + label
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)


def _auc(counts: npt.NDArray[np.float64]) -> float:
    """Macro one-vs-one AUC of level frequencies of the other folds; NaN where a pair of classes is in no fold."""
    others = counts.sum(axis=0) - counts
    frequency = others.sum(axis=1, keepdims=True) / others.sum(axis=(1, 2), keepdims=True)
    probability = others + _PRIOR * frequency
    aucs = []
    for one, other in combinations(range(counts.shape[2]), 2):
        score = probability[..., one] / np.maximum(probability[..., one] + probability[..., other], 1e-300)
        wins = np.sign(score[:, :, None] - score[:, None, :]) / 2 + 0.5
        pairs = counts[:, :, None, one] * counts[:, None, :, other]
        total = pairs.sum()
        aucs.append((wins * pairs).sum() / total if total else np.nan)
    return float(np.mean(aucs))


def _sizes(rows: pd.DataFrame) -> pd.Series[str]:
    """Width x height of a patient's first picture by id, in levels by area."""
    first = rows.sort_values("image_id").groupby("patient_id").first()
    shown = first["width"].astype(str) + " x " + first["height"].astype(str)
    return as_levels((first["width"] * first["height"]).astype(float), shown)


def _shape(line: pd.Series[float]) -> float:
    """Width over height of the scan area on the canvas: the margins show it to a model."""
    box = content_box(line)
    return (box.x1 - box.x0) / (box.y1 - box.y0)


_MEANING = {
    "hospital": "the hospital",
    "device": "the device",
    "image_size": "width and height of the picture",
    "mm_per_pixel": "the millimetres per pixel",
    "canvas_shape": "the aspect ratio of the scan area, which the margins of the canvas show",
}


def _finding(one: Predictor, effect: Effect, p: float) -> Finding:
    where = f" ({one.modality})" if one.modality else ""
    large, significant = effect.auc >= STOP_AUC, p < ALPHA
    told = f"ROC AUC {effect.auc:.2f} by patient, Holm p {p:.3f}, n = {effect.patients}, {effect.levels} levels"
    if large and significant:
        what = f"{_MEANING[one.name]}{where} alone tells the class ({told})"
    elif significant:
        what = f"{_MEANING[one.name]}{where} tells a little of the class ({told})"
    else:
        what = f"{_MEANING[one.name]}{where} might tell the class; too few patients to say ({told})"
    return Finding(
        kind="predicts_class",
        severity="stop" if large and significant else "note",
        key=(one.name, one.modality),
        what=what,
        remedy="Compare every result with this AUC; balance the classes over it, or accept it by name and report it",
        measures={"predictor": one.name, "modality": one.modality or "all", "auc": round(effect.auc, 4), "p": p},
    )
