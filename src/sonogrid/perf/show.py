"""A comparison as people and programs read it: a table for a terminal, Markdown, and JSON."""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sonogrid.files import write_text
from sonogrid.perf.choices import SAID, Exit
from sonogrid.perf.compare import Compared, Comparison
from sonogrid.perf.laws import Laws
from sonogrid.perf.limits import Limits, Plan
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict

ORDER = (GateVerdict.SLOWER, GateVerdict.COULD_NOT, GateVerdict.CANNOT_TELL, GateVerdict.WITHIN, GateVerdict.NOT_SLOWER)
STYLES = {GateVerdict.SLOWER: "bold red", GateVerdict.COULD_NOT: "magenta", GateVerdict.CANNOT_TELL: "yellow"}
EXIT_STYLES = {Exit.SLOWER: "bold red", Exit.BROKEN_LAW: "bold red", Exit.COULD_NOT: "bold magenta"}
COLUMNS = ("benchmark", "base", "head / base", "verdict", "pairs")
PREFIXES = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
PEAK_SHOWN, LEAST_PEAK = 1.05, 10e6
"""Smallest growth in peak memory that is reported, as a ratio and in bytes; less is paging noise."""
WIDTH = 100
PLAIN = " .,;%()+-="
"""Punctuation that is written as it is in Markdown; every other may begin a link, a tag, a mention or a cell."""
MOST_WITNESSES = 5
"""Losses whose witnesses are among the notes; the Markdown has those of all."""


@dataclass(frozen=True)
class Page:
    """Everything that is said of a comparison."""

    base: str
    head: str
    suite: str
    plan: Plan
    comparison: Comparison
    laws: Laws | None
    exit: Exit
    remarks: Sequence[str]
    circumstances: Mapping[str, Any]

    @property
    def rows(self) -> list[Compared]:
        """The benchmarks, what a reader must act on first, the largest ratios first."""
        return sorted(self.comparison.rows, key=lambda row: (ORDER.index(row.verdict), -_known(row.limits), row.name))


def _known(limits: Limits) -> float:
    return -math.inf if math.isnan(limits.estimate) else limits.estimate


def table_cells(row: Compared) -> tuple[str, str, str, str, str]:
    """Return a benchmark as texts under COLUMNS: base's time per unit, the ratio with its limits, the verdict."""
    return row.name, per_unit(row), ratio(row.limits), row.verdict.value, str(row.limits.pairs or "")


def per_unit(row: Compared) -> str:
    """Return base's time per unit of work, as "1.2 ms/image"."""
    seconds = row.seconds[0] / row.count
    if not math.isfinite(seconds):
        return ""
    name, size = next((one for one in PREFIXES if seconds >= one[1]), PREFIXES[-1])
    return f"{seconds / size:.3g} {name}/{row.unit}"


def ratio(limits: Limits) -> str:
    """Return a ratio with its simultaneous one-sided limits, as "1.020 [0.980, 1.060]"; "-" for none."""
    if not limits.pairs:
        return ""
    estimate, low, high = limits.ratio()
    shown = (f"{limit:.3f}" if 0 < limit < math.inf else "-" for limit in (low, high))
    return f"{estimate:.3f} [{', '.join(shown)}]"


def printable(text: str) -> str:
    """Return text that does nothing to a terminal or a CI log: names and reasons come from a contributor's code."""
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    # In a log of GitHub, "::" and "##[" begin commands.
    return re.sub(r":(?=:)", ": ", shown).replace("##[", "## [") if os.environ.get("GITHUB_ACTIONS") else shown


