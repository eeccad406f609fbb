"""How often the performance gate errs: python tests/tools/study_perf.py [plant|record|replay] (make perf-study: all)

plant    three real gate runs, each with 10% and 20% planted in eight benchmarks each: docs/performance/planted.csv;
         it needs a clean tree, so it is first
record   pairs of fresh processes of identical code, appended to docs/performance/{idle,loaded}.csv.xz
replay   gate runs on the recordings: docs/performance/rates.csv, figures, and the tables in docs/performance.md

A replayed gate run takes consecutive pairs from a random offset and exchanges the two processes of each pair at random,
which for identical code is a symmetry. Its slow-downs are planted by scaling times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

from sonogrid.console import progress
from sonogrid.files import write_csv, write_text
from sonogrid.perf.compare import order_of_pairs
from sonogrid.perf.limits import Limits, Plan, after_looks, ending
from sonogrid.perf.process import CONTROL, Side, run_process
from sonogrid.perf.verdicts import GateVerdict, verdict_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
FOLDER = ROOT / "docs" / "performance"
RATES, PLANTED_RUNS = FOLDER / "rates.csv", FOLDER / "planted.csv"
PAIRS = {"idle": 240, "loaded": 80}
"""Condition -> pairs of processes to record."""
MOST_ELSEWHERE = 1.0
"""CPU seconds that everything else may use during a process of the condition `idle`; otherwise its pair is left out."""
MOST_TRIES = 3
"""How many pairs are recorded at most for each that is missing."""
CPU_TIMES = Path("/proc/stat")
STATISTICS = ("least", "quartile", "median", "mean")
LOSSES = (0.0, 0.05, 0.10, 0.20)
"""Planted losses; 0 is identical code."""
RUNS = 2000
QUIET = 0.05
"""Noise of a pair's log-ratio below which a benchmark counts as quiet."""
THRESHOLD = 1.05
"""The rules of pytest-benchmark beside ours: fail if min, or mean, is 5% larger in one run of each side."""
CONFIDENCE = 0.95
Floats = NDArray[np.float64]


# Recording


def busy(seed: int) -> None:
    """Keep one core and its caches busy forever."""
    numbers = np.random.default_rng(seed).random((400, 400))
    while True:
        numbers = numbers @ numbers
        numbers /= np.abs(numbers).max()
        sum(range(20_000))


