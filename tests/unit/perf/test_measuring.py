"""What a benchmark says of itself: digests that tell what differs, and the calls of an operation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from sonogrid.perf.measuring import CALLS, MOST_ROUNDS, PLANTED, _slowed, digest_of, measure_speed


@dataclass
class Bench:
    """Stands for pytest-benchmark's fixture, which does nothing where tests run in parallel."""

    name: str = "test_this"
    disabled: bool = False
    extra_info: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0

    def pedantic(self, operation: Callable[[], Any], rounds: int = 1) -> Any:
        self.rounds += rounds
        return [operation() for _ in range(rounds)][-1]


@pytest.fixture
def bench() -> Bench:
    return Bench()


DIFFERENT = [
    None,
    True,
    1,
    1.0,
    "1",
    b"1",
    [],
    [1],
    [[1]],
    [1, 2],
    ["12"],
    ["1", "2"],
    {"1": 2},
    np.array([1, 2]),
    np.array([1, 2], dtype=np.uint8),
    np.array([[1, 2]]),
    np.array([1.0, 2.0]),
    np.array(["1", "2"], dtype=object),
    torch.tensor([1, 2], dtype=torch.uint8) + 1,
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"b": [1, 2]}),
]


def test_values_that_differ_have_digests_that_differ() -> None:
    digests = [digest_of(value) for value in DIFFERENT]
    # A list of texts and an array of them hold the same.
    assert len(set(digests)) == len(DIFFERENT) - 1
    assert digest_of(["1", "2"]) == digest_of(np.array(["1", "2"], dtype=object))


def test_values_that_are_equal_have_equal_digests_in_every_process() -> None:
    assert digest_of(torch.tensor([1.0, 2.0])) == digest_of(np.array([1.0, 2.0], dtype=np.float32))
    assert digest_of((1, 2)) == digest_of([1, 2])
    assert digest_of(np.arange(6).reshape(2, 3).T) == digest_of(np.arange(6).reshape(2, 3).T.copy())
    # SHA-256 of b"1:1", by sha256sum.
    assert digest_of(1) == "d6b5915c46057bcb"


def test_what_has_no_digest_is_refused() -> None:
    with pytest.raises(TypeError, match="no digest of object"):
        digest_of([object()])


def test_a_result_is_checked_once_and_its_facts_are_recorded(bench: Bench) -> None:
    checked: list[float] = []
    measure_speed(bench, lambda: 2.0, check=checked.append, unit="image", count=3, inputs=[1], numbers=lambda x: x + 1)
    assert checked == [2.0]
    said = bench.extra_info
    assert (said["unit"], said["count"]) == ("image", 3)
    assert (said["inputs"], said["numbers"]) == (digest_of([1]), digest_of(3.0))
    assert said["peak_bytes"] >= 0


def test_a_result_that_is_wrong_fails_the_benchmark(bench: Bench) -> None:
    def check(result: int) -> None:
        assert result == 3

    with pytest.raises(AssertionError):
        measure_speed(bench, lambda: 2, check=check, unit="image", inputs=1)


def test_peak_memory_is_what_the_operation_adds(bench: Bench) -> None:
    measure_speed(
        bench,
        lambda: np.ones(20_000_000).sum(),
        check=lambda _: None,
        unit="image",
        inputs=1,
        numbers=lambda _: None,
    )
    assert 150e6 < bench.extra_info["peak_bytes"] < 250e6
    assert bench.extra_info["numbers"] is None


@pytest.mark.parametrize(("disabled", "rounds", "expected"), [(True, None, 1), (True, 3, 1), (False, 3, 3)])
def test_calls_of_benchmarks_that_are_disabled_or_long(
    bench: Bench, disabled: bool, rounds: int | None, expected: int
) -> None:
    bench.disabled = disabled
    calls: list[int] = []
    measure_speed(bench, lambda: calls.append(1), check=lambda _: None, unit="image", inputs=1, rounds=rounds)
    assert len(calls) == expected


def test_short_operations_are_called_as_often_as_fit(bench: Bench) -> None:
    measure_speed(bench, lambda: 1, check=lambda _: None, unit="image", inputs=1)
    assert bench.rounds == MOST_ROUNDS


def test_calls_are_counted_for_instructions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CALLS, "7")
    calls: list[int] = []
    measure_speed(bench, lambda: calls.append(1), check=lambda _: None, unit="image", inputs=1)
    assert len(calls) == 7


def test_a_planted_slow_down_is_in_the_benchmark_that_it_names_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock that each look moves on by one second."""
    seconds = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(seconds)))
    monkeypatch.setenv(PLANTED, json.dumps({"other": 3.0, "this": 6.0}))
    before = next(seconds)
    assert _slowed(lambda: "result", "this")() == "result"
    # One second of work, then five more are waited for.
    assert next(seconds) - before >= 8
    operation = lambda: "result"  # noqa: E731
    assert _slowed(operation, "untouched") is operation
