"""Point values to intervals and tests: patient bootstrap, percentile and BCa limits, differences.

The patients of the cohort are resampled once, stratified by class within folds, and every configuration is computed on
the same resamples; a patient who lacks a modality is left out of its configurations. A resample is a weight per
patient, so any metric that respects weights has an Estimate (`resampled`). AUCs are ratios of Mann-Whitney counts, for
which a resample costs a matrix product and leaving one patient out a subtraction (`pair_tables`). An Estimate carries
value, resamples and jackknife together; means and differences of estimates are estimates, which is what makes a
comparison paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from sonogrid.evaluation.metrics import Float64s, Int64s

MOST_UNDEFINED = 0.05
"""Above this share of resamples without a value, no interval is given."""
NO_WIDTH = "every resample gives the same value, so the interval has no width and shows no uncertainty"


@dataclass(frozen=True)
class Resamples:
    """The shared bootstrap of a cohort of n patients, sorted by patient_id.

    patient_id (n,); strata (n,), the number of each patient's class within its fold; counts (resamples, n), how often
    each patient was drawn.
    """

    patient_id: npt.NDArray[np.object_]
    strata: Int64s
    counts: Float64s

    def positions(self, patient_id: Sequence[str]) -> Int64s:
        """Return the places of patients in the cohort; raise KeyError for a patient who is not in it."""
        order = {patient: k for k, patient in enumerate(self.patient_id)}
        return np.array([order[patient] for patient in patient_id], dtype=np.int64)


def draw_resamples(
    patient_id: Sequence[str], label: Sequence[str], fold: Sequence[int], n_resamples: int, seed: int
) -> Resamples:
    """Draw bootstrap resamples of patients, stratified by class within folds.

    The three sequences have one entry per patient, in any order: the result depends only on who is there. Every
    resample has as many patients of a class in a fold as the cohort. A stratum of m patients understates its variance
    by the factor (m - 1) / m.
    """
    cohort = sorted(zip(patient_id, fold, label, strict=True))
    if len({patient for patient, _, _ in cohort}) < len(cohort):
        raise ValueError("a patient is in the cohort twice")
    names = sorted({(of_fold, of_label) for _, of_fold, of_label in cohort})
    number = {name: k for k, name in enumerate(names)}
    strata = np.array([number[of_fold, of_label] for _, of_fold, of_label in cohort], dtype=np.int64)
    counts = np.zeros((n_resamples, len(cohort)))
    rng = np.random.default_rng(seed)
    for stratum in range(len(names)):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=n_resamples)
    return Resamples(np.array([patient for patient, _, _ in cohort], dtype=object), strata, counts)


@dataclass(frozen=True)
class Estimate:
    """A value, its bootstrap replicates (resamples,), its jackknife (n,) and strata (n,) over patients."""

    value: float
    replicates: Float64s
    jackknife: Float64s
    strata: Int64s

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the paired difference; both must come from the same resamples."""
        return Estimate(
            self.value - other.value,
            self.replicates - other.replicates,
            self.jackknife - other.jackknife,
            self.strata,
        )


def mean_estimate(estimates: Sequence[Estimate]) -> Estimate:
    """Return the plain mean of estimates that come from the same resamples."""
    return Estimate(
        float(np.mean([estimate.value for estimate in estimates])),
        np.mean([estimate.replicates for estimate in estimates], axis=0),
        np.mean([estimate.jackknife for estimate in estimates], axis=0),
        estimates[0].strata,
    )


BLOCK = 512
"""Number of resamples that are computed together; bounds the memory of resampled()."""


def resampled(function: Callable[[Float64s], Float64s], position: Int64s, resamples: Resamples) -> Float64s:
    """Return a statistic of the sample, of every resample and without each patient of the cohort.

    `function` maps weights (m, rows) to values (m, ...); position (rows,) of the patient of each row in the cohort of
    `resamples`. The result is (1 + resamples + n, ...), as estimate_of takes it.
    """

    def blocks() -> Iterator[Float64s]:
        n = len(resamples.strata)
        yield np.ones((1, n))
        yield from np.split(resamples.counts, range(BLOCK, len(resamples.counts), BLOCK))
        for left_out in np.split(np.arange(n), range(BLOCK, n, BLOCK)):
            yield (np.arange(n) != left_out[:, None]).astype(np.float64)

    return np.concatenate([function(np.take(block, position, axis=1)) for block in blocks()])


