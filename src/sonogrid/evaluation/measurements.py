"""The collected held-out predictions to metrics.csv and effects.csv: scores are made here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.config.results import Statistics
from sonogrid.evaluation.intervals import (
    INTERVALS,
    Estimate,
    PairTables,
    Resamples,
    draw_resamples,
    mean_estimate,
    p_value,
    pair_tables,
)
from sonogrid.evaluation.metrics import (
    AUCS,
    PLAIN,
    Floats,
    Ints,
    auc_class,
    class_codes,
    mann_whitney,
    pool_patients,
    score_images,
    why_undefined,
)
from sonogrid.grid import CONFIGURATION, derive_seed
from sonogrid.multiplicity import holm
from sonogrid.problems import Problems

METRIC_COLUMNS = [
    *(*CONFIGURATION, "fold", "level", "pooling", "metric", "class", "value", "low", "high", "confidence", "method"),
    *("n_patients", "n_images", "simulated", "note"),
]
EFFECT_COLUMNS = [
    *("backbone", "init", "reference", "modality", "metric", "value", "low", "high", "confidence", "method"),
    *("p", "p_holm", "n_patients", "simulated", "note"),
]
EFFECT_METRIC = "roc_auc_ovo"
EFFECT_METHOD = "bca"
TELLING_DIFFERENCE = 0.01
"""Pooled and fold-averaged AUC that differ by more are remarked on."""


Key = tuple[str, str]
"""A metric and, for roc_auc_class, the class."""
Measured = dict[Key, dict[str, tuple[float, str]]]
"""Key -> part of the data (a fold, `mean`, `pooled`) -> value and note."""


@dataclass(frozen=True)
class _Scored:
    """Patients, or images, of one configuration, with labels and probabilities."""

    rows: pd.DataFrame
    classes: Sequence[str]

    @cached_property
    def y(self) -> Ints:
        return class_codes(self.rows["label"], self.classes)

    @cached_property
    def p(self) -> Floats:
        return self.rows[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def fold(self) -> Ints:
        return self.rows["fold"].to_numpy(dtype=np.int64)

    @cached_property
    def folds(self) -> dict[str, Ints]:
        """Row numbers of each fold."""
        return {str(fold): np.flatnonzero(self.fold == fold) for fold in np.unique(self.fold)}

    @cached_property
    def parts(self) -> dict[str, Ints]:
        """Row numbers of each fold, and of all that `mean` and `pooled` are made of."""
        everything = np.arange(len(self.rows))
        return self.folds | {"mean": everything, "pooled": everything}

    @cached_property
    def sizes(self) -> dict[str, dict[str, int]]:
        parts = {part: self.rows.iloc[rows] for part, rows in self.parts.items()}
        return {
            part: {"n_patients": rows["patient_id"].nunique(), "n_images": int(rows["n_images"].sum())}
            for part, rows in parts.items()
        }


def _auc_function(key: Key, classes: Sequence[str]) -> Callable[[Floats, Floats], Floats]:
    """The AUC of a key, as a function of Mann-Whitney counts and pairs (..., C, C)."""
    metric, name = key
    if metric in AUCS:
        return AUCS[metric]
    of_class = list(classes).index(name)
    return lambda counts, pairs: np.asarray(auc_class(counts, pairs)[..., of_class])


def _auc_values(scored: _Scored) -> Measured:
    """AUCs of each fold, averaged over folds with weights = case pairs, and pooled."""
    tables = {part: mann_whitney(scored.y[rows], scored.p[rows]) for part, rows in scored.parts.items()}
    of_folds = [tables[fold] for fold in scored.folds]
    tables["mean"] = np.sum([one[0] for one in of_folds], 0), np.sum([one[1] for one in of_folds], 0)
    keys = [(metric, "") for metric in AUCS] + [("roc_auc_class", name) for name in scored.classes]
    measured: Measured = {}
    for key in keys:
        auc = _auc_function(key, scored.classes)
        values = {part: float(auc(*table)) for part, table in tables.items()}
        notes = {
            part: why_undefined(tables[part][1], scored.classes) if np.isnan(value) else ""
            for part, value in values.items()
        }
        if abs(values["pooled"] - values["mean"]) > TELLING_DIFFERENCE:
            apart = f"pooled {values['pooled']:.3f} and fold mean {values['mean']:.3f}"
            notes |= dict.fromkeys(("mean", "pooled"), f"{apart} differ by more than {TELLING_DIFFERENCE}")
        measured[key] = {part: (values[part], notes[part]) for part in values}
    return measured


def _plain_values(scored: _Scored) -> Measured:
    """The other metrics of each fold, averaged over folds with weights = rows, and pooled."""
    absent = {
        part: {name for c, name in enumerate(scored.classes) if c not in scored.y[rows]}
        for part, rows in scored.parts.items()
    }
    absent["mean"] = set().union(*(absent[fold] for fold in scored.folds))
    notes = {part: f"not defined: no {', '.join(sorted(names))}" for part, names in absent.items()}
    notes["mean"] += " in one of the folds"
    weights = [len(rows) for rows in scored.folds.values()]
    measured: Measured = {}
    for metric, function in PLAIN.items():
        values = {part: function(scored.y[rows], scored.p[rows]) for part, rows in scored.parts.items()}
        values["mean"] = float(np.average([values[fold] for fold in scored.folds], weights=weights))
        measured[metric, ""] = {part: (value, notes[part] if np.isnan(value) else "") for part, value in values.items()}
    return measured


def _rows(scored: _Scored, measured: Measured, level: str, pooling: str) -> Iterator[dict[str, Any]]:
    for (metric, name), parts in measured.items():
        for part, (value, note) in parts.items():
            what = {"fold": part, "level": level, "pooling": pooling, "metric": metric, "class": name}
            yield what | {"value": value, "method": "", "note": note} | scored.sizes[part]


def _with_intervals(
    rows: Iterable[dict[str, Any]], scored: _Scored, tables: PairTables, statistics: Statistics
) -> Iterator[dict[str, Any]]:
    """Turn each fold-averaged AUC into one row an interval method; pass the other rows."""
    for row in rows:
        key = row["metric"], row["class"]
        if row["fold"] != "mean" or key[0] in PLAIN:
            yield row
            continue
        estimate = tables.estimate(_auc_function(key, scored.classes))
        for method in INTERVALS:
            yield row | _limits(estimate, method, statistics, row["note"])


def _limits(estimate: Estimate, method: str, statistics: Statistics, note: str) -> dict[str, Any]:
    interval = INTERVALS[method](estimate, statistics.confidence)
    notes = "; ".join(part for part in (note, interval.note) if part)
    limits = {"low": interval.low, "high": interval.high, "confidence": statistics.confidence}
    return limits | {"method": method, "note": notes}


def _resamples(predictions: pd.DataFrame, statistics: Statistics, seed: int) -> Resamples:
    """The resamples of a study: the same for every configuration, metric and effect."""
    cohort = predictions[["patient_id", "label", "fold"]].drop_duplicates()
    patient_id, label, fold = (cohort[column].tolist() for column in ("patient_id", "label", "fold"))
    return draw_resamples(patient_id, label, fold, statistics.resamples, derive_seed(seed, "bootstrap"))


def _pair_tables(scored: _Scored, resamples: Resamples) -> PairTables:
    position = resamples.positions(list(scored.rows["patient_id"]))
    return pair_tables(scored.y, scored.p, scored.fold, position, resamples)


def _simulated(predictions: pd.DataFrame, patients: pd.DataFrame) -> bool:
    rows = patients[patients["patient_id"].astype(str).isin(set(predictions["patient_id"]))]
    return bool((rows["simulated"].astype(str) == "True").any())


def measure(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    classes: Sequence[str],
    statistics: Statistics,
    seed: int,
) -> pd.DataFrame:
    """Measure every configuration of the merged predictions; the columns are those of metrics.csv.

    Per configuration: at patient level with log pooling every metric, per fold, fold-averaged and pooled;
    with mean pooling roc_auc_ovo, to see what pooling matters; at image level every metric. The
    fold-averaged patient-level AUCs with log pooling carry an interval, and stand in one row a method
    (`bca`, `percentile`) with the same value.
    """
    resamples = _resamples(predictions, statistics, seed)
    rows: list[dict[str, Any]] = []
    for key, of_one in predictions.groupby(CONFIGURATION, sort=False):
        by_log = _Scored(pool_patients(of_one, classes, "log"), classes)
        by_mean = _Scored(pool_patients(of_one, classes, "mean"), classes)
        images = _Scored(score_images(of_one, classes), classes)
        sensitivity = {key: parts for key, parts in _auc_values(by_mean).items() if key[0] == "roc_auc_ovo"}
        primary = _rows(by_log, _auc_values(by_log) | _plain_values(by_log), "patient", "log")
        found = list(_with_intervals(primary, by_log, _pair_tables(by_log, resamples), statistics))
        found += _rows(by_mean, sensitivity, "patient", "mean")
        found += _rows(images, _auc_values(images) | _plain_values(images), "image", "")
        rows += [dict(zip(CONFIGURATION, key, strict=True)) | row for row in found]
    simulated = _simulated(predictions, patients)
    return pd.DataFrame(rows).assign(simulated=simulated).reindex(columns=METRIC_COLUMNS)


def effects(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    classes: Sequence[str],
    statistics: Statistics,
    seed: int,
) -> pd.DataFrame:
    """Measure what pre-training adds: paired differences init minus reference; the columns of effects.csv.

    One row a backbone and modality, then the main effect, their plain mean, as backbone `all` and modality
    `all` (left out where there is only one difference); these are the family of Holm's adjustment. The
    value is a difference of fold-averaged patient-level macro one-vs-one AUCs with BCa interval, p as in
    stats.p_value. No rows where statistics.pretraining_effect is None. Raises InputError that names each
    configuration that lacks its partner.
    """
    if statistics.pretraining_effect is None:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    init, reference = statistics.pretraining_effect
    compared = predictions[predictions["init"].isin([init, reference])]
    resamples = _resamples(predictions, statistics, seed)
    estimates: dict[Any, Estimate] = {}
    for key, of_one in compared.groupby(CONFIGURATION, sort=False):
        scored = _Scored(pool_patients(of_one, classes, "log"), classes)
        estimates[key] = _pair_tables(scored, resamples).estimate(AUCS[EFFECT_METRIC])
    partners = list(dict.fromkeys((backbone, modality) for backbone, _, modality in estimates))
    _refuse_lonely(estimates, partners, (init, reference))
    differences = {
        (backbone, modality): estimates[backbone, init, modality] - estimates[backbone, reference, modality]
        for backbone, modality in partners
    }
    if len(differences) > 1:
        differences["all", "all"] = mean_estimate(list(differences.values()))
    rows = [_effect_row(key, difference, compared, statistics) for key, difference in differences.items()]
    table = pd.DataFrame(rows).assign(init=init, reference=reference, metric=EFFECT_METRIC)
    table = table.assign(p_holm=holm(table["p"].to_numpy()), simulated=_simulated(predictions, patients))
    return table.reindex(columns=EFFECT_COLUMNS)


def _refuse_lonely(
    estimates: Container[tuple[str, ...]], partners: Sequence[tuple[str, str]], inits: tuple[str, str]
) -> None:
    problems = Problems()
    for (backbone, modality), init in product(partners, inits):
        if (backbone, init, modality) not in estimates:
            problems.add(f"{backbone} {init} {modality}", "has no predictions", "Train its cells")
    if not partners:
        problems.add("statistics.pretraining_effect", "nothing to compare", "Name two inits of the grid")
    problems.raise_if_any()


def _effect_row(
    key: tuple[str, str], difference: Estimate, compared: pd.DataFrame, statistics: Statistics
) -> dict[str, Any]:
    backbone, modality = key
    of_modality = compared if modality == "all" else compared[compared["modality"] == modality]
    note = "" if np.isfinite(difference.value) else "not defined, as one of its AUCs, see metrics.csv"
    return {
        "backbone": backbone,
        "modality": modality,
        "value": difference.value,
        **_limits(difference, EFFECT_METHOD, statistics, note),
        "p": p_value(difference),
        "n_patients": of_modality["patient_id"].nunique(),
    }
