import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import bootstrap, gamma, norm
from unit.evaluation.test_metrics import sines

from sonogrid.evaluation.intervals import (
    INTERVALS,
    MOST_UNDEFINED,
    Estimate,
    Resamples,
    acceleration,
    bca_interval,
    bootstrap_p_value,
    draw_resamples,
    estimate_of,
    mean_estimate,
    pair_tables,
    percentile_interval,
    resampled,
)
from sonogrid.evaluation.metrics import METRICS, auc_class, auc_ovo, mann_whitney


def cohort(
    seed: int, n: int = 45, n_classes: int = 3, folds: int = 3, signal: float = 1.0, resamples: int = 300
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Resamples]:
    """Labels, probabilities (from rounded logits, for ties) and folds of n patients, and their resamples."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    fold = np.arange(n) // n_classes % folds
    logits = rng.normal(size=(n, n_classes)).round(1)
    logits[np.arange(n), y] += signal
    drawn = draw_resamples([f"P{i:03d}" for i in range(n)], [str(c) for c in y], list(fold), resamples, seed)
    return y, softmax(logits, axis=1), fold, drawn


def estimate(seed: int = 1, **options: float) -> Estimate:
    y, p, fold, resamples = cohort(seed, **options)  # type: ignore[arg-type]
    return pair_tables(y, p, fold, np.arange(len(y)), resamples).estimate(auc_ovo)


def of(value: float, replicates: list[float] | np.ndarray, jackknife: list[float] | None = None) -> Estimate:
    left_out = np.array(jackknife if jackknife is not None else [0.1, 0.2, 0.3])
    return Estimate(value, np.asarray(replicates, dtype=float), left_out, np.zeros(len(left_out), dtype=int))


def test_resamples_keep_the_size_of_every_class_in_every_fold() -> None:
    y, _, fold, resamples = cohort(2, n=47)
    for f in range(3):
        for c in range(3):
            members = (fold == f) & (y == c)
            assert (resamples.counts[:, members].sum(axis=1) == members.sum()).all()
    assert resamples.counts.std(axis=0).min() > 0
    assert resamples.counts.mean() == 1.0


def test_resamples_do_not_depend_on_the_order_of_patients() -> None:
    names, labels, folds = ["P2", "P0", "P3", "P1"], ["b", "a", "a", "b"], [0, 0, 0, 0]
    there = draw_resamples(names, labels, folds, 200, 5)
    back = draw_resamples(names[::-1], labels[::-1], folds, 200, 5)
    assert there.patient_id.tolist() == ["P0", "P1", "P2", "P3"]
    assert (there.counts == back.counts).all()
    assert (there.counts != draw_resamples(names, labels, folds, 200, 6).counts).any()
    assert there.positions(["P3", "P0"]).tolist() == [3, 0]


def test_resamples_refuse_a_patient_who_stands_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        draw_resamples(["P0", "P0"], ["a", "a"], [0, 1], 200, 1)


def test_tables_equal_counting_in_the_resampled_patients() -> None:
    y, p, fold, resamples = cohort(3, n=31)
    present = np.flatnonzero(np.arange(31) % 7 != 0)  # some patients lack the modality
    tables = pair_tables(y[present], p[present], fold[present], present, resamples)
    drawn = [np.ones(31, dtype=int), *resamples.counts.astype(int), *(1 - np.eye(31, dtype=int))]
    assert len(tables.counts) == len(drawn)
    for k in [*range(20), *range(301, 332)]:
        expected = np.zeros((2, 3, 3))
        for f in range(3):
            rows = np.repeat(present, drawn[k][present])
            rows = rows[fold[rows] == f]
            expected += np.stack(mann_whitney(y[rows], p[rows]))
        assert (tables.counts[k] == expected[0]).all()
        assert (tables.pairs[k] == expected[1]).all()


@pytest.mark.parametrize("name", list(METRICS))
def test_any_metric_of_the_table_is_computed_in_the_resampled_patients(name: str) -> None:
    metric = METRICS[name]
    y, p, fold, resamples = cohort(3, n=31, resamples=600)
    present = np.flatnonzero(np.arange(31) % 7 != 0)
    values = resampled(lambda w: metric.fold_mean(y[present], p[present], fold[present], w), present, resamples)
    drawn = [np.ones(31, dtype=int), *resamples.counts.astype(int), *(1 - np.eye(31, dtype=int))]
    assert len(values) == len(drawn)
    for k in [*range(20), *range(505, 520), *range(601, 632)]:
        rows = np.repeat(present, drawn[k][present])
        expected = metric.fold_mean(y[rows], p[rows], fold[rows])
        assert values[k] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    found = estimate_of(values.reshape(len(values), -1)[:, 0], resamples)
    assert (found.replicates.shape, found.jackknife.shape) == ((600,), (31,))
    assert found.jackknife[0] == found.value  # the first patient lacks the modality


def test_short_cut_of_aucs_refuses_a_patient_with_two_rows() -> None:
    y, p, fold, resamples = cohort(3, n=31)
    with pytest.raises(ValueError, match="two rows"):
        pair_tables(y, p, fold, np.append(np.arange(30), 0), resamples)


def test_bootstrap_standard_error_of_a_mean_of_rows_is_that_of_the_strata() -> None:
    y, p, fold, _ = cohort(4, n=120, n_classes=2, folds=1)
    resamples = draw_resamples([f"P{k:03d}" for k in range(120)], [str(c) for c in y], [0] * 120, 4000, 1)
    values = resampled(lambda w: METRICS["brier"].fold_mean(y, p, fold, w), np.arange(120), resamples)
    of_row = ((p - np.eye(2)[y]) ** 2).sum(axis=1)
    variance = sum(60 * of_row[y == c].var() for c in (0, 1)) / 120**2
    assert estimate_of(values, resamples).replicates.var() == pytest.approx(variance, rel=0.08)


def test_jackknife_gives_the_delong_variance_of_r() -> None:
    (y, p), i = sines(), np.arange(60)
    resamples = draw_resamples([f"P{k:02d}" for k in i], [str(c) for c in y], [0] * 60, 200, 1)
    tables = pair_tables(y, p, np.zeros(60, dtype=int), i, resamples)
    for c, delong in enumerate((0.0030638874831309, 0.00386882591093117, 0.00445243336707152)):
        left_out = tables.estimate(lambda counts, pairs, c=c: auc_class(counts, pairs)[:, c]).jackknife
        sides = [left_out[y == c], left_out[y != c]]
        variance = sum((len(side) - 1) ** 2 * side.var(ddof=1) / len(side) for side in sides)
        assert variance == pytest.approx(delong, rel=1e-10)


def test_bootstrap_variance_is_near_the_delong_variance() -> None:
    y, p, fold, _ = cohort(4, n=120, n_classes=2, folds=1)
    resamples = draw_resamples([f"P{k:03d}" for k in range(120)], [str(c) for c in y], [0] * 120, 4000, 1)
    found = pair_tables(y, p, fold, np.arange(120), resamples).estimate(auc_ovo)
    variance = sum(59**2 * found.jackknife[y == c].var(ddof=1) / 60 for c in (0, 1))
    assert found.replicates.var() == pytest.approx(variance, rel=0.08)


@pytest.mark.parametrize("signal", [0.3, 1.5])
def test_bca_and_percentile_equal_scipy(signal: float) -> None:
    y, p, fold, resamples = cohort(5, n=50, n_classes=2, folds=1, signal=signal)
    score = np.round(64 * p[:, 1]) / 64  # exact in binary, so that 1 - score has the same ties
    p = np.stack([1 - score, score], axis=1)
    ours = pair_tables(y, p, fold, np.arange(50), resamples).estimate(auc_ovo)

    def auc(cases: np.ndarray, controls: np.ndarray, axis: int = -1) -> np.ndarray:
        difference = cases[..., :, None] - controls[..., None, :]
        return np.heaviside(difference, 0.5).mean(axis=(-1, -2))

    samples = (p[y == 1, 1], p[y == 0, 1])
    scipy = bootstrap(samples, auc, n_resamples=999, vectorized=True, method="BCa", rng=np.random.default_rng(8))
    same = Estimate(ours.value, scipy.bootstrap_distribution, ours.jackknife, ours.strata)
    low, high = scipy.confidence_interval
    found = bca_interval(same, 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    again = bootstrap(samples, auc, n_resamples=0, method="percentile", bootstrap_result=scipy, vectorized=True)
    found = percentile_interval(same, 0.95)
    assert (found.low, found.high) == pytest.approx(tuple(again.confidence_interval), abs=1e-9)
    with_ours = bca_interval(ours, 0.95)  # other resamples, so only near
    assert (with_ours.low, with_ours.high) == pytest.approx((low, high), abs=0.03)


def test_acceleration_by_hand() -> None:
    # One stratum of 3: U = 2 (mean - value) = 2 (1/3, 1/3, -2/3), a = sum U^3 / (6 (sum U^2)^1.5).
    expected = 8 * (2 / 27 - 8 / 27) / (6 * (4 * 6 / 9) ** 1.5)
    assert acceleration(np.array([0.0, 0.0, 1.0]), np.zeros(3, dtype=int)) == pytest.approx(expected)
    assert acceleration(np.array([0.5, 0.5]), np.zeros(2, dtype=int)) == 0.0


def test_perfect_separation_has_no_width_and_says_so() -> None:
    y, _, fold, resamples = cohort(6)
    perfect = pair_tables(y, np.eye(3)[y], fold, np.arange(len(y)), resamples).estimate(auc_ovo)
    for method in INTERVALS.values():
        interval = method(perfect, 0.95)
        assert (interval.low, interval.high) == (1.0, 1.0)
        assert "no width" in interval.note


def test_difference_of_a_configuration_with_itself_is_exactly_zero() -> None:
    zero = estimate(7) - estimate(7)
    assert zero.value == 0.0
    for method in INTERVALS.values():
        assert (method(zero, 0.95).low, method(zero, 0.95).high) == (0.0, 0.0)
    assert bootstrap_p_value(zero) == 1.0


def test_pairing_narrows_the_difference_of_two_like_configurations() -> None:
    y, p, fold, resamples = cohort(8, n=90)
    rng = np.random.default_rng(1)
    position = np.arange(len(y))
    other = softmax(np.log(p) + 0.2 * rng.normal(size=p.shape), axis=1)
    first, second = (pair_tables(y, q, fold, position, resamples).estimate(auc_ovo) for q in (p, other))
    apart = np.sqrt(first.replicates.var() + second.replicates.var())
    assert (first - second).replicates.std() < 0.5 * apart


def test_mean_of_estimates_keeps_the_resamples_together() -> None:
    first, second = estimate(9), estimate(9, signal=0.5)
    both = mean_estimate([first, second])
    assert both.value == pytest.approx((first.value + second.value) / 2)
    assert both.replicates == pytest.approx((first.replicates + second.replicates) / 2)
    assert both.jackknife == pytest.approx((first.jackknife + second.jackknife) / 2)


def test_resamples_without_a_value_are_left_out_or_forbid_an_interval() -> None:
    few = np.linspace(0.4, 0.9, 1000)
    few[:30] = np.nan
    for method in INTERVALS.values():
        interval = method(of(0.7, few), 0.95)
        assert 0.4 < interval.low < interval.high < 0.9
        assert interval.note == "30 of 1000 resamples have no value and are left out"
    many = few.copy()
    many[: int(MOST_UNDEFINED * 1000) + 1] = np.nan
    for method in INTERVALS.values():
        interval = method(of(0.7, many), 0.95)
        assert np.isnan([interval.low, interval.high]).all()
        assert interval.note == "no interval: 51 of 1000 resamples have no value"
    assert np.isnan(bootstrap_p_value(of(0.7, many)))


def test_value_that_is_not_defined_has_no_interval() -> None:
    for method in INTERVALS.values():
        assert np.isnan(method(of(np.nan, np.linspace(0.4, 0.9, 100)), 0.95).low)


def test_bca_that_is_not_defined_says_why_while_percentile_stands() -> None:
    outside = of(0.95, np.linspace(0.4, 0.9, 100))
    assert "outside all resamples" in bca_interval(outside, 0.95).note
    lonely = of(0.7, np.linspace(0.4, 0.9, 100), [0.7, np.nan, 0.6])
    assert "without one of the patients" in bca_interval(lonely, 0.95).note
    for case in (outside, lonely):
        assert np.isnan(bca_interval(case, 0.95).low)
        assert np.isnan(bootstrap_p_value(case))
        assert percentile_interval(case, 0.95).low == pytest.approx(0.4125)


def test_p_of_a_plain_distribution_is_the_share_beyond_zero() -> None:
    # Symmetric about the value with no skew: the normal two-sided p.
    replicates = norm.ppf((np.arange(100_000) + 0.5) / 100_000, loc=2.0)
    assert bootstrap_p_value(of(2.0, replicates)) == pytest.approx(2 * norm.sf(2.0), rel=1e-3)
    assert bootstrap_p_value(of(-2.0, -replicates)) == pytest.approx(2 * norm.sf(2.0), rel=1e-3)


@pytest.mark.parametrize("side", ["low", "high"])
@pytest.mark.parametrize("confidence", [0.7, 0.9, 0.95])
def test_p_is_alpha_where_a_biased_and_skewed_interval_ends_at_zero(confidence: float, side: str) -> None:
    replicates = gamma.ppf((np.arange(50_000) + 0.5) / 50_000, a=4.0)
    skewed = of(4.4, replicates, list(-gamma.ppf((np.arange(30) + 0.5) / 30, a=1.0)))
    limit = getattr(bca_interval(skewed, confidence), side)
    moved = Estimate(4.4 - limit, replicates - limit, skewed.jackknife, skewed.strata)
    assert bootstrap_p_value(moved) == pytest.approx(1 - confidence, abs=1e-3)


def test_p_is_never_below_what_the_resamples_can_show() -> None:
    assert bootstrap_p_value(of(5.0, np.linspace(4.0, 6.0, 999))) == pytest.approx(2 / 1000)
    assert np.isnan(bootstrap_p_value(of(0.1, np.full(999, 0.1))))


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_p_falls_below_alpha_just_where_the_interval_leaves_out_zero(confidence: float) -> None:
    decided = []
    for seed in range(40):
        difference = estimate(seed, resamples=400) - estimate(seed, signal=0.6, resamples=400)
        shifted = Estimate(
            difference.value - 0.07,
            difference.replicates - 0.07,
            difference.jackknife - 0.07,
            difference.strata,
        )
        interval, p = bca_interval(shifted, confidence), bootstrap_p_value(shifted)
        if abs(p - (1 - confidence)) > 0.01:  # interpolation between replicates
            decided.append(interval.low > 0 or interval.high < 0)
            assert decided[-1] == (p < 1 - confidence)
    assert {True, False} == set(decided)


@pytest.mark.parametrize("method", list(INTERVALS))
def test_interval_covers_the_true_auc(method: str) -> None:
    rng = np.random.default_rng(20)
    y, fold = np.repeat([0, 1], 60), np.arange(120) % 2
    resamples = draw_resamples([f"P{k:03d}" for k in range(120)], [str(c) for c in y], list(fold), 400, 3)
    hits = []
    for _ in range(250):
        score = rng.normal(size=120) + np.sqrt(2) * norm.ppf(0.8) * y
        p = softmax(np.stack([np.zeros(120), score], axis=1), axis=1)
        found = pair_tables(y, p, fold, np.arange(120), resamples).estimate(auc_ovo)
        interval = INTERVALS[method](found, 0.95)
        hits.append(interval.low <= 0.8 <= interval.high)
    assert 0.90 <= np.mean(hits) <= 0.98  # 95% within three standard errors of 250 simulations
