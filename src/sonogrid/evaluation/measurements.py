"""The collected held-out predictions to metrics.csv and effects.csv: scores are made here and nowhere else.

A model is scored by itself, so every value is first of one configuration and seed. The value of a configuration is the
plain mean over seeds; its resamples are the same patients in every seed, so its intervals are of these trained models.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.config.results import Statistics
from sonogrid.evaluation import primary
from sonogrid.evaluation.intervals import (
    INTERVALS,
    Estimate,
    PairTables,
    Resamples,
    bootstrap_p_value,
    draw_resamples,
    estimate_of,
    mean_estimate,
    pair_tables,
    resampled,
)
from sonogrid.evaluation.metrics import (
    METRICS,
    Float64s,
    Int64s,
    Metric,
    class_codes,
    pool_patients,
    score_images,
)
from sonogrid.evaluation.poolings import POOLINGS
from sonogrid.evaluation.predictions import exact_number
from sonogrid.grid import AXES, CONFIGURATION, derive_seed
from sonogrid.multiplicity import holm
from sonogrid.problems import Problems

MEAN = "mean"
"""In the columns `fold` and `seed`: the mean over folds, and over seeds."""
POOLED = "pooled"
"""In the column `fold`: all out-of-fold predictions together."""
TELLING_DIFFERENCE = 0.01
"""Pooled and fold-averaged AUC that differ by more are remarked on."""

METRIC_COLUMNS = [
    *(*AXES, "level", "pooling", "metric", "class", "value", "low", "high", "confidence", "method"),
    *("n_seeds", "n_patients", "n_images", "simulated", "note"),
]
EFFECT_COLUMNS = [
    *("backbone", "init", "reference", "modality", "metric", "value", "low", "high", "confidence", "method"),
    *("p", "p_holm", "n_seeds", "n_patients", "simulated", "note"),
]
NUMBERS = ("value", "low", "high", "confidence", "p", "p_holm", "n_seeds", "n_patients", "n_images")
"""Columns of metrics.csv and effects.csv that hold numbers."""


def read_measurements(path: Path) -> pd.DataFrame:
    """Return metrics.csv or effects.csv: names stay text, even `007` or `NA`; an empty number is NaN."""
    table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    numbers = [name for name in NUMBERS if name in table.columns]
    return table.assign(**table[numbers].map(exact_number))


def primary_metric() -> Metric:
    """Return the metric of effects, tables and figures."""
    return METRICS[primary.PRIMARY_METRIC]


def primary_rows(metrics: pd.DataFrame, metric: str = "") -> pd.DataFrame:
    """Return the rows of metrics.csv that tables and figures show: one per configuration, in the order of the file.

    A metric of one value, without a name the primary one, at patient level with the primary pooling, averaged over
    folds and seeds, with the limits of INTERVAL_METHOD if the metric has intervals; where these are not defined, low
    and high are NaN and the note has the reason.
    """
    shown = METRICS[metric] if metric else primary_metric()
    wanted = {
        "seed": MEAN,
        "fold": MEAN,
        "level": primary.PRIMARY_LEVEL,
        "pooling": primary.PRIMARY_POOLING,
        "metric": shown.name,
        "method": primary.INTERVAL_METHOD if shown.intervals else "",
    }
    chosen = metrics[list(wanted)].astype("str").eq(pd.Series(wanted)).all(axis=1)
    return metrics[chosen].reset_index(drop=True)


def measure(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    classes: Sequence[str],
    statistics: Statistics,
    seed: int,
) -> pd.DataFrame:
    """Measure every configuration of the merged predictions; the columns are those of metrics.csv.

    Per configuration: at patient level with log pooling every metric, with mean pooling the primary one, to see what
    pooling matters, and at image level every metric. Each is given per fold and seed, and averaged over folds and
    pooled for all seeds together (seed `mean`), with several seeds also for each. Metrics whose entry says so carry
    intervals at patient level with log pooling, averaged over folds and seeds: one row per interval method, with the
    same value.
    """
    resamples = _resamples(predictions, statistics, seed)
    rows: list[dict[str, Any]] = []
    for key, of_one in predictions.groupby(CONFIGURATION, sort=False):
        identity = dict(zip(CONFIGURATION, key, strict=True))
        rows += [identity | row for row in _configuration_rows(of_one, classes, statistics, resamples)]
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

    One row per backbone and modality, then the main effect, their plain mean, as backbone `all` and modality `all`
    (left out where there is only one difference); these are the family of Holm's adjustment. The value is a difference
    of primary values, averaged over folds and seeds, with the interval of INTERVAL_METHOD, p as in bootstrap_p_value.
    No rows where statistics.pretraining_effect is None. Raise InputError that names each configuration that lacks its
    partner.
    """
    if statistics.pretraining_effect is None:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    init, reference = statistics.pretraining_effect
    compared = predictions[predictions["init"].isin([init, reference])]
    resamples = _resamples(predictions, statistics, seed)
    metric = primary_metric()
    values: dict[Any, Estimate] = {}
    for key, of_one in compared.groupby(CONFIGURATION, sort=False):
        seeds = _by_seed(pool_patients(of_one, classes, primary.PRIMARY_POOLING), classes, resamples)
        values[key] = _mean_over_seeds(metric, seeds)[0]
    partners = list(dict.fromkeys((backbone, modality) for backbone, _, modality in values))
    _refuse_lonely(values, partners, (init, reference))
    differences = {
        (backbone, modality): values[backbone, init, modality] - values[backbone, reference, modality]
        for backbone, modality in partners
    }
    if len(differences) > 1:
        differences["all", "all"] = mean_estimate(list(differences.values()))
    rows = [_effect_row(key, difference, compared, statistics) for key, difference in differences.items()]
    table = pd.DataFrame(rows).assign(init=init, reference=reference, metric=primary.PRIMARY_METRIC)
    table = table.assign(p_holm=holm(table["p"].to_numpy()), simulated=_simulated(predictions, patients))
    return table.reindex(columns=EFFECT_COLUMNS)


