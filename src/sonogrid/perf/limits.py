"""Limits of a ratio of times from paired processes, that hold under looking several times. Pure functions.

A log-ratio is that of head's time over base's in one pair of processes that ran next to each other. Which of the two
ran first was drawn for each pair, so the log-ratios of identical code have fair and independent signs, whatever the
drift and the tails of the machine. That is all that the signed-rank test of Wilcoxon (1945, doi:10.2307/3001968)
needs. Its inversion gives limits (Hodges and Lehmann 1963, doi:10.1214/aoms/1177704172): the lower one needs no more
than that to accuse identical code as seldom as stated; that a loss is within the margin further assumes that a slower
head shifts the log-ratios, or at least spreads them symmetrically around its loss.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonogrid.perf.choices import MARGIN

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """The sequential rule, fixed before anything is measured.

    `looks`: numbers of pairs after which the limits are computed. `shares`: of the error rates, how much each look may
    spend; they sum to 1. By Bonferroni's inequality the rates hold for all looks together, and the first for all
    benchmarks together, whatever their dependence. `slower`: probability that any benchmark of identical code is called
    slower. `not_slower`: probability that a benchmark that is slower by more than the margin is called not slower.
    `margin`: as a share.
    """

    looks: tuple[int, ...] = (16, 20, 24, 28, 32, 36, 40)
    shares: tuple[float, ...] = (1 / 7,) * 7
    slower: float = 0.01
    not_slower: float = 0.05
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if len(self.looks) != len(self.shares) or list(self.looks) != sorted(set(self.looks)):
            raise ValueError("looks must grow, and have a share each")
        if not math.isclose(sum(self.shares), 1):
            raise ValueError("the shares of the looks must sum to 1")
        if not 0 < self.margin < 10:
            raise ValueError("the margin must be above 0 and below 10")


@dataclass(frozen=True)
class Limits:
    """A log-ratio: its estimate, and one-sided limits; infinite while there are too few pairs."""

    estimate: float
    low: float
    high: float
    pairs: int

    @property
    def known(self) -> bool:
        """Whether there is any limit."""
        return math.isfinite(self.low) or math.isfinite(self.high)

    def ratio(self) -> tuple[float, float, float]:
        """Return estimate and limits as ratios."""
        return math.exp(self.estimate), math.exp(self.low), math.exp(self.high)


NOTHING = Limits(math.nan, -math.inf, math.inf, 0)
"""What is known before the first look."""


@functools.cache
def rank(pairs: int, alpha: float) -> int:
    """Return the rank of the mean of two log-ratios that is a limit with error rate `alpha`; 0 if none is.

    The largest k with P(W <= k - 1) <= alpha, W the sum of the ranks of the positive ones of `pairs` symmetric values.
    """
    chances = np.zeros(pairs * (pairs + 1) // 2 + 1)
    chances[0] = 1.0
    for place in range(1, pairs + 1):
        moved = np.zeros_like(chances)
        moved[place:] = chances[:-place]
        chances = (chances + moved) / 2
    # Sums of floats: what is equal to alpha up to their rounding counts as below it.
    return int(np.searchsorted(np.cumsum(chances), alpha * (1 + 1e-12), side="right"))


def signed_rank_limits(ratios: Floats, below: float, above: float) -> Limits:
    """Return the Hodges-Lehmann estimate of n log-ratios and limits with error rates `below` and `above`."""
    n = len(ratios)
    if n == 0:
        return NOTHING
    first, second = np.triu_indices(n)
    means = np.sort((ratios[first] + ratios[second]) / 2)
    low, high = rank(n, below), rank(n, above)
    return Limits(
        float(np.median(means)),
        float(means[low - 1]) if low else -math.inf,
        float(means[-high]) if high else math.inf,
        n,
    )


def limits_so_far(ratios: Floats, plan: Plan, family: int) -> Limits:
    """Return the limits after all looks that n log-ratios allow, in a family of so many benchmarks.

    The limits of every look hold together, so the strictest of them do. Log-ratios after the last look are not used:
    how many there are may depend on what was seen.
    """
    looks = [(look, share) for look, share in zip(plan.looks, plan.shares, strict=True) if look <= len(ratios)]
    found = [
        signed_rank_limits(ratios[:look], share * plan.slower / family, share * plan.not_slower)
        for look, share in looks
    ]
    if not found:
        return NOTHING
    return replace(found[-1], low=max(one.low for one in found), high=min(one.high for one in found))


def is_open(limits: Limits, plan: Plan) -> bool:
    """Whether more pairs could still change the verdict: neither within the margin nor clearly beyond it."""
    beyond = math.log1p(plan.margin)
    return limits.high >= beyond and limits.low <= beyond


def after_looks(ratios: Sequence[float] | Floats, plan: Plan, family: int) -> list[Limits]:
    """Return the limits after each look that these log-ratios, one after the other, allow."""
    values = np.asarray(ratios, dtype=np.float64)
    return [limits_so_far(values[:look], plan, family) for look in plan.looks if look <= len(values)]


def ending(found: Sequence[Limits], plan: Plan) -> Limits:
    """Return the limits with which a gate ends that sees those of its looks one after the other."""
    closed = (limits for limits in found if not is_open(limits, plan))
    return next(closed, found[-1] if found else NOTHING)