def estimate_of(values: Float64s, resamples: Resamples) -> Estimate:
    """Return the estimate of values (1 + resamples + n,): of the sample, each resample, and without each patient."""
    end = 1 + len(resamples.counts)
    return Estimate(float(values[0]), values[1:end], values[end:], resamples.strata)


@dataclass(frozen=True)
class PairTables:
    """Mann-Whitney counts and pairs (see metrics.py), summed over folds, of a configuration: the short cut of AUCs.

    counts and pairs (1 + resamples + n, classes, classes): first the value, then each resample, then each patient of
    the cohort left out.
    """

    counts: Float64s
    pairs: Float64s
    resamples: Resamples

    def estimate(self, auc: Callable[[Float64s, Float64s], Float64s]) -> Estimate:
        """Return the estimate of an AUC that maps tables (m, C, C) to values (m,)."""
        return estimate_of(auc(self.counts, self.pairs), self.resamples)


def pair_tables(y: Int64s, p: Float64s, fold: Int64s, position: Int64s, resamples: Resamples) -> PairTables:
    """Count case pairs within folds, in the sample, in every resample and without each patient.

    y (n,) classes, p (n, classes) scores, fold (n,), position (n,) of each patient in the cohort of `resamples`. Raise
    ValueError if a patient has two rows, which the counts without a patient would take for two patients.
    """
    if len(np.unique(position)) < len(position):
        raise ValueError("a patient has two rows")
    n_classes, n_cohort = p.shape[1], len(resamples.strata)
    n_resamples = len(resamples.counts)
    counts = np.zeros((1 + n_resamples + n_cohort, n_classes, n_classes))
    pairs = np.zeros_like(counts)
    value, drawn, left_out = slice(0, 1), slice(1, 1 + n_resamples), slice(1 + n_resamples, None)
    for of_fold in np.unique(fold):
        members = [np.flatnonzero((fold == of_fold) & (y == c)) for c in range(n_classes)]
        weights = [resamples.counts[:, position[rows]] for rows in members]
        for a in range(n_classes):
            for b in range(n_classes):
                if a == b or not len(members[a]) or not len(members[b]):
                    continue
                kernel = _kernel(p[members[a], a], p[members[b], a])
                of_all, n_pairs = kernel.sum(), kernel.size
                for part in (value, left_out):
                    counts[part, a, b] += of_all
                    pairs[part, a, b] += n_pairs
                counts[drawn, a, b] += ((weights[a] @ kernel) * weights[b]).sum(axis=1)
                pairs[drawn, a, b] += weights[a].sum(axis=1) * weights[b].sum(axis=1)
                cases, controls = (left_out.start + position[members[c]] for c in (a, b))
                counts[cases, a, b] -= kernel.sum(axis=1)
                counts[controls, a, b] -= kernel.sum(axis=0)
                pairs[cases, a, b] -= len(controls)
                pairs[controls, a, b] -= len(cases)
    return PairTables(counts, pairs, resamples)


def _kernel(cases: Float64s, controls: Float64s) -> Float64s:
    """1 where the case scores higher, 1/2 where equal, else 0: (cases, controls)."""
    difference = cases[:, None] - controls[None, :]
    return np.heaviside(difference, 0.5)


@dataclass(frozen=True)
class Interval:
    """Confidence limits; NaN where they are not defined, with the reason in `note`."""

    low: float
    high: float
    note: str = ""


NO_LIMITS = float("nan")


def percentile_interval(estimate: Estimate, confidence: float) -> Interval:
    """Return percentile limits: quantiles of the replicates, interpolated linearly."""
    replicates, note = _usable(estimate)
    if not len(replicates):
        return Interval(NO_LIMITS, NO_LIMITS, note)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return Interval(float(low), float(high), note)


