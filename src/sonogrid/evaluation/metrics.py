"""Predictions to point values: pooling images to patients, and the metrics themselves.

Every AUC is read from one table of Mann-Whitney counts, `counts[a, b]`: over all pairs of a case of class a
and a control of class b, how often the case has the higher p(a), a tie counting one half; `pairs[a, b]` is
the number of such pairs. Tables of several folds add up, which is the fold average with weights = case
pairs; the bootstrap in stats.py makes the same tables, with leading axes. A value that is not defined is
NaN, never 0.5 or 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from sonogrid.grid import CONFIGURATION
from sonogrid.problems import Problems

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Pooling = Literal["log", "mean"]

ECE_BINS = 10
"""Number of equal-mass bins of the expected calibration error."""
SMALLEST_P = float(np.finfo(np.float64).eps)
"""The log loss takes smaller probabilities as this, so that one wrong row cannot make it infinite."""


def log_softmax(logits: Floats) -> Floats:
    """Log probabilities of logits (..., classes), in nats; safe for large logits."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def pool_patients(predictions: pd.DataFrame, classes: Sequence[str], how: Pooling = "log") -> pd.DataFrame:
    """One row a patient of a cell from rows of images.

    `log` is the mean of the log-softmax vectors, renormalised (log-opinion pool); `mean` the mean
    probability. Columns of the result, sorted by its keys: backbone, init, modality, fold, patient_id,
    label, p_{class}, n_images. Needs the logit_{class} columns. Raises InputError for a patient with two
    labels.
    """
    return _pool(predictions, classes, [*CONFIGURATION, "fold", "patient_id"], how)


