"""Every verdict can occur, and what cannot be measured is never called slower."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from unit.perf.fake_sides import BASE, HEAD, Machine, with_benchmark, without

from sonogrid.perf.compare import Comparison, compare, order_of_pairs
from sonogrid.perf.limits import Plan, after_looks, ending
from sonogrid.perf.process import CONTROL, Outcome
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict

PLAN = Plan(looks=(16, 24, 32), shares=(0.3, 0.3, 0.4))


def noise(number: int, spread: float = 0.02) -> float:
    """A factor that differs from process to process."""
    return math.exp(spread * float(np.random.default_rng(number).standard_normal()))


def run(machine: Machine, **more: object) -> Comparison:
    return compare(BASE, HEAD, PLAN, machine, **more)  # type: ignore[arg-type]


def verdicts(made: Comparison) -> dict[str, GateVerdict]:
    return {row.name: row.verdict for row in made.rows}


def test_slower_not_slower_within_the_margin_and_cannot_tell() -> None:
    factors = {
        "slow": (1.2, 0.02),
        "same": (1.0, 0.02),
        "faster": (0.8, 0.02),
        "little": (1.02, 0.002),
        "loud": (1, 0.5),
    }

    def times(name: str, side: str, number: int) -> float:
        factor, spread = factors.get(name, (1.0, 0.001))
        return 0.01 * noise(number * 7 + len(name), spread) * (factor if side == "head" else 1)

    made = run(Machine(times, {"base": factors, "head": factors}))
    assert verdicts(made) == {
        "slow": GateVerdict.SLOWER,
        "same": GateVerdict.NOT_SLOWER,
        "faster": GateVerdict.NOT_SLOWER,
        "little": GateVerdict.WITHIN,
        "loud": GateVerdict.CANNOT_TELL,
    }
    by_name = {row.name: row for row in made.rows}
    assert by_name["slow"].limits.ratio()[0] == pytest.approx(1.2, abs=0.02)
    assert by_name["slow"].seconds == pytest.approx((0.01, 0.012), rel=0.02)
    assert made.control.verdict is GateVerdict.NOT_SLOWER


def test_what_is_certain_is_not_run_again_and_the_rest_is_to_the_last_look() -> None:
    machine = Machine(lambda name, side, number: 0.01 * noise(number, 0.5 if name == "b" else 0.001))
    made = run(machine)
    assert made.pairs == 32
    assert machine.asked[:2] == [("base", None), ("head", None)]
    assert {nodes for _, nodes in machine.asked[2:34]} == {("a", "b", "c")}
    assert {nodes for _, nodes in machine.asked[34:]} == {("b",)}


def test_the_run_ends_when_everything_is_certain() -> None:
    machine = Machine()
    counted = []
    made = run(machine, advance=lambda note="", steps=1: counted.append(steps))
    assert made.pairs == 16 and len(machine.asked) == 34
    assert sum(counted) == PLAN.looks[-1]


def test_who_begins_is_drawn_for_each_pair() -> None:
    pairs = list(order_of_pairs(400, seed=1))
    assert set(pairs) == {("base", "head"), ("head", "base")}
    # Fair, and one pair says nothing of the next: within three standard deviations.
    assert 170 < sum(first == "base" for first, _ in pairs) < 230
    assert 170 < sum(one == other for one, other in pairwise(pairs)) < 230
    assert pairs == list(order_of_pairs(400, seed=1)) != list(order_of_pairs(400, seed=2))
    machine = Machine()
    made = run(machine, seed=5)
    assert [side for side, _ in machine.asked[2:]] == list(made.order) == [s for p in order_of_pairs(16, 5) for s in p]


def test_a_benchmark_that_is_broken_on_one_side_could_not_be_measured() -> None:
    machine = Machine(change=lambda made, side, _: without(made, "b", "assert 1 == 2") if side == "head" else made)
    made = run(machine)
    assert verdicts(made) == {"a": GateVerdict.NOT_SLOWER, "b": GateVerdict.COULD_NOT, "c": GateVerdict.NOT_SLOWER}
    assert next(row for row in made.rows if row.name == "b").reason == "fails on head: assert 1 == 2"
    assert made.only_base == made.only_head == made.changed == ()


@pytest.mark.parametrize(("reason", "said"), [("no space", "fails on base: no space"), ("", "is gone")])
def test_a_benchmark_that_breaks_later_could_not_be_measured(reason: str, said: str) -> None:
    def change(outcome: Outcome, side: str, number: int) -> Outcome:
        return without(outcome, "c", reason) if side == "base" and number > 6 else outcome

    slow = Machine(lambda name, side, number: 0.02 if side == "head" and name == "c" else 0.01, change=change)
    row = next(row for row in run(slow).rows if row.name == "c")
    assert row.verdict is GateVerdict.COULD_NOT and row.reason.startswith(said) and "in pair" in row.reason


def test_new_gone_and_changed_benchmarks_are_listed_and_not_compared() -> None:
    def change(outcome: Outcome, side: str, number: int) -> Outcome:
        outcome = with_benchmark(outcome, "u", unit="image" if side == "base" else "cell")
        outcome = with_benchmark(outcome, "i", inputs=side)
        return with_benchmark(outcome, "n", inputs=None)

    made = run(Machine(suites={"base": "aouin", "head": "ahuin"}, change=change))
    assert verdicts(made) == {"a": GateVerdict.NOT_SLOWER}
    assert (made.only_base, made.only_head, made.changed) == (("o",), ("h",), ("i", "n", "u"))


def test_sides_without_a_common_benchmark_are_refused() -> None:
    with pytest.raises(CouldNotMeasureError, match="the commits share no benchmark"):
        run(Machine(suites={"base": "ab", "head": "cd"}))


def test_results_are_compared_beside_times() -> None:
    def change(outcome: Outcome, side: str, number: int) -> Outcome:
        outcome = with_benchmark(outcome, "o", numbers=side)
        outcome = with_benchmark(outcome, "v", numbers=str(number))
        # Depends on the pair, as on its hash seed, and is equal within it.
        outcome = with_benchmark(outcome, "p", numbers=str(number // 2))
        # Head sometimes gives what base always gives.
        outcome = with_benchmark(outcome, "w", numbers="x" if side == "base" or number % 3 else "y")
        outcome = with_benchmark(outcome, "m", numbers=None if side == "base" else "1")
        return with_benchmark(outcome, "n", numbers=None)

    names = {"base": "sovpwmn", "head": "sovpwmn"}
    rows = {row.name: row for row in run(Machine(suites=names, change=change)).rows}
    numbers = {name: row.numbers for name, row in rows.items()}
    assert numbers == {"s": "same", "o": "other", "v": "vary", "p": "same", "w": "other", "m": "none", "n": "none"}
    assert {row.verdict for row in rows.values()} == {GateVerdict.NOT_SLOWER}


@pytest.mark.parametrize("number", [0, 1])
def test_a_first_process_that_does_not_run_ends_the_comparison(number: int) -> None:
    def change(outcome: Outcome, side: str, at: int) -> Outcome:
        return Outcome(failed="killed: no memory") if at == number else outcome

    with pytest.raises(CouldNotMeasureError, match=r"its suite did not run: killed: no memory"):
        run(Machine(change=change))


def test_a_later_process_that_does_not_run_leaves_what_is_certain() -> None:
    def times(name: str, side: str, number: int) -> float:
        return 0.01 * noise(number, 0.5 if name == "b" else 0.001) * (1.2 if name == "a" and side == "head" else 1)

    def change(outcome: Outcome, side: str, at: int) -> Outcome:
        return Outcome(failed="killed: no memory") if at == 40 else outcome

    made = run(Machine(times, change=change))
    assert verdicts(made) == {
        "a": GateVerdict.SLOWER,
        "b": GateVerdict.COULD_NOT,
        "c": GateVerdict.NOT_SLOWER,
    }
    assert next(row.reason for row in made.rows if row.name == "b").endswith("killed: no memory")


def test_the_gate_ends_as_the_study_says_it_does() -> None:
    """The limits that `compare` reports are those of limits.ending on the same log-ratios."""
    draws = np.random.default_rng(4)
    for spread in (0.01, 0.05, 0.2):
        noises = draws.standard_normal((100, 3)) * spread

        def times(name: str, side: str, number: int, noises: np.ndarray = noises) -> float:
            return 0.01 if name == CONTROL else 0.01 * math.exp(noises[number, "abc".index(name)])

        made = run(Machine(times))
        for row in made.rows:
            assert row.limits == ending(after_looks(row.ratios, PLAN, 3), PLAN)


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_nothing_is_said_where_the_control_differs(factor: float) -> None:
    made = run(Machine(lambda name, side, number: 0.01 * (factor if side == "head" else 1) * noise(number, 0.001)))
    assert set(verdicts(made).values()) == {GateVerdict.COULD_NOT}
    assert all("the control" in row.reason for row in made.rows)


def test_a_control_that_differs_by_less_than_its_tolerance_is_let_pass() -> None:
    made = run(Machine(lambda name, side, number: 0.01 * (1.005 if name == CONTROL and side == "head" else 1)))
    assert set(verdicts(made).values()) == {GateVerdict.NOT_SLOWER}


def test_no_pair_begins_when_the_time_is_up_but_the_first_look_is_always_reached() -> None:
    def times(name: str, side: str, number: int) -> float:
        return 0.01 * noise(number, 0.5 if name == "b" else 0.001)

    machine = Machine(times)
    # Ten seconds per process: 20 pairs and the two processes at the start take 420 s.
    made = run(machine, minutes=7, clock=lambda: 10.0 * len(machine.asked))
    assert made.pairs == 20 and made.seconds == 420
    machine.asked.clear()
    made = run(machine, minutes=1, clock=lambda: 10.0 * len(machine.asked))
    assert made.pairs == 16
    assert verdicts(made) == {
        "a": GateVerdict.NOT_SLOWER,
        "b": GateVerdict.CANNOT_TELL,
        "c": GateVerdict.NOT_SLOWER,
    }


def test_too_few_pairs_for_any_limit_are_no_verdict() -> None:
    made = compare(BASE, HEAD, Plan(looks=(3,), shares=(1.0,)), Machine())
    assert set(verdicts(made).values()) == {GateVerdict.COULD_NOT}
    assert made.rows[0].reason == "3 pairs are too few for any limit"


def test_a_broken_benchmark_that_head_no_longer_has_is_gone() -> None:
    def change(outcome: Outcome, side: str, number: int) -> Outcome:
        return without(outcome, "c", "wrong") if side == "base" else outcome

    made = run(Machine(suites={"base": "abc", "head": "ab"}, change=change))
    assert verdicts(made) == {"a": GateVerdict.NOT_SLOWER, "b": GateVerdict.NOT_SLOWER}
    assert made.only_base == ("c",)


def test_peak_memory_is_the_median_of_the_processes() -> None:
    made = run(
        Machine(change=lambda one, side, number: with_benchmark(one, "a", peak_bytes=number if side == "base" else 7))
    )
    row = next(row for row in made.rows if row.name == "a")
    assert row.peak_bytes[1] == 7 and 2 < row.peak_bytes[0] < 34
