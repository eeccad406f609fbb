"""Predictions to point values: pooling images to patients, and the table of metrics.

A metric is one function and one entry of METRICS. The function takes labels y (n,), probabilities p (n, classes) and
weights (..., n), one per row, and returns values (...), or (..., classes) if it has one per class. A weight of k counts
a row k times: a point value has weights of 1, a resample how often each patient was drawn, so a metric that respects
its weights has bootstrap intervals. A value that is not defined is NaN, never 0.5 or 1.

Every AUC is read from one table of Mann-Whitney counts, `counts[a, b]`: over all pairs of a case of class a and a
control of class b, how often the case has the higher p(a), a tie counting one half; `pairs[a, b]` is the number of such
pairs. Tables of several folds add up, which is the fold average with weights = case pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from sonogrid.evaluation.primary import PRIMARY_POOLING
from sonogrid.grid import AXES
from sonogrid.problems import Problems

Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

ECE_BINS = 10
"""Number of equal-mass bins of the expected calibration error."""
SMALLEST_P = float(np.finfo(np.float64).eps)
"""The log loss raises smaller probabilities to this, so that one wrong row cannot make it infinite."""


def pool_patients(predictions: pd.DataFrame, classes: Sequence[str], how: str = PRIMARY_POOLING) -> pd.DataFrame:
    """Return one row per patient of a cell from rows of images.

    `how` is a name of POOLINGS: `log` is the mean of the log-softmax vectors, renormalised (log-opinion pool); `mean`
    the mean probability. Columns of the result, sorted by the first of them: the axes of a cell, patient_id, label,
    p_{class}, n_images. Needs the logit_{class} columns. Raise InputError for a patient with two labels.
    """
    return _pool(predictions, classes, [*AXES, "patient_id"], how)


def score_images(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return one row per image, with the columns of pool_patients and image_id; n_images is 1."""
    return _pool(predictions, classes, [*AXES, "patient_id", "image_id"], "log")


def _pool(predictions: pd.DataFrame, classes: Sequence[str], keys: list[str], how: str) -> pd.DataFrame:
    _refuse_two_labels(predictions)
    # Sorting by image makes the floating-point sums, and so every tie, independent of the order of the rows.
    rows = predictions.sort_values([*keys, *(["image_id"] if "image_id" not in keys else [])])
    log_p = special.log_softmax(rows[[f"logit_{name}" for name in classes]].to_numpy(dtype=np.float64), axis=-1)
    unit = rows.groupby(keys, sort=False).ngroup().to_numpy()
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    n_images = np.diff(starts, append=len(rows))
    p = _POOLED[how](log_p, starts, n_images) if len(rows) else log_p
    result = rows.iloc[starts][[*keys, "label"]].reset_index(drop=True)
    return result.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(classes)}, n_images=n_images)


def _log_opinion(log_p: Float64s, starts: Int64s, n_images: Int64s) -> Float64s:
    p: Float64s = np.exp(special.log_softmax(np.add.reduceat(log_p, starts) / n_images[:, None], axis=-1))
    return p


def _mean_probability(log_p: Float64s, starts: Int64s, n_images: Int64s) -> Float64s:
    return np.add.reduceat(np.exp(log_p), starts) / n_images[:, None]


_POOLED = {"log": _log_opinion, "mean": _mean_probability}
"""POOLINGS -> function of log probabilities (images x classes), the first image of each patient and their number."""


def _refuse_two_labels(predictions: pd.DataFrame) -> None:
    labels = predictions[["patient_id", "label"]].drop_duplicates()
    problems = Problems()
    for patient, found in labels[labels["patient_id"].duplicated(keep=False)].groupby("patient_id")["label"]:
        problems.add(
            f"predictions of patient {patient}",
            f"has the labels {', '.join(sorted(map(str, found)))}",
            "Give the patient one label in the cohort and run its cells again",
        )
    problems.raise_if_any()