@contextmanager
def load(workers: int) -> Iterator[None]:
    """Run so many busy processes meanwhile."""
    started = [multiprocessing.Process(target=busy, args=(number,), daemon=True) for number in range(workers)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.join()


def recording(condition: str) -> Path:
    """Return the file of a condition."""
    return FOLDER / f"{condition}.csv.xz"


def read_recording(condition: str) -> pd.DataFrame:
    """Return a recording: a row per process and benchmark; empty if there is none."""
    file = recording(condition)
    empty = {"pair": pd.Series(dtype=int), "elsewhere": pd.Series(dtype=float), "commit": pd.Series(dtype=str)}
    return pd.read_csv(file) if file.exists() else pd.DataFrame(empty)


def pairs_of_condition(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Return a recording without the pairs that do not meet the condition: other work ran beside an idle one."""
    if condition != "idle":
        return table
    most = table.groupby("pair")["elsewhere"].transform("max")
    return table[most < MOST_ELSEWHERE]


def record(condition: str, pairs: int) -> None:
    """Add pairs of this very tree to a recording until so many meet its condition.

    Raise RuntimeError if the recording is of another commit, if a benchmark fails, or if too few pairs are idle.
    """
    known, commit = read_recording(condition), _commit()
    if set(known["commit"]) - {commit}:
        raise RuntimeError(f"{recording(condition)} is of another commit: remove it, or record with that commit")
    if condition == "idle" and not CPU_TIMES.exists():
        raise RuntimeError(f"{CPU_TIMES} does not exist, so nobody knows whether this machine is idle")
    missing = pairs - pairs_of_condition(known, condition)["pair"].nunique()
    if missing <= 0:
        return
    begin = int(known["pair"].max()) + 1 if len(known) else 0
    os.environ["OMP_NUM_THREADS"] = "1"
    side = Side("head", commit, ROOT, Path(sys.executable))
    with (
        load((os.cpu_count() or 1) if condition == "loaded" else 0),
        progress(f"pairs, {condition}", missing) as advance,
    ):
        run_process(side)
        for pair in range(begin, begin + MOST_TRIES * missing):
            rows = [
                row | {"pair": pair, "commit": commit} for position in (0, 1) for row in _process(side, pair, position)
            ]
            new = pd.DataFrame(rows)
            known = pd.concat([known, new], ignore_index=True)
            write_recording(known, condition)
            kept = len(pairs_of_condition(new, condition)) > 0
            missing -= kept
            advance("" if kept else "left out", int(kept))
            if not missing:
                return
    raise RuntimeError(f"{missing} idle pairs are missing: too much else used the CPU")


def _process(side: Side, pair: int, position: int) -> list[dict[str, Any]]:
    """Run one process of a pair and return its rows."""
    elsewhere = -_cpu_elsewhere()
    made = run_process(side, environment={"PYTHONHASHSEED": str(pair + 1)})
    elsewhere += _cpu_elsewhere()
    if made.failed or made.broken:
        raise RuntimeError(f"{made.failed} {dict(made.broken)}")
    return [
        {"position": position, "elsewhere": round(elsewhere, 2), "benchmark": name}
        | {key: float(f"{getattr(one, key):.5g}") for key in STATISTICS}
        for name, one in made.measured.items()
    ]


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def write_recording(table: pd.DataFrame, condition: str) -> None:
    """Write a recording whole."""
    file = recording(condition)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}")
    table.to_csv(temporary, index=False, compression="xz")
    temporary.replace(file)


def _cpu_elsewhere() -> float:
    """Return the CPU seconds so far of everything but this process and what it started, other machines' included."""
    if not CPU_TIMES.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, CPU_TIMES.read_text().splitlines()[0].split()[1:])
    ours = sum(os.times()[:4])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - ours


# Replaying


class Replayed(NamedTuple):
    """Rates of one condition: per benchmark and loss, and of whole gate runs on identical code."""

    rates: pd.DataFrame
    alarms: float
    alarms_disjoint: int
    disjoint: int
    simple: Mapping[str, float]
    pairs: int


def log_ratios(table: pd.DataFrame, statistic: str) -> pd.DataFrame:
    """Return log of the second process over the first: a row per pair, a column per benchmark."""
    wide = table.pivot_table(index="pair", columns=["benchmark", "position"], values=statistic, sort=False)
    names = table["benchmark"].drop_duplicates()
    ratios = pd.DataFrame({name: np.log(wide[name, 1] / wide[name, 0]) for name in names})
    if ratios.isna().any(axis=None):
        raise ValueError("the benchmarks changed during the recording: remove the file and record again")
    return ratios


def replay(table: pd.DataFrame, plan: Plan, runs: int, seed: int = 1) -> Replayed:
    """Return how gate runs on a recording end.

    `alarms`: share of runs in which any benchmark of identical code is called slower. `disjoint`: how many stretches
    fit side by side, and in how many of these that happens, with signs that are drawn once for each.
    """
    ratios = log_ratios(table, "least").drop(columns=CONTROL, errors="ignore")
    length = plan.looks[-1]
    if len(ratios) < length:
        raise ValueError(f"{len(ratios)} pairs are recorded, and a gate run takes {length}")
    draws = np.random.default_rng(seed)
    names, values = list(ratios.columns), ratios.to_numpy()
    starts = draws.integers(len(values) - length + 1, size=runs)
    ended = [
        endings(values[start : start + length] * signs_of(length, int(sign)), plan)
        for start, sign in zip(starts, draws.integers(2**31, size=runs), strict=True)
    ]
    apart = [
        endings(values[start : start + length] * signs_of(length, start), plan)
        for start in range(0, len(values) - length + 1, length)
    ]
    # The order is drawn, so the mean is 0 whatever the second process of a pair does.
    noise = np.sqrt((ratios**2).mean())
    rates = rates_of(names, ended, apart).assign(noise=lambda table: table["benchmark"].map(noise))
    simple = {f"{key}:5%": simple_rule(log_ratios(table, key), runs, draws) for key in ("least", "mean")}
    return Replayed(rates, alarms_in(ended) / runs, alarms_in(apart), len(apart), simple, len(ratios))


Endings = Mapping[float, Sequence[GateVerdict]]
"""Planted loss -> the verdict of each benchmark in one gate run."""


def alarms_in(ended: Sequence[Endings]) -> int:
    """Return in how many gate runs any benchmark of identical code is called slower."""
    return sum(GateVerdict.SLOWER in one[0.0] for one in ended)


def rates_of(names: Sequence[str], ended: Sequence[Endings], apart: Sequence[Endings]) -> pd.DataFrame:
    """Return a row per benchmark and loss: share of runs by verdict, and how many of those apart say slower."""
    rows = []
    for column, name in enumerate(names):
        for loss in LOSSES:
            counts = Counter(one[loss][column] for one in ended)
            found = sum(one[loss][column] is GateVerdict.SLOWER for one in apart)
            shares = {verdict.name.lower(): counts[verdict] / len(ended) for verdict in GateVerdict}
            limit = {"disjoint_slower": found, "slower_at_least": lower_limit(found, len(apart))}
            rows.append({"benchmark": name, "loss": loss} | shares | limit)
    return pd.DataFrame(rows)


def signs_of(pairs: int, seed: int) -> Floats:
    """Return 1 for each pair in which the gate runs base first, otherwise -1, as a column."""
    return np.array([[1.0 if first == "base" else -1.0] for first, _ in order_of_pairs(pairs, seed)])


def endings(values: Floats, plan: Plan) -> Endings:
    """Return with which verdicts a gate run ends, by planted loss: a planted loss shifts limits as it shifts ratios."""
    found = [after_looks(column, plan, values.shape[1]) for column in values.T]
    return {
        loss: [verdict_of(ending([shifted(one, loss) for one in looks], plan), plan) for looks in found]
        for loss in LOSSES
    }


def shifted(limits: Limits, loss: float) -> Limits:
    """Return limits of times that are larger by this share."""
    step = float(np.log1p(loss))
    return replace(limits, estimate=limits.estimate + step, low=limits.low + step, high=limits.high + step)


def simple_rule(ratios: pd.DataFrame, runs: int, draws: np.random.Generator) -> float:
    """Return how often any benchmark of identical code is 5% larger in one process of each side."""
    values = ratios.drop(columns=CONTROL, errors="ignore").to_numpy()
    rows = values[draws.integers(len(values), size=runs)] * draws.choice([-1.0, 1.0], size=(runs, 1))
    return float((rows > np.log(THRESHOLD)).any(axis=1).mean())


def lower_limit(found: int, trials: int) -> float:
    """Return the one-sided 95% lower limit of a share (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    return 0.0 if found == 0 else float(beta.ppf(1 - CONFIDENCE, found, trials - found + 1))


def upper_limit(found: int, trials: int) -> float:
    """Return the one-sided 95% upper limit of a share."""
    return 1.0 if found == trials else float(beta.ppf(CONFIDENCE, found + 1, trials - found))


# Planting


def plant(runs: int = 3) -> None:
    """Run the gate on identical code with slow-downs planted in head, and keep what it says of every benchmark."""
    names = sorted(set(run_process(Side("head", "", ROOT, Path(sys.executable))).measured) - {CONTROL})
    rows: list[dict[str, Any]] = []
    for run in range(runs):
        chosen = np.random.default_rng(run).permutation(names)[:16]
        planted = dict(zip(map(str, chosen), [1.1] * 8 + [1.2] * 8, strict=True))
        out = ROOT / ".benchmarks" / f"planted{run}"
        command = [sys.executable, "-m", "sonogrid.cli", "perf", "compare", "HEAD", "HEAD", "--no-laws"]
        command += ["--seed", str(run + 1), "--planted", json.dumps(planted), "--out", str(out)]
        began = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        seconds = time.monotonic() - began
        made = json.loads((out / "compare.json").read_text(encoding="utf-8"))
        if not made["benchmarks"]:
            raise RuntimeError(f"gate run {run + 1} ended with exit code {code}: {made['problems']}")
        rows += [
            {"run": run, "exit_code": code, "seconds": round(seconds)}
            | {"benchmark": row["name"], "planted": planted.get(row["name"], 1.0), "verdict": row["verdict"]}
            | {key: row["ratio"][key] for key in ("estimate", "low", "high", "pairs")}
            for row in made["benchmarks"]
        ]
    # At the end, as the gate refuses a tree with changes.
    write_csv(pd.DataFrame(rows), PLANTED_RUNS)


# Writing


def write_page(made: Mapping[str, Replayed], planted: pd.DataFrame | None) -> None:
    """Write the tables between their marks in docs/performance.md."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, table in {
        "runs": table_of_runs(made),
        "rates": table_of_rates(made),
        "planted": table_of_planted(planted),
    }.items():
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, table=table: f"{found[1]}{table}{found[2]}", text, flags=re.DOTALL)
    write_text(text, PAGE)


