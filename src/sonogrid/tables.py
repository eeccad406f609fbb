"""Tables for people: the ablation table and the pre-training effect, as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, NamedTuple

import jinja2
import pandas as pd
from markupsafe import Markup

from sonogrid.config import Study
from sonogrid.files import write_csv, write_text
from sonogrid.grid import Grid
from sonogrid.metrics import CONFIGURATION
from sonogrid.problems import Problems

PRIMARY = "roc_auc_ovo"
"""The metric of every table: macro one-vs-one ROC AUC; with two classes the plain ROC AUC."""
ALL = "all"
"""Backbone and modality in effects.csv of the main effect over backbones and modalities."""
MODALITY_NAMES = {"bmode": "B-mode", "cdfi": "CDFI", "elastography": "Elastography"}
METHOD_NAMES = {"bca": "BCa", "percentile": "percentile"}
MINUS = "\N{MINUS SIGN}"

Row = Mapping[str, Any] | pd.Series
"""A row of metrics or effects, by column name."""


class Entry(NamedTuple):
    """One cell of a printed table: its text and the letter of its footnote, or none."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people beside the numbers it was printed from."""

    name: str
    """Stem of its files."""
    caption: str
    head: tuple[str, ...]
    body: tuple[tuple[Entry, ...], ...]
    row_heads: int
    """How many leading columns name the row; a rule is drawn where the first of them changes."""
    notes: tuple[tuple[str, str], ...]
    """Footnotes: letter and text."""
    data: pd.DataFrame
    """The same content unformatted: one row a measurement."""


def modality_name(modality: str) -> str:
    """A modality as people write it; an unknown one stays as it is."""
    return MODALITY_NAMES.get(modality, modality)


def is_simulated(frame: pd.DataFrame) -> bool:
    """Whether any row of metrics or effects comes from simulated patients."""
    return bool(frame["simulated"].astype(str).eq("True").any())


def signed(value: float) -> str:
    """A difference with its sign, three decimals, and a true minus sign; what rounds to zero has no sign."""
    text = f"{value:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", MINUS)


def plain(value: float) -> str:
    """A value with three decimals."""
    return f"{value:.3f}"


def p_value(p: float) -> str:
    """A p value as journals print it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def primary_rows(metrics: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """The primary measurement of every configuration, in the order of the grid.

    Columns as in metrics.csv. Taken are patient level, log-opinion pool, fold mean, with the BCa interval; a
    value that is not defined may come without one. Raises InputError naming every configuration that is
    missing, doubled, or has no value and no reason.
    """
    chosen = metrics[
        metrics["fold"].astype(str).eq("mean")
        & metrics["level"].eq("patient")
        & metrics["pooling"].eq("log")
        & metrics["metric"].eq(PRIMARY)
    ]
    wanted = [(one.backbone, one.init, one.modality) for one in grid.configurations()]
    what = "patient-level fold-mean value with a BCa interval"
    return _exactly_one(_with_bca(chosen), wanted, "metrics.csv", what)


def effect_rows(effects: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The pre-training effect of each backbone and modality, then, if there are several, the main effect.

    Columns as in effects.csv. Raises InputError naming every backbone and modality without exactly one row,
    or when the study declares no pre-training effect.
    """
    if study.statistics.pretraining_effect is None:
        problems = Problems()
        problems.add("config key statistics.pretraining_effect", "is null", "Name two inits of the grid")
        problems.raise_if_any()
    assert study.statistics.pretraining_effect is not None
    init, reference = study.statistics.pretraining_effect
    chosen = effects[effects["init"].eq(init) & effects["reference"].eq(reference) & effects["metric"].eq(PRIMARY)]
    grid = Grid.of(study)
    wanted = [(backbone, init, modality) for backbone, modality in product(grid.backbones, grid.modalities)]
    wanted += [(ALL, init, ALL)] * (len(wanted) > 1)
    what = f"paired difference to {reference} with a BCa interval"
    return _exactly_one(_with_bca(chosen), wanted, "effects.csv", what)


