"""The gate: fresh processes of two sides in turn, and after some of them a look at every ratio that is still open."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from sonogrid.console import Advance, silent
from sonogrid.perf.limits import NOTHING, Limits, Plan, is_open, limits_so_far, signed_rank_limits
from sonogrid.perf.process import CONTROL, Measured, Outcome, Side
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict, verdict_of
from sonogrid.problems import Problem, Problems

CONTROL_ERROR = 0.001
"""Probability, for each direction, that the control of a fair comparison seems to differ."""
CONTROL_TOLERANCE = 0.01
"""By how much the control must differ for certain before the comparison is given up."""

Run = Callable[[Side, Sequence[str] | None, int], Outcome]
"""Runs one fresh process of a side for a pair of this number, 0 for the first process of each side.

It runs all benchmarks of the side's suite, or those of some node ids in their order, and the control."""


@dataclass(frozen=True)
class Compared:
    """One benchmark of both sides.

    `seconds`, `peak_bytes`: medians over processes of base and head, of the fastest call in each. `numbers`: same,
    other, vary (from process to process), or none, where a result is not compared. `nodes`: its node id by side.
    `witness`: profiles and instructions, of a benchmark that is slower.
    """

    name: str
    verdict: GateVerdict
    limits: Limits = NOTHING
    reason: str = ""
    unit: str = ""
    count: int = 1
    seconds: tuple[float, float] = (math.nan, math.nan)
    peak_bytes: tuple[float, float] = (0, 0)
    numbers: str = "none"
    ratios: tuple[float, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict)
    witness: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The result of one gate run; `only_base`, `only_head`, `changed`: benchmarks that were not compared."""

    rows: tuple[Compared, ...]
    control: Compared
    only_base: tuple[str, ...]
    only_head: tuple[str, ...]
    changed: tuple[str, ...]
    pairs: int
    order: tuple[str, ...]
    seconds: float


@dataclass
class _Track:
    """What is known of one benchmark so far, by side."""

    nodes: dict[str, str]
    of: Measured
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"base": [], "head": []})
    peaks: dict[str, list[float]] = field(default_factory=lambda: {"base": [], "head": []})
    numbers: dict[str, list[str | None]] = field(default_factory=lambda: {"base": [], "head": []})
    limits: Limits = NOTHING
    open: bool = True
    broken: str = ""

    @property
    def ratios(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Log of head over base, one per pair."""
        return np.log(self.seconds["head"]) - np.log(self.seconds["base"])


