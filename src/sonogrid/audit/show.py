"""What `sonogrid audit` prints: a table that a person can act on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sonogrid.audit.findings import KINDS, Finding, is_accepted, stale, unaccepted
from sonogrid.audit.illustrations import illustrated
from sonogrid.cohort.manifest import some
from sonogrid.layout import AuditLayout

SHOWN_OF_A_KIND = 5
"""Findings of one kind in the table; the others are counted there and stand in findings.csv."""
PLAIN_WIDTH = 100
"""Columns where the output is no terminal."""
WIDEST = 140
_STATES = {"stop": "stop the workflow", "accepted": "accepted", "note": "notes"}


def show(
    findings: Sequence[Finding],
    accept: Sequence[str],
    folder: Path,
    console: Console | None = None,
    names: bool = True,
) -> None:
    """Print findings as `ordered` gives them, their counts, and how to accept one; `folder` has findings.csv.

    Without `names`, for logs, only what names no image and no patient.
    """
    console = console or _console()
    if names:
        for kind, group in groupby(findings, key=lambda one: one.kind):
            _print_kind(kind, list(group), accept, console)
    counts = Counter(_state(one, accept) for one in findings)
    told = ", ".join(f"{counts[state]} {meaning}" for state, meaning in _STATES.items() if counts[state])
    lines = [f"{len(findings)} findings" + (f": {told}." if told else ".")]
    lines += [f"audit.accept: {text} fits no finding of this audit." for text in stale(findings, accept)]
    lines.append(f"All findings: {AuditLayout(folder).findings}")
    if illustrated(findings):
        lines.append(f"Side by side: {AuditLayout(folder).pictures}")
    left = unaccepted(findings, accept)
    if left:
        lines.append("No certificate, so nothing trains. Do what is said above, or accept what you can answer for:")
        lines.append(f"  audit: {{accept: [{left[0].name}]}}    # and why")
        lines.append(f"{left[0].kind} accepts all of that kind, also later ones.")
    else:
        lines.append(f"Certificate: {AuditLayout(folder).certificate}")
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _console() -> Console:
    """Standard output: with colours on a terminal, plain and PLAIN_WIDTH wide elsewhere."""
    console = Console()
    if console.is_terminal:
        return Console(width=min(WIDEST, shutil.get_terminal_size().columns))
    return Console(width=PLAIN_WIDTH, color_system=None)


def _print_kind(kind: str, findings: Sequence[Finding], accept: Sequence[str], console: Console) -> None:
    """A heading, what to do, and a row for each of the first findings of a kind."""
    console.print(Text(f"{kind}: {KINDS[kind]} ({len(findings)})", style="bold"))
    shown = findings[:SHOWN_OF_A_KIND]
    for remedy in dict.fromkeys(one.remedy for one in shown):
        console.print(Text(f"What to do: {_harmless(remedy)}."))
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("ends in", no_wrap=True)
    table.add_column("who", ratio=2, overflow="fold")
    table.add_column("what", ratio=3)
    for one in shown:
        state = _state(one, accept)
        who = some(one.images or one.patients)
        ending = one.name.removeprefix(kind)
        table.add_row(Text(state, style=_STYLES[state]), ending, Text(_harmless(who)), Text(_harmless(one.what)))
    console.print(table)
    if len(findings) > len(shown):
        console.print(f"and {len(findings) - len(shown)} more")
    console.print()


_STYLES = {"stop": "bold red", "accepted": "yellow", "note": ""}


def _state(one: Finding, accept: Sequence[str]) -> str:
    return "accepted" if one.severity == "stop" and is_accepted(one, accept) else one.severity


def _harmless(text: str) -> str:
    """Text whose names can do nothing to a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
