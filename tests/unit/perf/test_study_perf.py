"""The study of the gate in its fast form: replayed runs on small recordings whose noise is known."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tools import study_perf
from tools.study_perf import (
    LOSSES,
    draw,
    endings,
    log_ratios,
    lower_limit,
    read_recording,
    replay,
    simple_rule,
    table_of_planted,
    table_of_rates,
    table_of_runs,
    upper_limit,
    write_page,
    write_recording,
)
from unit.perf.fake_sides import measured

from sonogrid.perf.limits import Plan
from sonogrid.perf.process import Outcome
from sonogrid.perf.verdicts import GateVerdict

PLAN = Plan(looks=(16, 24), shares=(0.5, 0.5))
NOISE = {"quiet": 0.01, "middle": 0.04, "loud": 0.5, "control": 0.01}


def recording(pairs: int = 60, seed: int = 1) -> pd.DataFrame:
    """Times of identical code, lognormal around 10 ms."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {"pair": pair, "position": position, "elsewhere": 0.0, "commit": "abc", "benchmark": name}
        | dict.fromkeys(study_perf.STATISTICS, 0.01 * np.exp(noise / np.sqrt(2) * draws.standard_normal()))
        for pair in range(pairs)
        for position in (0, 1)
        for name, noise in NOISE.items()
    )


@pytest.fixture(scope="module")
def replayed() -> study_perf.Replayed:
    return replay(recording(), PLAN, runs=60)


def share(made: study_perf.Replayed, name: str, loss: float, verdict: str) -> float:
    return float(made.rates.set_index(["benchmark", "loss"]).loc[(name, loss), verdict])


def test_log_ratios_are_of_the_second_process_over_the_first() -> None:
    table = pd.DataFrame({"pair": [7, 7], "position": [0, 1], "benchmark": ["a", "a"], "least": [0.02, 0.03]})
    assert log_ratios(table, "least")["a"].tolist() == pytest.approx([np.log(1.5)])


def test_replayed_runs_find_what_is_planted_and_nothing_else(replayed: study_perf.Replayed) -> None:
    assert replayed.alarms == 0 and replayed.alarms_disjoint == 0 and replayed.disjoint == 2
    assert share(replayed, "quiet", 0.05, "slower") > 0.9 and share(replayed, "middle", 0.20, "slower") == 1
    assert share(replayed, "loud", 0.0, "cannot_tell") > 0.8
    assert share(replayed, "quiet", 0.0, "not_slower") == 1
    verdicts = [verdict.name.lower() for verdict in GateVerdict]
    assert replayed.rates[verdicts].sum(axis=1).tolist() == pytest.approx([1.0] * len(replayed.rates))
    assert replayed.rates["noise"].to_numpy()[:: len(LOSSES)] == pytest.approx([0.01, 0.04, 0.5], rel=0.25)


def test_the_control_is_in_no_rate(replayed: study_perf.Replayed) -> None:
    assert "control" not in set(replayed.rates["benchmark"])


def test_the_same_seed_gives_the_same_rates(replayed: study_perf.Replayed) -> None:
    pd.testing.assert_frame_equal(replay(recording(), PLAN, runs=60).rates, replayed.rates)


def test_a_planted_loss_ends_as_larger_times_do() -> None:
    values = np.random.default_rng(3).normal(0, 0.05, (24, 4))
    planted = endings(values, PLAN)
    for loss in LOSSES:
        assert planted[loss] == endings(values + np.log1p(loss), PLAN)[0.0]


def test_rules_without_noise_in_mind_fail_as_often_as_the_noise_is_large() -> None:
    """Two processes that always differ by 10%: the second is head in half of the runs."""
    draws = np.random.default_rng(1)
    assert simple_rule(pd.DataFrame({"a": [np.log(1.1)] * 9}), 4000, draws) == pytest.approx(0.5, abs=0.03)
    assert simple_rule(pd.DataFrame({"a": [np.log(1.04)] * 9}), 100, draws) == 0


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="20 pairs are recorded, and a gate run takes 24"):
        replay(recording(20), PLAN, runs=1)


def test_limits_of_shares() -> None:
    """Of 0 and of all of n: 1 - .05^(1/n) and .05^(1/n)."""
    assert upper_limit(0, 6) == pytest.approx(1 - 0.05 ** (1 / 6)) and upper_limit(6, 6) == 1
    assert lower_limit(6, 6) == pytest.approx(0.05 ** (1 / 6)) and lower_limit(0, 6) == 0
    # scipy.stats.binomtest(3, 10, alternative="greater").proportion_ci(0.95)
    assert lower_limit(3, 10) == pytest.approx(0.0872644)


def test_recordings_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_perf, "FOLDER", tmp_path)
    assert len(read_recording("idle")) == 0
    write_recording(recording(3), "idle")
    pd.testing.assert_frame_equal(read_recording("idle"), recording(3))
    assert [file.name for file in tmp_path.iterdir()] == ["idle.csv.xz"]


