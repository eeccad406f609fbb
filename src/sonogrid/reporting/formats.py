"""A table for people as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from sonogrid.files import write_csv, write_text
from sonogrid.reporting.words import MINUS


class TableEntry(NamedTuple):
    """One cell of a printed table: its text and the letter of its footnote, or none."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people beside the numbers it was printed from."""

    head: tuple[str, ...]
    body: tuple[tuple[TableEntry, ...], ...]
    row_heads: int
    """How many leading columns name the row; a rule is drawn where the first of them changes."""
    data: pd.DataFrame
    """The same content unformatted: one row per measurement."""
    notes: tuple[tuple[str, str], ...] = ()
    """Footnotes: letter and text."""
    name: str = ""
    """Stem of its files; set from its entry in the list of exhibits."""
    caption: str = ""
    """Set from its entry too."""


_MARKDOWN = {character: f"\\{character}" for character in "\\`*|$~"} | {"&": "&amp;", "\n": " "}
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    MINUS: "$-$",
    "\n": " ",
}


def escape_markdown(text: str) -> str:
    """Return text as Markdown shows it literally; what needs no escape, as an underscore inside a word, gets none."""
    escaped = "".join(_MARKDOWN.get(character, character) for character in text)
    escaped = re.sub(r"<(?! )", "&lt;", escaped)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped).replace("](", "]\\(")


def escape_latex(text: str) -> str:
    """Return text as LaTeX prints it literally."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_markdown(table: Table) -> str:
    """Return the table as GitHub Markdown: caption, table, footnotes."""

    def line(texts: Iterable[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    def entry(one: TableEntry) -> str:
        return escape_markdown(one.text) + (f"<sup>{one.mark}</sup>" if one.mark else "")

    rules = ["---" if column < table.row_heads else "---:" for column in range(len(table.head))]
    lines = [escape_markdown(table.caption), "", line(map(escape_markdown, table.head)), line(rules)]
    lines += [line(map(entry, row)) for row in table.body]
    lines += ["", *(f"<sup>{mark}</sup> {escape_markdown(note)}  " for mark, note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _groups(table: Table) -> list[bool]:
    """Return for each row whether a new group begins there that needs a rule above."""
    names = [row[0].text for row in table.body]
    return [False, *(first != second for first, second in pairwise(names))]


def to_latex(table: Table) -> str:
    """Return the table as a LaTeX float for the booktabs package."""

    def entry(one: TableEntry) -> str:
        return escape_latex(one.text) + (rf"\textsuperscript{{{one.mark}}}" if one.mark else "")

    columns = "l" * table.row_heads + "r" * (len(table.head) - table.row_heads)
    lines = [
        r"% Needs \usepackage{booktabs} in the preamble.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(map(escape_latex, table.head)) + r" \\",
        r"\midrule",
    ]
    for row, begins in zip(table.body, _groups(table), strict=True):
        lines += [r"\addlinespace"] * begins + [" & ".join(map(entry, row)) + r" \\"]
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = [rf"\textsuperscript{{{mark}}} {escape_latex(note)}" for mark, note in table.notes]
    lines += [r"\par\smallskip\footnotesize " + r"\\ ".join(notes)] if notes else []
    return "\n".join([*lines, r"\end{table}", ""])


def to_html(table: Table) -> str:
    """Return the table as an HTML fragment: a `table` with caption and scopes, then its footnotes."""

    def entry(one: TableEntry) -> str:
        return html.escape(one.text) + (f"<sup>{one.mark}</sup>" if one.mark else "")

    lines = ["<table>", f"<caption>{html.escape(table.caption)}</caption>", "<thead><tr>"]
    for column, name in enumerate(table.head):
        kind = ' class="name"' if column < table.row_heads else ""
        lines.append(f'<th scope="col"{kind}>{html.escape(name)}</th>')
    lines += ["</tr></thead>", "<tbody>"]
    for row, begins in zip(table.body, _groups(table), strict=True):
        lines.append('<tr class="group">' if begins else "<tr>")
        lines += [f'<th scope="row">{entry(one)}</th>' for one in row[: table.row_heads]]
        lines += [f"<td>{entry(one)}</td>" for one in row[table.row_heads :]]
        lines.append("</tr>")
    lines += ["</tbody>", "</table>"]
    lines += [f'<p class="note"><sup>{mark}</sup> {html.escape(note)}</p>' for mark, note in table.notes]
    return "\n".join(lines) + "\n"


def render(template: str, **values: Any) -> str:
    """Return a page from a template of this package; text is escaped, an undefined name raises."""
    loader = jinja2.PackageLoader("sonogrid.reporting")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values) + "\n"


def to_page(table: Table) -> str:
    """Return the table as an HTML page of its own."""
    return render("table.html.jinja", table=table, fragment=Markup(to_html(table)))


def write_table(table: Table, suffix: str, path: Path) -> None:
    """Write a table in one format, whole; the CSV holds unformatted numbers."""
    if suffix == "csv":
        write_csv(table.data, path)
    else:
        write_text({"html": to_page, "md": to_markdown, "tex": to_latex}[suffix](table), path)