def class_codes(labels: pd.Series[str], classes: Sequence[str]) -> Int64s:
    """Return labels as positions in `classes`; raise InputError for a label that is not among them."""
    codes = pd.Index(classes).get_indexer(pd.Index(labels)).astype(np.int64)
    problems = Problems()
    for label in sorted(set(labels[codes < 0].astype(str))):
        problems.add("predictions", f"label {label!r} is not a class", f"Classes are: {', '.join(classes)}")
    problems.raise_if_any()
    return codes


def mann_whitney(y: Int64s, p: Float64s, weights: Float64s | None = None) -> tuple[Float64s, Float64s]:
    """Return Mann-Whitney counts and pairs, each (..., classes, classes), of weights (..., n); see the top of the file.

    A pair counts as the product of its two weights. Ranks by sorting, in n log n.
    """
    weights, n_classes = _weights(y, weights), p.shape[1]
    of_class = [np.flatnonzero(y == c) for c in range(n_classes)]
    sizes = np.stack([_of(weights, rows).sum(axis=-1) for rows in of_class], axis=-1)
    pairs = sizes[..., :, None] * sizes[..., None, :] * (1.0 - np.eye(n_classes))
    counts = np.zeros_like(pairs)
    for a in range(n_classes):
        cases, weight = p[of_class[a], a], _of(weights, of_class[a])
        for b in range(n_classes):
            if b != a:
                order = of_class[b][np.argsort(p[of_class[b], a], kind="stable")]
                lower = _running_sum(_of(weights, order))
                below = np.searchsorted(p[order, a], cases, side="left")
                not_above = np.searchsorted(p[order, a], cases, side="right")
                counts[..., a, b] = (weight * (lower[..., below] + lower[..., not_above])).sum(axis=-1) / 2.0
    return counts, pairs


def _weights(y: Int64s, weights: Float64s | None) -> Float64s:
    return np.ones(len(y)) if weights is None else weights


def _of(weights: Float64s, rows: Int64s) -> Float64s:
    """The weights of some rows."""
    return np.take(weights, rows, axis=-1)


def _running_sum(weights: Float64s) -> Float64s:
    """Sums of the first 0, 1, ..., n weights: (..., n) to (..., n + 1)."""
    start = np.zeros((*weights.shape[:-1], 1))
    return np.concatenate([start, np.cumsum(weights, axis=-1)], axis=-1)


def _ratio(upper: Float64s, lower: Float64s) -> Float64s:
    """The quotient, NaN where the denominator is 0."""
    shape = np.broadcast_shapes(np.shape(upper), np.shape(lower))
    ratio: Float64s = np.divide(upper, lower, out=np.full(shape, np.nan), where=np.asarray(lower > 0))
    return ratio


def _average(values: Float64s, weights: Float64s) -> Float64s:
    """The weighted mean over the last axis, NaN without weight."""
    return _ratio((weights * values).sum(axis=-1), weights.sum(axis=-1))


def auc_ovo(counts: Float64s, pairs: Float64s) -> Float64s:
    """Return the macro one-vs-one AUC, the M of Hand & Till (2001, doi:10.1023/A:1010920819831); (..., C, C) to (...).

    The mean over ordered class pairs of A(a|b), so that each pair is the mean of its two directions; in [0, 1], NaN if
    a pair of classes has no pair of cases.
    """
    off_diagonal = ~np.eye(counts.shape[-1], dtype=bool)
    return np.asarray(_ratio(counts, pairs)[..., off_diagonal].mean(axis=-1))


def auc_class(counts: Float64s, pairs: Float64s) -> Float64s:
    """Return the AUC of each class against the rest, (..., C, C) to (..., C); in [0, 1], NaN without cases or rest."""
    return _ratio(counts.sum(axis=-1), pairs.sum(axis=-1))


def auc_ovr(counts: Float64s, pairs: Float64s) -> Float64s:
    """Return the macro one-vs-rest AUC, the mean over classes of auc_class; (..., C, C) to (...)."""
    return np.asarray(auc_class(counts, pairs).mean(axis=-1))


def confusion(y: Int64s, p: Float64s, weights: Float64s | None = None) -> Float64s:
    """Return confusion matrices (..., C, C) of weights (..., n): rows the true class, columns the most probable one.

    Of equal probabilities the first class counts as the most probable.
    """
    weights, n_classes = _weights(y, weights), p.shape[1]
    table = weights @ np.eye(n_classes**2)[y * n_classes + p.argmax(axis=1)]
    return np.asarray(table.reshape(*weights.shape[:-1], n_classes, n_classes))