def table_of_runs(made: Mapping[str, Replayed]) -> str:
    """Return false alarms of whole runs, and those of simple rules, as Markdown."""
    rules = f"min:{THRESHOLD - 1:.0%} | mean:{THRESHOLD - 1:.0%}"
    lines = [f"| condition | pairs | disjoint runs | false alarms | in disjoint runs | {rules} |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for condition, one in made.items():
        limit = upper_limit(one.alarms_disjoint, one.disjoint)
        disjoint = f"{one.alarms_disjoint} (at most {limit:.0%})"
        simple = f"{one.simple['least:5%']:.1%} | {one.simple['mean:5%']:.1%}"
        lines.append(f"| {condition} | {one.pairs} | {one.disjoint} | {one.alarms:.2%} | {disjoint} | {simple} |")
    return "\n".join(lines) + "\n"


def table_of_rates(made: Mapping[str, Replayed]) -> str:
    """Return noise, and how runs on each benchmark end, as Markdown."""
    losses = " | ".join(f"{loss:.0%}" for loss in LOSSES[1:])
    heads = [f"{condition}: noise | cannot tell | {losses} " for condition in made]
    lines = [f"| benchmark | {'| '.join(heads)}|", "|---|" + "---:|" * (1 + len(LOSSES)) * len(made)]
    tables = {condition: one.rates.set_index(["benchmark", "loss"]) for condition, one in made.items()}
    first = next(iter(tables.values()))
    order = first.xs(0.0, level="loss")["noise"].sort_values().index
    for name in order:
        cells = [name]
        for table in tables.values():
            cells.append(f"{table.loc[(name, 0.0), 'noise']:.3f}")
            cells.append(f"{table.loc[(name, 0.0), 'cannot_tell']:.0%}")
            cells += [f"{table.loc[(name, loss), 'slower']:.0%}" for loss in LOSSES[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    sentences = [said(condition, one.rates) for condition, one in made.items() for said in (of_quiet, of_missed)]
    return "\n".join([*lines, "", *sentences]) + "\n"


def of_quiet(condition: str, rates: pd.DataFrame) -> str:
    """Return how runs on the benchmarks with little noise end at worst."""
    quiet = rates[rates["noise"] < QUIET]
    worst = quiet.groupby("loss")[["slower", "cannot_tell"]].agg(["min", "max"])
    counts = f"{condition}: {quiet['benchmark'].nunique()} of {rates['benchmark'].nunique()} benchmarks"
    if quiet.empty:
        return f"- {counts} have noise below {QUIET}."
    found = ", ".join(f"{loss:.0%} in at least {worst.loc[loss, ('slower', 'min')]:.0%}" for loss in LOSSES[1:])
    unsure = worst.loc[0.0, ("cannot_tell", "max")]
    return f"- {counts} have noise below {QUIET}; of each, losses are found: {found}; cannot tell at most {unsure:.0%}."


def of_missed(condition: str, rates: pd.DataFrame) -> str:
    """Return how often at most a loss of the margin or more is called none, or one within the margin."""
    beyond = rates[rates["loss"] >= Plan().margin]
    missed = (beyond["not_slower"] + beyond["within"]).groupby(beyond["loss"]).max()
    found = ", ".join(f"{loss:.0%} in at most {share:.1%}" for loss, share in missed.items())
    return f"- {condition}: of each benchmark, losses are called *not slower* or *within the margin*: {found}."


def table_of_planted(planted: pd.DataFrame | None) -> str:
    """Return what real runs said of planted slow-downs, as Markdown."""
    if planted is None:
        return "Not run yet.\n"
    lines = [f"| run | pairs at most | minutes | planted | {' | '.join(verdict.value for verdict in GateVerdict)} |"]
    lines.append("|---:" * (4 + len(GateVerdict)) + "|")
    for (run, factor), part in planted.groupby(["run", "planted"]):
        counts = [str(int((part["verdict"] == verdict.value).sum())) for verdict in GateVerdict]
        facts = f"{int(part['pairs'].max())} | {part['seconds'].iloc[0] / 60:.0f}"
        lines.append(f"| {run + 1} | {facts} | {factor - 1:.0%} | {' | '.join(counts)} |")
    return "\n".join(lines) + "\n"


def draw(made: Mapping[str, Replayed]) -> None:
    """Draw how runs end by benchmark and loss, ordered by noise."""
    from matplotlib.figure import Figure

    colours = {"slower": "#b2182b", "cannot_tell": "#bdbdbd", "not_slower": "#2166ac", "within": "#92c5de"}
    figure = Figure(figsize=(10, 2.2 + 0.17 * len(next(iter(made.values())).rates) / len(LOSSES) * len(made)))
    axes = figure.subplots(len(made), len(LOSSES), squeeze=False, sharey="row")
    for row, (condition, one) in enumerate(made.items()):
        for column, loss in enumerate(LOSSES):
            part = one.rates[one.rates["loss"] == loss].sort_values("noise", ascending=False)
            ax, left = axes[row, column], np.zeros(len(part))
            for verdict, colour in colours.items():
                ax.barh(part["benchmark"], part[verdict], left=left, color=colour, label=verdict.replace("_", " "))
                left += part[verdict].to_numpy()
            ax.set(title=f"{condition}: {loss:.0%} planted" if loss else f"{condition}: identical code", xlim=(0, 1))
            ax.tick_params(labelsize=6)
            ax.margins(y=0.01)
    figure.supxlabel("share of gate runs")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=4, fontsize=8)
    figure.set_layout_engine("constrained")
    figure.savefig(FOLDER / "verdicts.png", dpi=110)


def write_rates(plan: Plan, runs: int) -> None:
    """Replay every recording, and write rates, figure and page."""
    made = {}
    for condition in PAIRS:
        table = pairs_of_condition(read_recording(condition), condition)
        if table["pair"].nunique() >= plan.looks[-1]:
            made[condition] = replay(table, plan, runs)
        else:
            print(f"{condition}: left out, as it has fewer than {plan.looks[-1]} pairs", file=sys.stderr)
    if not made:
        raise RuntimeError("nothing is recorded: run record first")
    tables = [one.rates.assign(condition=condition, runs=runs) for condition, one in made.items()]
    write_csv(pd.concat(tables, ignore_index=True), RATES)
    draw(made)
    write_page(made, pd.read_csv(PLANTED_RUNS) if PLANTED_RUNS.exists() else None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the steps that are asked for, in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = ("plant", "record", "replay")
    parser.add_argument("steps", nargs="*", choices=[*steps, []], help="default: all of them")
    parser.add_argument("--condition", choices=PAIRS, nargs="+", default=list(PAIRS), help="what is recorded")
    parser.add_argument("--pairs", type=int, help=f"record so many (default: {PAIRS})")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"replayed gate runs of each kind (default {RUNS})")
    options = parser.parse_args(arguments)
    for step in options.steps or steps:
        if step == "record":
            for condition in options.condition:
                record(condition, options.pairs or PAIRS[condition])
        elif step == "plant":
            plant()
        else:
            write_rates(Plan(), options.runs)


if __name__ == "__main__":
    main()