def bca_interval(estimate: Estimate, confidence: float) -> Interval:
    """Return bias-corrected and accelerated limits (Efron 1987, doi:10.1080/01621459.1987.10478410).

    Bias correction from the share of replicates below the value, ties counting one half; acceleration from the
    stratified jackknife. Where all replicates are equal, both limits are that value and the note says so.
    """
    replicates, note = _usable(estimate)
    if not len(replicates):
        return Interval(NO_LIMITS, NO_LIMITS, note)
    if np.ptp(replicates) == 0.0:
        return Interval(float(replicates[0]), float(replicates[0]), note)
    shift, skew, reason = _bca_constants(estimate, replicates)
    if reason:
        return Interval(NO_LIMITS, NO_LIMITS, _join(note, reason))
    tail = (1.0 - confidence) / 2.0
    moved = shift + ndtri(np.array([tail, 1.0 - tail]))
    if (1.0 - skew * moved).min() <= 0.0:
        return Interval(NO_LIMITS, NO_LIMITS, _join(note, "BCa not defined: the acceleration is too large"))
    low, high = np.quantile(replicates, ndtr(shift + moved / (1.0 - skew * moved)))
    return Interval(float(low), float(high), note)


INTERVALS: dict[str, Callable[[Estimate, float], Interval]] = {
    "bca": bca_interval,
    "percentile": percentile_interval,
}
"""Interval methods by their name in the column `method`."""


def bootstrap_p_value(estimate: Estimate) -> float:
    """Return the two-sided bootstrap p of the hypothesis that the value is 0, by inverting the BCa interval.

    p is the smallest alpha whose BCa interval of level 1 - alpha leaves out 0, but never less than 2 / (resamples + 1),
    the least that so many resamples can show. 1 where value and all replicates are 0; NaN where the interval is not
    defined or has no width.
    """
    replicates, _ = _usable(estimate)
    if not len(replicates):
        return float("nan")
    if np.ptp(replicates) == 0.0:
        return 1.0 if replicates[0] == 0.0 and estimate.value == 0.0 else float("nan")
    shift, skew, reason = _bca_constants(estimate, replicates)
    if reason:
        return float("nan")
    least = 1.0 / (len(replicates) + 1)
    away = ndtri(np.clip(_share_below(replicates, 0.0), least, 1.0 - least)) - shift
    slope = 1.0 + skew * away
    one_sided = ndtr(away / slope - shift) if slope > 0.0 else 0.0
    return float(np.clip(2.0 * min(one_sided, 1.0 - one_sided), 2.0 * least, 1.0))


def acceleration(jackknife: Float64s, strata: Int64s) -> float:
    """Return the acceleration of a stratified sample from its jackknife values (n,); 0 where these do not vary.

    sum U^3 / m^3 over 6 (sum U^2 / m^2)^(3/2), with U = (m - 1)(stratum mean - value without the patient) and m the
    size of the stratum (Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.3.2).
    """
    sizes = np.bincount(strata)
    means = np.bincount(strata, weights=jackknife) / np.maximum(sizes, 1)
    m = sizes[strata]
    influence = (m - 1) * (means[strata] - jackknife) / m
    spread = float((influence**2).sum())
    return float((influence**3).sum() / (6.0 * spread**1.5)) if spread > 0.0 else 0.0


def _bca_constants(estimate: Estimate, replicates: Float64s) -> tuple[float, float, str]:
    """Bias correction and acceleration, or why there are none."""
    share = _share_below(replicates, estimate.value)
    if not 0.0 < share < 1.0:
        return 0.0, 0.0, "BCa not defined: the value lies outside all resamples"
    if not np.isfinite(estimate.jackknife).all():
        return 0.0, 0.0, "BCa not defined: without one of the patients there is no value"
    return float(ndtri(share)), acceleration(estimate.jackknife, estimate.strata), ""


def _share_below(replicates: Float64s, value: float) -> float:
    return float(((replicates < value).sum() + (replicates <= value).sum()) / (2 * len(replicates)))


def _usable(estimate: Estimate) -> tuple[Float64s, str]:
    """Replicates that have a value and a remark on them; none if the estimate has no interval."""
    none: Float64s = np.empty(0)
    if not np.isfinite(estimate.value):
        return none, ""
    finite = np.isfinite(estimate.replicates)
    undefined, total = int((~finite).sum()), len(finite)
    if undefined > MOST_UNDEFINED * total:
        return none, f"no interval: {undefined} of {total} resamples have no value"
    note = f"{undefined} of {total} resamples have no value and are left out" if undefined else ""
    replicates = estimate.replicates[finite]
    return replicates, _join(note, NO_WIDTH) if np.ptp(replicates) == 0.0 else note


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
