"""Limits from paired processes: known answers, what they promise of identical code, and looking several times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from sonogrid.perf.compare import order_of_pairs
from sonogrid.perf.limits import (
    Limits,
    Plan,
    after_looks,
    ending,
    is_open,
    limits_so_far,
    rank,
    signed_rank_limits,
)

# Hamilton depression scale of nine patients before and after a first visit with a tranquilliser: Hollander and Wolfe,
# Nonparametric Statistical Methods (1973), table 3.1; the example of R's wilcox.test.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


@pytest.mark.parametrize(
    ("pairs", "alpha", "expected"),
    [
        # Table A.4 of Hollander and Wolfe: P(T+ >= 39) = .027, P(T+ >= 40) = .020 for n = 9, of a sum of at most 45.
        (9, 0.0200, 6),
        (9, 0.0274, 7),
        # The smallest chance is 2^-n.
        (5, 1 / 32, 1),
        (5, 1 / 32 - 1e-9, 0),
        (16, 5e-5, 3),
        (0, 0.5, 0),
    ],
)
def test_ranks_of_the_exact_distribution(pairs: int, alpha: float, expected: int) -> None:
    assert rank(pairs, alpha) == expected


def test_limits_of_a_published_example() -> None:
    """R: wilcox.test(x, y, paired = TRUE, conf.int = TRUE, conf.level = 0.9609): V = 40, estimate 0.46."""
    found = signed_rank_limits(BEFORE - AFTER, 0.0196, 0.0196)
    assert found.estimate == pytest.approx(0.46)
    # By hand: 45 means of two differences, the sixth from below and from above.
    assert rank(9, 0.0196) == 6
    assert (found.low, found.high) == pytest.approx((0.01, 0.786), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.01, 0.03, 0.2])
def test_limits_are_where_the_test_begins_to_reject(seed: int, alpha: float) -> None:
    ratios = np.random.default_rng(seed).standard_t(2, 14)
    found = signed_rank_limits(ratios, alpha, alpha)
    step = 1e-9

    def p(shift: float, side: str) -> float:
        return float(wilcoxon(ratios - shift, alternative=side, method="exact").pvalue)

    assert p(found.low - step, "greater") <= alpha < p(found.low + step, "greater")
    assert p(found.high + step, "less") <= alpha < p(found.high - step, "less")


def test_identical_code_is_called_slower_as_seldom_as_promised_whatever_the_drift_and_tails() -> None:
    """All 2^n orders of the sides within pairs, which are equally likely; ratios with drift, modes and outliers."""
    first_over_second = np.array([0.3, -0.02, 0.01, 5.0, 0.004, -0.7, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1])
    plan = Plan(looks=(6, 9, 12), shares=(0.3, 0.3, 0.4), slower=0.1)
    slower = [
        follow(first_over_second * np.array(signs), plan, family=1).low > 0
        for signs in product((-1, 1), repeat=len(first_over_second))
    ]
    assert 0.01 < np.mean(slower) <= 0.1


def test_the_bound_holds_for_all_benchmarks_of_a_family_together() -> None:
    """Benchmarks whose log-ratios have one sign in common, each of 2^10 equally likely."""
    plan, family = Plan(looks=(8, 10), shares=(0.5, 0.5), slower=0.2), 4
    sizes = np.random.default_rng(1).gamma(0.5, size=(family, 10))
    slower = []
    for signs in product((-1, 1), repeat=10):
        found = [follow(size * np.array(signs), plan, family) for size in sizes]
        slower.append(any(one.low > 0 for one in found))
    assert np.mean(slower) <= 0.2


def follow(ratios: Sequence[float] | np.ndarray, plan: Plan, family: int) -> Limits:
    """The limits with which a gate ends that sees these log-ratios."""
    return ending(after_looks(ratios, plan, family), plan)


ratios = st.lists(st.floats(-1, 1), min_size=1, max_size=20).map(np.array)


@settings(deadline=None, derandomize=True)
@given(ratios, st.floats(-2, 2))
def test_a_shift_of_all_ratios_shifts_the_limits(values: np.ndarray, shift: float) -> None:
    here, there = signed_rank_limits(values, 0.1, 0.1), signed_rank_limits(values + shift, 0.1, 0.1)
    assert there.estimate == pytest.approx(here.estimate + shift, abs=1e-12)
    assert there.low == pytest.approx(here.low + shift, abs=1e-12)
    assert there.high == pytest.approx(here.high + shift, abs=1e-12)


@settings(deadline=None, derandomize=True)
@given(ratios)
def test_exchanged_sides_exchange_the_limits(values: np.ndarray) -> None:
    here, there = signed_rank_limits(values, 0.1, 0.02), signed_rank_limits(-values, 0.02, 0.1)
    assert (there.low, there.high) == (-here.high, -here.low)


@settings(deadline=None, derandomize=True)
@given(ratios)
def test_limits_enclose_the_estimate_and_later_looks_never_widen_them(values: np.ndarray) -> None:
    plan = Plan(looks=(5, 10, 20), shares=(0.2, 0.3, 0.5), slower=0.2, not_slower=0.2)
    one = signed_rank_limits(values, 0.2, 0.2)
    assert one.low <= one.estimate <= one.high
    found = [limits_so_far(values[:n], plan, 1) for n in range(1, len(values) + 1)]
    assert all(late.low >= early.low and late.high <= early.high for early, late in pairwise(found))


def test_too_few_pairs_say_nothing() -> None:
    for pairs in (0, 1, 5):
        found = limits_so_far(np.full(pairs, 0.5), Plan(), family=37)
        assert (found.low, found.high) == (-math.inf, math.inf)
        assert is_open(found, Plan())


def test_pairs_after_the_last_look_are_not_used() -> None:
    plan = Plan(looks=(16, 24), shares=(0.5, 0.5))
    values = np.append(np.full(16, 0.2), np.full(7, -9.0))
    assert limits_so_far(values, plan, 1) == limits_so_far(values[:16], plan, 1)
    assert limits_so_far(values, plan, 1).pairs == 16


@pytest.mark.parametrize("pull", [0.0, 0.8, -0.8])
def test_the_order_that_is_drawn_keeps_the_promise_on_a_machine_with_a_memory(pull: float) -> None:
    """Times that depend on those before, the order of the gate itself: 2,000 gate runs, a nominal rate of 5%."""
    plan = Plan(looks=(8, 12), shares=(0.5, 0.5), slower=0.05)
    draws = np.random.default_rng(1)
    slower = 0
    for seed in range(2000):
        noise = draws.standard_normal(24)
        for slot in range(1, 24):
            noise[slot] += pull * noise[slot - 1]
        first, second = noise[::2], noise[1::2]
        heads_first = np.array([pair[0] == "head" for pair in order_of_pairs(12, seed)])
        slower += follow(np.where(heads_first, first - second, second - first), plan, 1).low > 0
    # Binomial: .05 plus three standard deviations.
    assert slower / 2000 <= 0.065


def test_a_sequence_is_followed_until_its_verdict_is_certain() -> None:
    plan = Plan(looks=(16, 24, 32), shares=(0.3, 0.3, 0.4))
    assert follow([0.3] * 40, plan, 37).pairs == 16
    assert follow([0.0] * 40, plan, 37).pairs == 16
    # Slower, but not certainly beyond the margin nor within it: looked at to the end.
    assert follow(0.045 + 0.02 * np.sin(np.arange(40)), plan, 37).pairs == 32
    assert follow([], plan, 37).pairs == 0


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((0.1, 0.2), False), ((-0.1, 0.02), False), ((0.01, 0.02), False), ((0.01, 0.2), True), ((-0.1, 0.2), True)],
)
def test_what_is_still_open(limits: tuple[float, float], expected: bool) -> None:
    assert is_open(Limits(0.0, *limits, 16), Plan()) is expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"looks": (16, 16, 24, 32)},
        {"looks": (16, 24)},
        {"shares": (0.5, 0.5, 0.5, 0.5)},
        {"margin": 0.0},
    ],
)
def test_plans_that_promise_nothing_are_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match=r"look|margin"):
        Plan(**wrong)
