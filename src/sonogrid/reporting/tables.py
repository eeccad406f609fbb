"""Tables for people: the ablation table and the pre-training effect, as CSV, Markdown, LaTeX and HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pandas as pd

from sonogrid.config.study import Study
from sonogrid.evaluation.predictions import exact_number
from sonogrid.grid import CONFIGURATION, Grid
from sonogrid.problems import Problems
from sonogrid.reporting.formats import MINUS, Entry, Table

PRIMARY = "roc_auc_ovo"
"""The metric of every table: macro one-vs-one ROC AUC; with two classes the plain ROC AUC."""
ALL = "all"
"""Backbone and modality in effects.csv of the main effect over backbones and modalities."""
NO_PATIENTS = (
    "The source has no patient ids: each picture counts as a patient, and pictures of one person can stand in"
    " several folds, so that the values are optimistic."
)
NUMBERS = ("value", "low", "high", "confidence", "p", "p_holm", "n_patients", "n_images")
"""Columns of metrics.csv and effects.csv that hold numbers."""
MODALITY_NAMES = {"bmode": "B-mode", "cdfi": "CDFI", "elastography": "Elastography"}
METHOD_NAMES = {"bca": "BCa", "percentile": "percentile"}

Row = Mapping[str, Any] | pd.Series
"""A row of metrics or effects, by column name."""


def modality_name(modality: str) -> str:
    """A modality as people write it; an unknown one stays as it is."""
    return MODALITY_NAMES.get(modality, modality)


def read_measurements(path: Path) -> pd.DataFrame:
    """metrics.csv or effects.csv: names stay text, even `007` or `NA`; an empty number is NaN."""
    table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    numbers = [name for name in NUMBERS if name in table.columns]
    return table.assign(**table[numbers].map(exact_number))


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
    wanted = [
        (backbone, init, modality) for backbone, modality in product(grid.texts("backbone"), grid.texts("modality"))
    ]
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
        (Entry(backbone), Entry(init), *(entries[backbone, init, modality] for modality in grid.texts("modality")))
        for backbone, init in product(grid.texts("backbone"), grid.texts("init"))
    )
    head = ("Backbone", "Init", *(modality_name(modality) for modality in grid.texts("modality")))
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
        "" if study.patients_known else NO_PATIENTS,
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