@dataclass(frozen=True)
class _Scored:
    """Patients, or images, of one configuration and seed, with labels and probabilities."""

    rows: pd.DataFrame
    classes: Sequence[str]
    resamples: Resamples

    @cached_property
    def y(self) -> Int64s:
        return class_codes(self.rows["label"], self.classes)

    @cached_property
    def p(self) -> Float64s:
        return self.rows[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def fold(self) -> Int64s:
        return self.rows["fold"].to_numpy(dtype=np.int64)

    @cached_property
    def parts(self) -> dict[str, Int64s]:
        """Row numbers of each fold, and of all that `mean` and `pooled` are made of."""
        everything = np.arange(len(self.rows))
        folds = {str(fold): np.flatnonzero(self.fold == fold) for fold in np.unique(self.fold)}
        return {**folds, MEAN: everything, POOLED: everything}

    @cached_property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Numbers of patients and images of each part."""
        parts = {part: self.rows.iloc[rows] for part, rows in self.parts.items()}
        return {
            part: {"n_patients": rows["patient_id"].nunique(), "n_images": int(rows["n_images"].sum())}
            for part, rows in parts.items()
        }

    def values(self, metric: Metric) -> dict[str, Float64s]:
        """Values of each part: (classes,) of a metric per class, otherwise (1,)."""
        values = {part: metric(self.y[rows], self.p[rows]) for part, rows in self.parts.items()}
        values[MEAN] = metric.fold_mean(self.y, self.p, self.fold)
        return {part: np.atleast_1d(value) for part, value in values.items()}

    def why_undefined(self, metric: Metric, part: str) -> str:
        """Why a metric has no value in a part."""
        rows = self.parts[part]
        fold = self.fold[rows] if part == MEAN else np.zeros(len(rows), dtype=np.int64)
        return metric.why_undefined(self.y[rows], fold, self.classes)

    @cached_property
    def position(self) -> Int64s:
        """Place of each row's patient in the cohort of the resamples."""
        return self.resamples.positions(list(self.rows["patient_id"]))

    @cached_property
    def pair_tables(self) -> PairTables:
        return pair_tables(self.y, self.p, self.fold, self.position, self.resamples)

    def estimates(self, metric: Metric) -> list[Estimate]:
        """The estimates of the fold mean: one per class of a metric per class, otherwise one."""
        if metric.of_pairs is not None:
            values = metric.of_pairs(self.pair_tables.counts, self.pair_tables.pairs)
        else:
            mean = partial(metric.fold_mean, self.y, self.p, self.fold)
            values = resampled(mean, self.position, self.resamples)
        return [estimate_of(column, self.resamples) for column in values.reshape(len(values), -1).T]


def _by_seed(scored: pd.DataFrame, classes: Sequence[str], resamples: Resamples) -> dict[str, _Scored]:
    """The patients, or images, of a configuration by seed, in ascending order."""
    return {str(seed): _Scored(rows, classes, resamples) for seed, rows in scored.groupby("seed")}


def _mean_over_seeds(metric: Metric, seeds: Mapping[str, _Scored]) -> list[Estimate]:
    of_seeds = [scored.estimates(metric) for scored in seeds.values()]
    return [mean_estimate(estimates) for estimates in zip(*of_seeds, strict=True)]


def _configuration_rows(
    predictions: pd.DataFrame, classes: Sequence[str], statistics: Statistics, resamples: Resamples
) -> Iterator[dict[str, Any]]:
    """The rows of metrics.csv of one configuration, without its identity."""
    every = list(METRICS.values())
    poolings = {how: every if how == primary.PRIMARY_POOLING else [primary_metric()] for how in POOLINGS}
    for level, pooling, metrics, scored in (
        *(("patient", how, some, pool_patients(predictions, classes, how)) for how, some in poolings.items()),
        ("image", "", every, score_images(predictions, classes)),
    ):
        seeds = _by_seed(scored, classes, resamples)
        for metric in metrics:
            estimates: list[Estimate] = []
            if metric.intervals and (level, pooling) == (primary.PRIMARY_LEVEL, primary.PRIMARY_POOLING):
                estimates = _mean_over_seeds(metric, seeds)
            for row in _metric_rows(metric, seeds, classes, estimates, statistics):
                yield {"level": level, "pooling": pooling, "metric": metric.name} | row


def _metric_rows(
    metric: Metric,
    seeds: Mapping[str, _Scored],
    classes: Sequence[str],
    estimates: Sequence[Estimate],
    statistics: Statistics,
) -> Iterator[dict[str, Any]]:
    """The rows of one metric: class by class those of each seed, then their mean, with limits if it has estimates."""
    of_seeds = {seed: scored.values(metric) for seed, scored in seeds.items()}
    for k, name in enumerate(classes if metric.per_class else [""]):
        of_class = {seed: {part: float(values[part][k]) for part in values} for seed, values in of_seeds.items()}
        for seed, values in of_class.items():
            for row in _part_rows(metric, values, {seed: seeds[seed]}):
                if row["fold"] not in (MEAN, POOLED) or len(seeds) > 1:
                    yield {"class": name, "seed": seed, "method": ""} | row
        parts = {part: [values[part] for values in of_class.values()] for part in (MEAN, POOLED)}
        means = {part: float(np.mean(values)) for part, values in parts.items()}
        for row in _part_rows(metric, means, seeds):
            row |= {"class": name, "seed": MEAN, "method": ""}
            if row["fold"] == MEAN and estimates:
                for method in INTERVALS:
                    yield row | _limits(estimates[k], method, statistics, row["note"])
            else:
                yield row


def _part_rows(metric: Metric, values: Mapping[str, float], seeds: Mapping[str, _Scored]) -> Iterator[dict[str, Any]]:
    """A row per part of the data, with its size and, where there is something to say, a note."""
    apart = ""
    if metric.of_pairs is not None and abs(values[POOLED] - values[MEAN]) > TELLING_DIFFERENCE:
        apart = f"pooled {values[POOLED]:.3f} and fold mean {values[MEAN]:.3f} differ by more than {TELLING_DIFFERENCE}"
    first = next(iter(seeds.values()))
    for part, value in values.items():
        note = apart if part in (MEAN, POOLED) else ""
        if np.isnan(value):
            note = first.why_undefined(metric, part)
        yield {"fold": part, "value": value, "note": note, "n_seeds": len(seeds)} | first.sizes[part]


def _limits(estimate: Estimate, method: str, statistics: Statistics, note: str) -> dict[str, Any]:
    interval = INTERVALS[method](estimate, statistics.confidence)
    notes = "; ".join(part for part in (note, interval.note) if part)
    limits = {"low": interval.low, "high": interval.high, "confidence": statistics.confidence}
    return limits | {"method": method, "note": notes}


def _resamples(predictions: pd.DataFrame, statistics: Statistics, seed: int) -> Resamples:
    """The resamples of a study: the same for every configuration, seed of the grid, metric and effect."""
    cohort = predictions[["patient_id", "label", "fold"]].drop_duplicates()
    patient_id, label, fold = (cohort[column].tolist() for column in ("patient_id", "label", "fold"))
    return draw_resamples(patient_id, label, fold, statistics.resamples, derive_seed(seed, "bootstrap"))


def _simulated(predictions: pd.DataFrame, patients: pd.DataFrame) -> bool:
    rows = patients[patients["patient_id"].astype(str).isin(set(predictions["patient_id"]))]
    return bool((rows["simulated"].astype(str) == "True").any())


def _refuse_lonely(
    measured: Container[tuple[str, ...]], partners: Sequence[tuple[str, str]], inits: tuple[str, str]
) -> None:
    problems = Problems()
    for (backbone, modality), init in product(partners, inits):
        if (backbone, init, modality) not in measured:
            problems.add(f"{backbone} {init} {modality}", "has no predictions", "Train its cells")
    if not partners:
        problems.add("statistics.pretraining_effect", "nothing to compare", "Name two inits of the grid")
    problems.raise_if_any()


def _effect_row(
    key: tuple[str, str], difference: Estimate, compared: pd.DataFrame, statistics: Statistics
) -> dict[str, Any]:
    backbone, modality = key
    of_modality = compared if modality == "all" else compared[compared["modality"] == modality]
    note = "" if np.isfinite(difference.value) else "not defined, as one of its values is not, see metrics.csv"
    return {
        "backbone": backbone,
        "modality": modality,
        "value": difference.value,
        **_limits(difference, primary.INTERVAL_METHOD, statistics, note),
        "p": bootstrap_p_value(difference),
        "n_seeds": compared["seed"].nunique(),
        "n_patients": of_modality["patient_id"].nunique(),
    }