def test_a_recording_goes_on_until_enough_pairs_are_idle_and_ends_if_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_perf, "FOLDER", tmp_path)
    busy = iter([0.0, 0.1, 0.1, 0.2, 0.2, 2.0, 2.0, 2.1, *[2.1] * 40])
    monkeypatch.setattr(study_perf, "_cpu_elsewhere", lambda: next(busy))
    monkeypatch.setattr(study_perf, "run_process", lambda *_, **__: Outcome({"a": measured("a")}))
    monkeypatch.setattr(study_perf, "_commit", lambda: "abc")
    study_perf.record("idle", 3)
    table = read_recording("idle")
    # The second pair had other work beside it.
    assert sorted(set(table["pair"])) == [0, 1, 2, 3] and set(table["commit"]) == {"abc"}
    assert study_perf.pairs_of_condition(table, "idle")["pair"].nunique() == 3
    study_perf.record("idle", 3)
    assert len(read_recording("idle")) == len(table)
    monkeypatch.setattr(study_perf, "_commit", lambda: "def")
    with pytest.raises(RuntimeError, match="of another commit"):
        study_perf.record("idle", 4)
    monkeypatch.setattr(study_perf, "_commit", lambda: "abc")
    seconds = iter(range(1000))
    monkeypatch.setattr(study_perf, "_cpu_elsewhere", lambda: float(next(seconds)) * 5)
    with pytest.raises(RuntimeError, match="1 idle pairs are missing"):
        study_perf.record("idle", 4)


def test_a_recording_of_two_suites_has_no_rates() -> None:
    table = recording(4)
    with pytest.raises(ValueError, match="benchmarks changed during the recording"):
        log_ratios(table[~(table["pair"].eq(2) & table["benchmark"].eq("quiet"))], "least")


def test_noise_includes_what_the_second_process_always_does() -> None:
    table = recording(40)
    second = table["position"].eq(1) & table["benchmark"].eq("quiet")
    table.loc[second, ["least", "mean"]] *= np.exp(0.1)
    found = replay(table, PLAN, runs=2).rates.set_index("benchmark")["noise"]
    assert found["quiet"].iloc[0] == pytest.approx(0.1, abs=0.01)


def test_idle_pairs_with_other_work_beside_them_are_left_out() -> None:
    table = recording(4)
    busy = table["pair"].eq(2) & table["position"].eq(1)
    table.loc[busy, "elsewhere"] = 1.0
    assert sorted(set(study_perf.pairs_of_condition(table, "idle")["pair"])) == [0, 1, 3]
    assert sorted(set(study_perf.pairs_of_condition(table, "loaded")["pair"])) == [0, 1, 2, 3]


def test_the_page_takes_new_tables_between_its_marks(
    replayed: study_perf.Replayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    page.write_text("".join(f"before\n<!-- {mark} -->\nold\n<!-- end -->\n" for mark in ("runs", "rates", "planted")))
    monkeypatch.setattr(study_perf, "PAGE", page)
    planted = pd.DataFrame(
        {"run": 0, "planted": [1.1, 1.2], "verdict": ["slower", "cannot tell"], "pairs": 40, "seconds": 600}
    )
    for _ in range(2):
        write_page({"idle": replayed}, planted)
    text = page.read_text()
    assert "old" not in text and text.count("before") == 3
    assert text.count(table_of_runs({"idle": replayed})) == text.count(table_of_rates({"idle": replayed})) == 1
    assert "| 1 | 40 | 10 | 10% | 1 | 0 | 0 | 0 | 0 |" in text and "| 1 | 40 | 10 | 20% | 0 | 0 | 0 | 1 | 0 |" in text
    assert "idle: 2 of 3 benchmarks have noise below 0.05; of each, losses are found: 5% in at least" in text
    assert table_of_planted(None) == "Not run yet.\n"


def test_the_figure_is_drawn(replayed: study_perf.Replayed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_perf, "FOLDER", tmp_path)
    draw({"idle": replayed, "loaded": replayed})
    assert (tmp_path / "verdicts.png").stat().st_size > 10_000


def test_the_shipped_page_has_a_place_for_every_table_and_says_the_same_of_the_plan() -> None:
    text = study_perf.PAGE.read_text(encoding="utf-8")
    assert re.findall(r"<!-- (\w+) -->\n.+?<!-- end -->", text, re.DOTALL) == ["runs", "rates", "planted"]
    plan = Plan()
    first, second, last = plan.looks[0], plan.looks[1], plan.looks[-1]
    assert len({late - early for early, late in pairwise(plan.looks)}) == 1, "the page says what the step is"
    assert f"after {first}, {second}, ... {last} pairs" in text
    assert f"at most {plan.slower:.0%} of runs" in text and f"at most {plan.not_slower:.0%} of runs" in text
    assert f"takes {last}\nsuccessive pairs" in text
    assert f"less\nthan {study_perf.MOST_ELSEWHERE:g} CPU second per process" in text