def _with_bca(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with a BCa interval, or with none: a row whose interval no method could make is given once."""
    bca = frame[frame["method"].eq("bca") & frame["low"].notna()]
    made = pd.MultiIndex.from_frame(bca[CONFIGURATION])
    none = frame[frame["low"].isna() & ~pd.MultiIndex.from_frame(frame[CONFIGURATION]).isin(made)]
    return pd.concat([bca, none.drop_duplicates([*CONFIGURATION, "value"])])


def _exactly_one(frame: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], file: str, what: str) -> pd.DataFrame:
    """One row for each wanted (backbone, init, modality), in that order; InputError names the others."""
    places: dict[tuple[str, str, str], list[int]] = {}
    for place, key in enumerate(zip(*(frame[name] for name in CONFIGURATION), strict=True)):
        places.setdefault(key, []).append(place)
    problems = Problems()
    taken = []
    for key in wanted:
        where = f"{file}, backbone {key[0]}, init {key[1]}, modality {key[2]}"
        found = places.get(key, [])
        if len(found) != 1:
            problems.add(where, f"has {len(found)} rows for the {what}", "Complete the cells and evaluate again")
            continue
        row = frame.iloc[found[0]]
        if pd.isna(row["value"]) and not _note(row):
            problems.add(where, "has neither a value nor a note that says why", "Evaluate again")
        taken.append(found[0])
    problems.raise_if_any()
    return frame.iloc[taken].reset_index(drop=True)


def ablation_table(metrics: pd.DataFrame, study: Study) -> Table:
    """The ablation table: rows backbone x init, columns modality, entries `AUC [low, high]`.

    `data` holds the numbers behind it, a row for each configuration. Raises InputError for a missing one.
    """
    grid = Grid.of(study)
    rows = primary_rows(metrics, grid)
    marks, footnotes = _footnotes(rows)
    entries = {
        (row["backbone"], row["init"], row["modality"]): Entry(
            value_with_interval(row, plain), marks.get(_note(row), "")
        )
        for row in _records(rows)
    }
    body = tuple(
        (Entry(backbone), Entry(init), *(entries[backbone, init, modality] for modality in grid.modalities))
        for backbone, init in product(grid.backbones, grid.inits)
    )
    head = ("Backbone", "Init", *(modality_name(modality) for modality in grid.modalities))
    what = f"{metric_name(study)} at patient level, averaged over {grid.folds} folds"
    text = caption(f"{what} (weights: number of case pairs)", study, rows)
    return Table("ablation", text, head, body, 2, footnotes, _numbers(rows))


def pretraining_effect_table(effects: pd.DataFrame, study: Study) -> Table:
    """Paired differences between two inits: a row for each backbone and modality, last the main effect.

    Raises InputError for a missing difference, or when the study declares no pre-training effect.
    """
    rows = effect_rows(effects, study)
    marks, footnotes = _footnotes(rows)
    body = tuple(
        (
            Entry("all backbones" if row["backbone"] == ALL else row["backbone"]),
            Entry("all modalities" if row["modality"] == ALL else modality_name(row["modality"])),
            Entry(value_with_interval(row, signed), marks.get(_note(row), "")),
            Entry(_or_dash(row["p"], p_value)),
            Entry(_or_dash(row["p_holm"], p_value)),
            Entry(f"{row['n_patients']:.0f}"),
        )
        for row in _records(rows)
    )
    head = ("Backbone", "Modality", "Difference in AUC", "p", "p (Holm)", "Patients")
    text = caption(effect_name(study), study, rows)
    extra = "The same patients and the same resamples on both sides; p is two-sided, Holm within this table."
    return Table("pretraining_effect", f"{text} {extra}", head, body, 2, footnotes, rows)


def metric_name(study: Study) -> str:
    """The primary metric in words."""
    return "ROC AUC" if len(study.cohort.classes) == 2 else "Macro one-vs-one ROC AUC"


def effect_name(study: Study) -> str:
    """What the effect table and its plot show, in words."""
    assert study.statistics.pretraining_effect is not None
    init, reference = study.statistics.pretraining_effect
    metric = metric_name(study).replace("Macro", "macro")
    return f"Pre-training effect: {metric} at patient level of init {init} minus init {reference}"


def caption(what: str, study: Study, rows: pd.DataFrame) -> str:
    """The caption of a table or figure of intervals, in every format: what, n, folds, interval, origin.

    `rows` has the columns modality, n_patients, confidence, method and simulated of what is shown. The first
    words are 'Simulated data.' if any row is simulated.
    """
    levels = sorted({f"{100 * level:g}%" for level in rows["confidence"].dropna()})
    methods = sorted({METHOD_NAMES.get(method, str(method)) for method in rows["method"].dropna()})
    counts = ", ".join(
        f"{modality_name(str(modality))} {_span(group)}"
        for modality, group in rows.groupby("modality", sort=False)["n_patients"]
        if modality != ALL
    )
    sentences = [
        "Simulated data." if is_simulated(rows) else "",
        f"{what}, with {' and '.join(levels)} {' and '.join(methods)} interval"
        f" ({study.statistics.resamples:,} bootstrap resamples of patients, by class within folds)."
        if levels
        else f"{what}.",
        "Images of a patient are pooled by the log-opinion pool.",
        f"Study {study.study}: {len(study.cohort.classes)} classes, {study.splits.folds} folds by patient;"
        f" patients: {counts}.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _span(counts: pd.Series[Any]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def value_with_interval(row: Row, number: Any) -> str:
    """`value [low, high]` of a row, or words where value or interval is not defined."""
    if math.isnan(row["value"]):
        return "not defined"
    if math.isnan(row["low"]):
        return f"{number(row['value'])} [not defined]"
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def _or_dash(value: float, number: Any) -> str:
    return "not tested" if math.isnan(value) else str(number(value))


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in rows.to_dict("records")]


def _note(row: Row) -> str:
    return "" if pd.isna(row["note"]) else str(row["note"]).strip()


def _footnotes(rows: pd.DataFrame) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Note -> letter, and the footnotes.

    Notes that differ in their numbers only share one footnote, with dots for the numbers that differ: the CSV
    has every note in full.
    """
    groups: dict[str, list[str]] = {}
    for note in filter(None, dict.fromkeys(map(_note, _records(rows)))):
        groups.setdefault(re.sub(r"\d+(\.\d+)?", "0", note), []).append(note)
    marks: dict[str, str] = {}
    footnotes = []
    for letter, notes in zip(_letters(), groups.values(), strict=False):
        marks |= dict.fromkeys(notes, letter)
        words = zip(*(note.split() for note in notes), strict=True)
        text = " ".join(word[0] if len(set(word)) == 1 else "\N{HORIZONTAL ELLIPSIS}" for word in words)
        footnotes.append((letter, f"{text}; the CSV has the values" if len(notes) > 1 else text))
    return marks, tuple(footnotes)


def _letters() -> Iterator[str]:
    """a to z, then aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def _numbers(rows: pd.DataFrame) -> pd.DataFrame:
    constant = ["fold", "level", "pooling", "metric"]
    return rows[
        [
            *CONFIGURATION,
            *constant,
            "value",
            "low",
            "high",
            "confidence",
            "method",
            "n_patients",
            "simulated",
            "note",
        ]
    ]


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
    """Text as Markdown shows it literally; what needs no escape, as an underscore inside a word, gets none."""
    escaped = "".join(_MARKDOWN.get(character, character) for character in text)
    escaped = re.sub(r"<(?! )", "&lt;", escaped)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", escaped).replace("](", "]\\(")


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it literally."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown: caption, table, footnotes."""

    def line(texts: Iterable[str]) -> str:
        return "| " + " | ".join(texts) + " |"

    def entry(one: Entry) -> str:
        return escape_markdown(one.text) + (f"<sup>{one.mark}</sup>" if one.mark else "")

    rules = ["---" if column < table.row_heads else "---:" for column in range(len(table.head))]
    lines = [escape_markdown(table.caption), "", line(map(escape_markdown, table.head)), line(rules)]
    lines += [line(map(entry, row)) for row in table.body]
    lines += ["", *(f"<sup>{mark}</sup> {escape_markdown(note)}  " for mark, note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _groups(table: Table) -> list[bool]:
    """For each row, whether a new group begins there that needs a rule above."""
    names = [row[0].text for row in table.body]
    return [False, *(first != second for first, second in pairwise(names))]


def to_latex(table: Table) -> str:
    """The table as a LaTeX float for the booktabs package."""

    def entry(one: Entry) -> str:
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
    """The table as an HTML fragment: a `table` with caption and scopes, then its footnotes."""

    def entry(one: Entry) -> str:
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
    """A page from a template of this package; text is escaped, an undefined name raises."""
    loader = jinja2.PackageLoader("sonogrid")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values) + "\n"


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write `folder/{name}.csv`, `.md`, `.tex` and `.html`, each whole; the CSV holds unformatted numbers."""
    stem = folder / table.name
    page = render("table.html.jinja", table=table, fragment=Markup(to_html(table)))
    write_csv(table.data, stem.with_suffix(".csv"))
    write_text(to_markdown(table), stem.with_suffix(".md"))
    write_text(to_latex(table), stem.with_suffix(".tex"))
    write_text(page, stem.with_suffix(".html"))
    return [stem.with_suffix(suffix) for suffix in (".csv", ".md", ".tex", ".html")]
