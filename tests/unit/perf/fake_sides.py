"""Two sides without code: processes whose times are given, for tests of what the gate says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sonogrid.perf.process import CONTROL, Measured, Outcome, Side

BASE, HEAD = (Side(name, name * 10, Path(name), Path("python")) for name in ("base", "head"))


def measured(name: str, seconds: float = 0.01, numbers: str | None = "1", **more: object) -> Measured:
    """One benchmark in one process."""
    known = {"node": f"tests/benchmark/test_x.py::test_{name}", "unit": "image", "inputs": "2", "numbers": numbers}
    return Measured(seconds, seconds, seconds, seconds, 3, **(known | more))  # type: ignore[arg-type]


@dataclass
class Machine:
    """Runs processes: `times` gives the seconds of a benchmark by name, side and how many processes ran before.

    `suites`: benchmarks by side. `change`: replaces the outcome of a process.
    """

    times: Callable[[str, str, int], float] = lambda name, side, number: 0.01
    suites: Mapping[str, Collection[str]] = field(default_factory=lambda: {"base": "abc", "head": "abc"})
    change: Callable[[Outcome, str, int], Outcome] = lambda outcome, side, number: outcome
    asked: list[tuple[str, tuple[str, ...] | None]] = field(default_factory=list)

    def __call__(self, side: Side, nodes: Collection[str] | None, pair: int) -> Outcome:
        number = len(self.asked)
        self.asked.append((side.name, None if nodes is None else tuple(node[-1] for node in nodes)))
        found = {name: measured(name, self.times(name, side.name, number)) for name in self.suites[side.name]}
        if nodes is not None:
            found = {name: one for name, one in found.items() if one.node in nodes}
        control = measured(CONTROL, self.times(CONTROL, side.name, number))
        return self.change(Outcome(found | {CONTROL: control}), side.name, number)


def with_benchmark(outcome: Outcome, name: str, **changes: object) -> Outcome:
    """The outcome with some facts of one benchmark changed; None of it if there are none."""
    kept = dict(outcome.measured)
    if name in kept:
        kept[name] = replace(kept[name], **changes)  # type: ignore[arg-type]
    return replace(outcome, measured=kept)


def without(outcome: Outcome, name: str, reason: str = "") -> Outcome:
    """The outcome without a benchmark, which failed for the reason if there is one."""
    kept = {key: one for key, one in outcome.measured.items() if key != name}
    return Outcome(kept, {**outcome.broken, name: reason} if reason else outcome.broken)