def page_notes(page: Page) -> list[str]:
    """Return what the table does not say, one sentence each."""
    made, found = page.comparison, [*page.remarks]
    plan = page.plan
    found.append(
        f"Limits are one-sided. Identical code: any benchmark is called slower in at most {plan.slower:.0%} of runs. "
        f"A loss beyond {plan.margin:.0%} of a benchmark: not slower, or within the margin, in at most"
        f" {plan.not_slower:.0%}."
    )
    reasons: dict[str, list[str]] = {}
    for row in page.rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.name)
    found += [f"Could not measure {_listed(names)}: {reason}." for reason, names in reasons.items()]
    found += _about_numbers(made.rows)
    found += [
        f"Peak memory of {row.name}: {row.peak_bytes[0] / 1e6:.0f} -> {row.peak_bytes[1] / 1e6:.0f} MB."
        for row in page.rows
        if row.peak_bytes[1] > max(PEAK_SHOWN * row.peak_bytes[0], row.peak_bytes[0] + LEAST_PEAK)
    ]
    for names, what in (
        (made.only_head, "New, not compared"),
        (made.only_base, "Gone, not compared"),
        (made.changed, "With another unit or input, not compared"),
    ):
        if names:
            found.append(f"{what}: {_listed(names)}.")
    found += _about_laws(page.laws)
    slower = [row for row in page.rows if row.witness]
    for row in slower[:MOST_WITNESSES]:
        found += _about_witness(row)
    if len(slower) > MOST_WITNESSES:
        others = _listed(row.name for row in slower[MOST_WITNESSES:])
        found.append(f"compare.md and compare.json also have the profiles of {others}.")
    return found


def _about_numbers(rows: Iterable[Compared]) -> list[str]:
    """Return which results are not what they were, whatever their speed."""
    by_kind: dict[str, list[str]] = {}
    for row in rows:
        by_kind.setdefault(row.numbers, []).append(row.name)
    said = []
    if "other" in by_kind:
        said.append(f"No longer the same numbers: {_listed(by_kind['other'])}.")
    if "vary" in by_kind:
        said.append(f"Numbers vary from process to process: {_listed(by_kind['vary'])}.")
    return said


def _about_laws(laws: Laws | None) -> list[str]:
    if laws is None:
        return ["The laws of tests/property were not tested (--no-laws)."]
    said = [f"{laws.tested} laws of tests/property tested, {len(laws.broken)} no longer hold."]
    if laws.broken:
        said.append(f"Laws that head breaks: {_listed(laws.broken)}.")
    if laws.gone:
        said.append(f"Laws that head no longer tests: {_listed(laws.gone)}.")
    if laws.on_both:
        said.append(f"Laws that both sides break: {_listed(laws.on_both)}.")
    return said


def _about_witness(row: Compared) -> list[str]:
    if not row.witness:
        return []
    counted = row.witness["instructions"]
    if counted:
        text = f"{counted['base']:.4g} -> {counted['head']:.4g} per call (x {counted['head'] / counted['base']:.3f})"
        text += f", by {row.witness['counted_by']}"
    else:
        text = f"not counted ({row.witness['not_counted']})"
    said = [f"Instructions of {row.name}: {text}."]
    for side, rows in row.witness["profiles"].items():
        top = "; ".join(f"{one['function']} {one['ms']:.2f} ms" for one in rows[:3])
        missing = row.witness.get("not_profiled", {}).get(side, "")
        said.append(f"Profile of {row.name} on {side}: {top or f'none ({missing})' if missing else top or 'none'}.")
    return said


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def headline(page: Page) -> str:
    """Return the verdict in one line."""
    counts = Counter(row.verdict for row in page.comparison.rows)
    parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in ORDER if counts[verdict])
    made = page.comparison
    left_out = len(made.only_base) + len(made.changed)
    parts += f", {left_out} gone or changed and not compared" if left_out else ""
    pairs = "1 pair" if made.pairs == 1 else f"{made.pairs} pairs"
    return (
        f"{page.head} against {page.base}: {SAID[page.exit]} (exit code {page.exit.value}); {parts}; "
        f"{pairs} of processes in {made.seconds / 60:.0f} min"
    )


def show_page(page: Page, console: Console) -> None:
    """Print the table and its notes."""
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("base", "head / base", "pairs") else "left", no_wrap=True)
    for row in page.rows:
        table.add_row(*(Text(printable(cell)) for cell in table_cells(row)), style=STYLES.get(row.verdict, ""))
    console.print(table)
    for note in page_notes(page):
        console.print(printable(note), style="dim", markup=False, highlight=False)
    console.print(printable(headline(page)), style=EXIT_STYLES.get(page.exit, "bold"), markup=False, highlight=False)