def balanced_accuracy(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
    """Return the mean over classes of the recall of the most probable class; in [0, 1], NaN if a class is absent."""
    table = confusion(y, p, weights)
    recall = _ratio(table.diagonal(axis1=-2, axis2=-1), table.sum(axis=-1))
    return np.asarray(recall.mean(axis=-1))


def f1_macro(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
    """Return the mean over classes of F1 of the most probable class; in [0, 1], NaN if a class is absent."""
    table = confusion(y, p, weights)
    true, predicted = table.sum(axis=-1), table.sum(axis=-2)
    f1 = _ratio(2.0 * table.diagonal(axis1=-2, axis2=-1), true + predicted)
    return np.asarray(np.where(true > 0, f1, np.nan).mean(axis=-1))


def brier(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
    """Return the Brier score: the mean over rows of the squared error summed over classes; in [0, 2].

    Brier (1950, Monthly Weather Review 78:1). With two classes it is twice the one-column form.
    """
    return _average(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1), weights)


def log_loss(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
    """Return the mean negative log probability of the true class, in nats; p is taken as at least SMALLEST_P."""
    return _average(-np.log(np.maximum(p[np.arange(len(y)), y], SMALLEST_P)), weights)


def ece(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
    """Return the expected calibration error of the most probable class over ECE_BINS equal-mass bins; in [0, 1].

    Guo et al. (2017, arXiv:1706.04599) with equal-mass bins (Nixon et al. 2019, arXiv:1904.01685). Equal confidences
    share a bin, so the value does not depend on the order of rows. Biased upwards in small samples.
    """
    confidence = p.max(axis=1)
    error = (p.argmax(axis=1) == y) - confidence
    order = np.argsort(confidence, kind="stable")
    total = weights.sum(axis=-1, keepdims=True)
    below = _running_sum(_of(weights, order))[..., np.searchsorted(confidence[order], confidence, side="left")]
    # Rows without weight above all others would open a bin more.
    share = np.nan_to_num(_ratio(below * ECE_BINS, total))
    bins = np.minimum(share, ECE_BINS - 1).astype(np.int64)
    samples = np.arange(total.size).reshape(total.shape)
    gaps = np.bincount(
        (samples * ECE_BINS + bins).ravel(), weights=(weights * error).ravel(), minlength=total.size * ECE_BINS
    )
    return _ratio(np.abs(gaps).reshape(*weights.shape[:-1], ECE_BINS).sum(axis=-1), total[..., 0])


@dataclass(frozen=True)
class Metric:
    """An entry of METRICS: how a metric is called, read and computed."""

    name: str
    """its name in the column `metric`"""
    words: str
    """its name for people"""
    higher_is_better: bool
    unit: str
    """empty for a share or a probability"""
    function: Callable[[Int64s, Float64s, Float64s], Float64s]
    """values (...), or (..., classes), of labels (n,), probabilities (n, classes) and weights (..., n)"""
    per_class: bool = False
    """whether it has one value per class"""
    intervals: bool = True
    """whether the bootstrap is valid for it, so that its fold mean carries intervals"""
    of_pairs: Callable[[Float64s, Float64s], Float64s] | None = None
    """of a rank metric: the same value of Mann-Whitney counts and pairs, which add up over folds"""
    words_of_two: str = ""
    """its name for people in a study of two classes, if another one"""
    short: str = ""
    """its name inside a sentence and beside an axis, if not `words` with a small letter"""
    source: str = ""
    """where its form for more than two classes is defined"""
    scale: tuple[float, float] | None = None
    """chance and best value, if they are the same in every study: the ends of a colour scale"""

    def title(self, classes: Sequence[str]) -> str:
        """Return the name for people in a study of these classes, with its unit."""
        return self._with_unit(self.words_of_two if self.words_of_two and len(classes) == 2 else self.words)

    @property
    def label(self) -> str:
        """The name inside a sentence and beside an axis, with its unit."""
        return self._with_unit(self.short or self.words[0].lower() + self.words[1:])

    @property
    def weights_of_folds(self) -> str:
        """By what `fold_mean` weighs the folds of patients, in words."""
        return f"number of {'patients' if self.of_pairs is None else 'case pairs'}"

    def _with_unit(self, name: str) -> str:
        return f"{name} ({self.unit})" if self.unit else name

    def __call__(self, y: Int64s, p: Float64s, weights: Float64s | None = None) -> Float64s:
        """Return the values of weights (..., n); without weights the value of the rows as they are."""
        return self.function(y, p, _weights(y, weights))

    def fold_mean(self, y: Int64s, p: Float64s, fold: Int64s, weights: Float64s | None = None) -> Float64s:
        """Return the values within folds (n,), averaged over folds.

        A fold weighs by its case pairs in a rank metric, otherwise by its rows. NaN if a fold has no value.
        """
        weights = _weights(y, weights)
        rows_of_folds = [np.flatnonzero(fold == one) for one in np.unique(fold)]
        folds = [(y[rows], p[rows], _of(weights, rows)) for rows in rows_of_folds]
        if self.of_pairs is not None:
            counts, pairs = (
                np.sum(tables, axis=0) for tables in zip(*(mann_whitney(*one) for one in folds), strict=True)
            )
            return self.of_pairs(counts, pairs)
        values = np.stack([self.function(*one) for one in folds], axis=-1)
        rows = np.stack([weight.sum(axis=-1) for _, _, weight in folds], axis=-1)
        return _average(values, rows[..., None, :] if self.per_class else rows)

    def why_undefined(self, y: Int64s, fold: Int64s, classes: Sequence[str]) -> str:
        """Return why there is no value, for a note: what the labels within folds (n,) lack."""
        sizes = np.stack([np.bincount(y[fold == one], minlength=len(classes)) for one in np.unique(fold)])
        if self.of_pairs is None:
            lacking = [name for name, of_class in zip(classes, sizes.T, strict=True) if not of_class.all()]
            where = " in one of the folds" if len(sizes) > 1 else ""
            return f"not defined: no {', '.join(sorted(lacking))}{where}" if lacking else "not defined"
        pairs = sizes.T @ sizes
        lacking = [
            f"{first} with {second}"
            for a, first in enumerate(classes)
            for b, second in enumerate(classes)
            if a < b and pairs[a, b] == 0
        ]
        return f"not defined: no pair to compare {', '.join(lacking)}" if lacking else "not defined"


def _rank_metric(
    name: str, words: str, of_pairs: Callable[[Float64s, Float64s], Float64s], per_class: bool = False, source: str = ""
) -> Metric:
    """An AUC from its function of Mann-Whitney counts and pairs; with two classes all of them are the plain AUC."""

    def function(y: Int64s, p: Float64s, weights: Float64s) -> Float64s:
        return of_pairs(*mann_whitney(y, p, weights))

    entry = Metric(name, words, True, "", function, per_class, of_pairs=of_pairs, words_of_two="ROC AUC")
    return replace(entry, short="AUC", source=source, scale=(0.5, 1.0))


HAND_AND_TILL = "Hand and Till 2001, doi:10.1023/A:1010920819831"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _rank_metric("roc_auc_ovo", "Macro one-vs-one ROC AUC", auc_ovo, source=HAND_AND_TILL),
        _rank_metric("roc_auc_ovr", "Macro one-vs-rest ROC AUC", auc_ovr),
        _rank_metric("roc_auc_class", "One-vs-rest ROC AUC", auc_class, per_class=True),
        Metric("balanced_accuracy", "Balanced accuracy", True, "", balanced_accuracy),
        Metric("f1_macro", "Macro F1", True, "", f1_macro),
        Metric("brier", "Brier score", False, "", brier, short="Brier score"),
        Metric("log_loss", "Log loss", False, "nats", log_loss),
        # A resample repeats patients, which moves its calibration error upwards: its quantiles are no interval.
        Metric("ece", "Expected calibration error", False, "", ece, intervals=False),
    )
}
"""Every metric by its name, in the order of metrics.csv."""