def order_of_pairs(pairs: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield which side of each pair runs first, drawn for every pair by the seed.

    Not A B B A throughout: a draw for each pair is what makes the signs of the log-ratios of identical code fair and
    independent, whatever the machine does in the meantime (limits.py).
    """
    draw = random.Random(seed)
    for _ in range(pairs):
        yield ("base", "head") if draw.random() < 0.5 else ("head", "base")


@dataclass
class _Clock:
    """The time that a comparison has: whether another pair would likely end after it."""

    now: Callable[[], float]
    seconds: float
    began: float = field(init=False)
    of_a_pair: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.now()

    def is_late(self) -> bool:
        """Whether a pair as long as the last one would end too late; pairs get shorter as verdicts become certain."""
        return self.now() - self.began + self.of_a_pair > self.seconds


def compare(
    base: Side,
    head: Side,
    plan: Plan,
    run: Run,
    minutes: float = math.inf,
    seed: int = 1,
    advance: Advance = silent,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Compare two sides by the plan. `advance` is called once per pair, and counts left-out pairs at the end.

    A first process of each side says which benchmarks it has; its times are not used, as it compiles and fills caches.
    After the first look, which is always reached, no pair begins that would likely end after `minutes`. If a process
    fails later, what is certain by then stays. Raise CouldNotMeasureError if the first process of a side fails.
    """
    left = _Clock(clock, 60 * minutes)
    sides = {"base": base, "head": head}
    first = {name: run(side, None, 0) for name, side in sides.items()}
    _refuse_failed(first)
    tracks, control = _tracks(first), _Track({}, first["base"].measured[CONTROL])
    order = _measure_pairs(sides, tracks, control, plan, run, seed, left, advance)
    pairs = len(order) // 2
    advance("", plan.looks[-1] - pairs)
    of_control = _control(control)
    rows = [*(_row(name, track, plan, of_control) for name, track in tracks.items()), *_broken(first)]
    return Comparison(tuple(rows), of_control, *_apart(first), pairs, tuple(order), clock() - left.began)


def _measure_pairs(
    sides: Mapping[str, Side],
    tracks: Mapping[str, _Track],
    control: _Track,
    plan: Plan,
    run: Run,
    seed: int,
    left: _Clock,
    advance: Advance,
) -> list[str]:
    """Run pairs of processes until every verdict is certain, the time is up or a process fails; return their order."""
    order: list[str] = []
    for number, pair in enumerate(order_of_pairs(plan.looks[-1], seed), start=1):
        still = [track for track in tracks.values() if track.open]
        if not still or (number > plan.looks[0] and left.is_late()):
            break
        began = left.now()
        outcomes = {name: run(sides[name], [track.nodes[name] for track in still], number) for name in pair}
        failure = "; ".join(f"{name}: {outcome.failed}" for name, outcome in outcomes.items() if outcome.failed)
        if failure:
            _give_up(still, failure)
            break
        _take(outcomes, tracks, control, number)
        order += pair
        left.of_a_pair = left.now() - began
        if number in plan.looks:
            _look(tracks, plan)
        advance(f"{sum(track.open for track in tracks.values())} open")
    return order


def _give_up(tracks: Iterable[_Track], failure: str) -> None:
    """Leave benchmarks without a verdict because a process failed; what was certain before stays."""
    for track in tracks:
        track.open, track.broken = False, f"a process of its suite failed: {failure}"


def _refuse_failed(outcomes: Mapping[str, Outcome]) -> None:
    problems = Problems()
    for name, outcome in outcomes.items():
        if outcome.failed:
            remedy = f"Run the suite of {name} by hand: make bench"
            problems.add(name, f"its suite did not run: {outcome.failed}", remedy)
    if problems.found:
        raise CouldNotMeasureError(problems.found)


def _is_comparable(base: Measured, head: Measured) -> bool:
    """Return True if both ran the same work, judged by the digest of its input."""
    return base.inputs is not None and base.key == head.key


def _tracks(first: Mapping[str, Outcome]) -> dict[str, _Track]:
    """Return the benchmarks that can be compared. Raise CouldNotMeasureError if there is none."""
    base, head = first["base"].measured, first["head"].measured
    tracks = {
        name: _Track({side: outcome.measured[name].node for side, outcome in first.items()}, measured)
        for name, measured in base.items()
        if name != CONTROL and name in head and _is_comparable(measured, head[name])
    }
    if not tracks:
        what = "the commits share no benchmark with the same unit and input"
        raise CouldNotMeasureError([Problem("suite", what, "Compare commits whose suites have benchmarks in common")])
    return tracks


def _broken(first: Mapping[str, Outcome]) -> list[Compared]:
    """Return rows for benchmarks that fail on a side; one that head no longer has is gone, not broken."""
    base, head = first["base"], first["head"]
    names = {name for name in base.broken if name in head.measured or name in head.broken} | set(head.broken)
    return [Compared(name, GateVerdict.COULD_NOT, reason=_where_broken(name, first)) for name in sorted(names)]


def _where_broken(name: str, outcomes: Mapping[str, Outcome]) -> str:
    said = {side: outcome.broken[name] for side, outcome in outcomes.items() if name in outcome.broken}
    return f"fails on {' and '.join(said)}: {next(iter(said.values()))}"


def _apart(first: Mapping[str, Outcome]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return benchmarks of base alone, of head alone, and those whose unit or input changed."""
    base, head = (set(first[side].measured) | set(first[side].broken) for side in ("base", "head"))
    old, new = first["base"].measured, first["head"].measured
    changed = {name for name in set(old) & set(new) - {CONTROL} if not _is_comparable(old[name], new[name])}
    # What is new and broken is told as broken.
    return tuple(sorted(base - head)), tuple(sorted(set(new) - base)), tuple(sorted(changed))


def _take(outcomes: Mapping[str, Outcome], tracks: Mapping[str, _Track], control: _Track, number: int) -> None:
    """Add one pair to what is known; a benchmark that failed in it is given up."""
    for side, outcome in outcomes.items():
        control.seconds[side].append(outcome.measured[CONTROL].least)
    for name, track in tracks.items():
        if not track.open:
            continue
        if any(name not in outcome.measured for outcome in outcomes.values()):
            reason = (
                _where_broken(name, outcomes) if any(name in one.broken for one in outcomes.values()) else "is gone"
            )
            track.open, track.broken = False, f"{reason} (in pair {number}, not before)"
            continue
        for side, outcome in outcomes.items():
            found = outcome.measured[name]
            track.seconds[side].append(found.least)
            track.peaks[side].append(found.peak_bytes)
            track.numbers[side].append(found.numbers)


def _look(tracks: Mapping[str, _Track], plan: Plan) -> None:
    """Compute the limits of every open benchmark, and close those whose verdict no further pair would change."""
    for track in tracks.values():
        if track.open:
            track.limits = limits_so_far(track.ratios, plan, len(tracks))
            track.open = is_open(track.limits, plan)


def _control(track: _Track) -> Compared:
    """Return the control, which could not be measured where its times differ by more than its tolerance for certain."""
    limits = signed_rank_limits(track.ratios, CONTROL_ERROR, CONTROL_ERROR)
    differs = limits.low > CONTROL_TOLERANCE or limits.high < -CONTROL_TOLERANCE
    low, high = math.exp(limits.low), math.exp(limits.high)
    reason = f"the control, the same file for both sides, differs by x {low:.3f} to {high:.3f}" if differs else ""
    verdict = GateVerdict.COULD_NOT if differs else GateVerdict.NOT_SLOWER
    return replace(_facts(CONTROL, track, verdict), limits=limits, reason=reason)


def _row(name: str, track: _Track, plan: Plan, control: Compared) -> Compared:
    """Return a benchmark with its verdict; there is none where the control differs."""
    reason = track.broken or control.reason
    if not reason and not track.limits.known:
        reason = f"{len(track.ratios)} pairs are too few for any limit"
    if reason:
        return replace(_facts(name, track, GateVerdict.COULD_NOT), reason=reason)
    return _facts(name, track, verdict_of(track.limits, plan))


def _facts(name: str, track: _Track, verdict: GateVerdict) -> Compared:
    return Compared(
        name,
        verdict,
        limits=track.limits,
        unit=track.of.unit,
        count=track.of.count,
        seconds=_medians(track.seconds),
        peak_bytes=_medians(track.peaks),
        numbers=_numbers(track.numbers["base"], track.numbers["head"]),
        ratios=tuple(float(ratio) for ratio in track.ratios),
        nodes=track.nodes,
    )


def _medians(values: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    base, head = (median(values[side]) if values[side] else math.nan for side in ("base", "head"))
    return base, head


def _numbers(base: Sequence[str | None], head: Sequence[str | None]) -> str:
    """Return how the results of both sides compare, pair by pair, as the processes of a pair have one hash seed.

    Same in every pair; other if they differ in any and base always gave one result; vary if base itself gave several;
    none if a side's results are not digested.
    """
    if not base or None in base or None in head:
        return "none"
    if list(base) == list(head):
        return "same"
    return "other" if len(set(base)) == 1 else "vary"