def score_images(predictions: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """One row an image, with the columns of pool_patients and image_id; n_images is 1."""
    return _pool(predictions, classes, [*CONFIGURATION, "fold", "patient_id", "image_id"], "log")


def _pool(predictions: pd.DataFrame, classes: Sequence[str], keys: list[str], how: Pooling) -> pd.DataFrame:
    _refuse_two_labels(predictions)
    # Sorting by image makes the floating-point sums, and so every tie, independent of the order of the rows.
    rows = predictions.sort_values([*keys, *(["image_id"] if "image_id" not in keys else [])])
    log_p = log_softmax(rows[[f"logit_{name}" for name in classes]].to_numpy(dtype=np.float64))
    unit = rows.groupby(keys, sort=False).ngroup().to_numpy()
    starts = np.flatnonzero(np.diff(unit, prepend=-1))
    n_images = np.diff(starts, append=len(rows))
    summed = np.add.reduceat(log_p if how == "log" else np.exp(log_p), starts) if len(rows) else log_p
    pooled = summed / n_images[:, None]
    p = np.exp(log_softmax(pooled)) if how == "log" else pooled
    result = rows.iloc[starts][[*keys, "label"]].reset_index(drop=True)
    return result.assign(**{f"p_{name}": p[:, k] for k, name in enumerate(classes)}, n_images=n_images)


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


def class_codes(labels: pd.Series[str], classes: Sequence[str]) -> Ints:
    """Labels as positions in `classes`; raises InputError for a label that is not among them."""
    codes = pd.Index(classes).get_indexer(pd.Index(labels)).astype(np.int64)
    problems = Problems()
    for label in sorted(set(labels[codes < 0].astype(str))):
        problems.add("predictions", f"label {label!r} is not a class", f"Classes are: {', '.join(classes)}")
    problems.raise_if_any()
    return codes


def mann_whitney(y: Ints, p: Floats) -> tuple[Floats, Floats]:
    """Mann-Whitney counts and pairs, each (classes, classes), of labels (n,) and scores (n, classes).

    Ranks by sorting, in n log n; see the head of this module for their meaning.
    """
    n_classes = p.shape[1]
    sizes = np.bincount(y, minlength=n_classes).astype(np.float64)
    pairs = np.outer(sizes, sizes)
    np.fill_diagonal(pairs, 0.0)
    counts = np.zeros((n_classes, n_classes))
    for a in range(n_classes):
        cases = p[y == a, a]
        for b in range(n_classes):
            if b != a:
                controls = np.sort(p[y == b, a])
                below = np.searchsorted(controls, cases, side="left")
                not_above = np.searchsorted(controls, cases, side="right")
                counts[a, b] = (below + not_above).sum() / 2.0
    return counts, pairs


def _ratio(counts: Floats, pairs: Floats) -> Floats:
    ratio: Floats = np.divide(counts, pairs, out=np.full(np.shape(counts), np.nan), where=pairs > 0)
    return ratio


def auc_ovo(counts: Floats, pairs: Floats) -> Floats:
    """Macro one-vs-one AUC, the M of Hand & Till (2001, doi:10.1023/A:1010920819831); (..., C, C) to (...).

    The mean over ordered class pairs of A(a|b), so that each pair is the mean of its two directions; in [0,
    1], NaN if a pair of classes has no pair of cases.
    """
    off_diagonal = ~np.eye(counts.shape[-1], dtype=bool)
    return np.asarray(_ratio(counts, pairs)[..., off_diagonal].mean(axis=-1))


def auc_class(counts: Floats, pairs: Floats) -> Floats:
    """AUC of each class against the rest, (..., C, C) to (..., C); in [0, 1], NaN without cases or rest."""
    return _ratio(counts.sum(axis=-1), pairs.sum(axis=-1))


def auc_ovr(counts: Floats, pairs: Floats) -> Floats:
    """Macro one-vs-rest AUC, the mean over classes of auc_class; (..., C, C) to (...)."""
    return np.asarray(auc_class(counts, pairs).mean(axis=-1))


AUCS: dict[str, Callable[[Floats, Floats], Floats]] = {"roc_auc_ovo": auc_ovo, "roc_auc_ovr": auc_ovr}
"""Macro AUCs by name: functions of Mann-Whitney counts and numbers of pairs."""


def why_undefined(pairs: Floats, classes: Sequence[str]) -> str:
    """Say which classes a table of pairs (C, C) cannot compare, for the note of a NaN; else empty."""
    lacking = [
        f"{first} with {second}"
        for a, first in enumerate(classes)
        for b, second in enumerate(classes)
        if a < b and pairs[a, b] == 0
    ]
    return f"not defined: no pair to compare {', '.join(lacking)}" if lacking else ""


def confusion(y: Ints, p: Floats) -> Floats:
    """Confusion matrix (C, C), rows the true class, columns the most probable one (the first of equals)."""
    n_classes = p.shape[1]
    cells = np.bincount(y * n_classes + p.argmax(axis=1), minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.float64)


def balanced_accuracy(y: Ints, p: Floats) -> float:
    """Mean over classes of the recall of the most probable class; in [0, 1], NaN if a class is absent."""
    table = confusion(y, p)
    return float(_ratio(np.diag(table), table.sum(axis=1)).mean())


def f1_macro(y: Ints, p: Floats) -> float:
    """Mean over classes of F1 of the most probable class; in [0, 1], NaN if a class is absent."""
    table = confusion(y, p)
    true, predicted = table.sum(axis=1), table.sum(axis=0)
    f1 = _ratio(2.0 * np.diag(table), true + predicted)
    return float(np.where(true > 0, f1, np.nan).mean())


def brier(y: Ints, p: Floats) -> float:
    """Brier score: mean over rows of the squared error summed over classes; in [0, 2], lower is better.

    Brier (1950, Monthly Weather Review 78:1). With two classes it is twice the one-column form.
    """
    return float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean()) if len(y) else float("nan")


def log_loss(y: Ints, p: Floats) -> float:
    """Mean negative log probability of the true class, in nats; p is taken as at least SMALLEST_P."""
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], SMALLEST_P)).mean()) if len(y) else float("nan")


def ece(y: Ints, p: Floats) -> float:
    """Expected calibration error of the most probable class over ECE_BINS equal-mass bins; in [0, 1].

    Guo et al. (2017, arXiv:1706.04599) with equal-mass bins (Nixon et al. 2019, arXiv:1904.01685). Equal
    confidences share a bin, so the value does not depend on the order of rows. Biased upwards in small
    samples.
    """
    if not len(y):
        return float("nan")
    confidence = p.max(axis=1)
    error = (p.argmax(axis=1) == y) - confidence
    below = np.searchsorted(np.sort(confidence), confidence, side="left")
    gaps = np.bincount(below * ECE_BINS // len(y), weights=error, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(y))


PLAIN: dict[str, Callable[[Ints, Floats], float]] = {
    "balanced_accuracy": balanced_accuracy,
    "f1_macro": f1_macro,
    "brier": brier,
    "log_loss": log_loss,
    "ece": ece,
}
"""Metrics that are a function of labels (n,) and probabilities (n, classes); over folds averaged by rows."""