def page_markdown(page: Page) -> str:
    """Return the page as Markdown, for the summary of a CI job."""
    lines = [f"### Speed: {_markdown(headline(page))}", "", f"| {' | '.join(COLUMNS)} |", "|---|---:|---:|---|---:|"]
    lines += [f"| {' | '.join(map(_markdown, table_cells(row)))} |" for row in page.rows]
    lines += ["", *(f"- {_markdown(note)}" for note in page_notes(page))]
    for row in page.rows:
        lines += _profiles(row)
    return "\n".join(lines) + "\n"


def refusal_markdown(base: str, head: str, error: CouldNotMeasureError) -> str:
    """Return as Markdown why nothing was compared."""
    lines = [f"### Speed: {_markdown(head)} against {_markdown(base)}: {SAID[Exit.COULD_NOT]}", ""]
    return "\n".join([*lines, *(f"- {_markdown(problem)}" for problem in error.problems)]) + "\n"


def refusal_json(base: str, head: str, error: CouldNotMeasureError) -> dict[str, Any]:
    """Return for programs why nothing was compared."""
    problems = [str(problem) for problem in error.problems]
    return {"base": base, "head": head, "exit": _exit(Exit.COULD_NOT), "problems": problems, "benchmarks": []}


def _exit(code: Exit) -> dict[str, Any]:
    return {"code": code.value, "said": SAID[code]}


def _profiles(row: Compared) -> list[str]:
    """Return the profiles of both sides as a folded table."""
    if not row.witness:
        return []
    lines = ["", f"<details><summary>Profiles of {_markdown(row.name)}</summary>", ""]
    lines += ["| side | function | own time in ms | calls |", "|---|---|---:|---:|"]
    for side, rows in row.witness["profiles"].items():
        lines += [
            f"| {side} | {_markdown(one['function'])} | {one['ms']:.3f} | {_markdown(one['calls'])} |" for one in rows
        ]
    return [*lines, "", "</details>"]


def _markdown(text: object) -> str:
    """Return text that Markdown shows as it is: names of commits and tests come from a contributor's code."""
    written = (one if one.isalnum() or one in PLAIN else f"&#{ord(one)};" for one in printable(str(text)))
    return "".join(written).replace("www.", "www&#46;")


def page_json(page: Page) -> dict[str, Any]:
    """Return everything, for programs: limits as ratios, null where there is none."""
    return {
        "base": page.base,
        "head": page.head,
        "suite": page.suite,
        "plan": asdict(page.plan),
        "exit": _exit(page.exit),
        "benchmarks": [_row(row) for row in page.rows],
        "control": _row(page.comparison.control),
        "only_base": page.comparison.only_base,
        "only_head": page.comparison.only_head,
        "changed": page.comparison.changed,
        "laws": None if page.laws is None else asdict(page.laws),
        "notes": page_notes(page),
        "order": page.comparison.order,
        "seconds": page.comparison.seconds,
        "circumstances": dict(page.circumstances),
    }


def _row(row: Compared) -> dict[str, Any]:
    estimate, low, high = (_finite(value) for value in row.limits.ratio())
    return {
        "name": row.name,
        "verdict": row.verdict.value,
        "reason": row.reason,
        "unit": row.unit,
        "count": row.count,
        "seconds": dict(zip(("base", "head"), map(_finite, row.seconds), strict=True)),
        "peak_bytes": dict(zip(("base", "head"), map(_finite, row.peak_bytes), strict=True)),
        "ratio": {"estimate": estimate, "low": low, "high": high, "pairs": row.limits.pairs},
        "numbers": row.numbers,
        "log_ratios": row.ratios,
        "witness": row.witness,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def write_summary(text: str, file: Path) -> None:
    """Write Markdown to a file, and to the summary of a GitHub job if this is one."""
    write_text(text, file)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as job:
            job.write(text)
    except OSError as error:
        print(f"The summary of the job was not written: {error.strerror}.", file=sys.stderr)
