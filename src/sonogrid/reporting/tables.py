"""Tables for people: each function takes a study and what was gathered of it, and returns a Table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from itertools import count, product
from string import ascii_lowercase
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.config.modalities import title as modality_title
from sonogrid.config.study import Study
from sonogrid.evaluation import primary
from sonogrid.evaluation.measurements import primary_metric, primary_rows
from sonogrid.grid import CONFIGURATION, Grid
from sonogrid.problems import Problems
from sonogrid.reporting.exhibits import CEILING_METRIC, COLUMN_AXIS, ROW_AXES
from sonogrid.reporting.formats import Table, TableEntry
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.words import (
    METHOD_NAMES,
    ResultRow,
    counted,
    duration,
    p_text,
    plain,
    signed,
    value_with_interval,
)

ALL = "all"
"""Backbone and modality in effects.csv of the main effect over backbones and modalities."""
NO_PATIENTS = (
    "The source has no patient ids: each picture counts as a patient, and pictures of one person can be in"
    " several folds, so that the values are optimistic."
)


def grid_rows(metrics: pd.DataFrame, grid: Grid, metric: str = "") -> pd.DataFrame:
    """Return the measurement of every configuration, averaged over folds and seeds, in the order of the grid.

    Of a metric of one value, without a name of the primary one; columns as in metrics.csv. Raises InputError naming
    every configuration that is missing, given twice, or has neither a value nor a reason.
    """
    wanted = [astuple(configuration) for configuration in grid.configurations()]
    what = f"value of {metric}" if metric else "primary value"
    return _exactly_one(primary_rows(metrics, metric), wanted, "metrics.csv", what)


def row_names(grid: Grid) -> list[tuple[str, ...]]:
    """Return the values of ROW_AXES of each row of a table or figure of the whole grid."""
    return list(product(*(grid.texts(axis) for axis in ROW_AXES)))


def by_place(rows: pd.DataFrame) -> dict[tuple[tuple[str, ...], str], dict[str, Any]]:
    """Return measurements by row and column of a table or figure of the whole grid."""
    return {(tuple(row[axis] for axis in ROW_AXES), row[COLUMN_AXIS]): row for row in _records(rows)}


def effect_rows(effects: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Return the pre-training effect of each backbone and modality, then, if there are several, the main effect.

    Columns as in effects.csv. Raises InputError naming every backbone and modality without exactly one row,
    or when the study declares no pre-training effect.
    """
    if study.statistics.pretraining_effect is None:
        problems = Problems()
        problems.add("config key statistics.pretraining_effect", "is null", "Name two inits of the grid")
        problems.raise_if_any()
    assert study.statistics.pretraining_effect is not None
    init, reference = study.statistics.pretraining_effect
    of_metric = effects[effects["metric"].eq(primary.PRIMARY_METRIC)]
    chosen = of_metric[of_metric["init"].eq(init) & of_metric["reference"].eq(reference)]
    grid = Grid.of(study)
    wanted = [
        (backbone, init, modality) for backbone, modality in product(grid.texts("backbone"), grid.texts("modality"))
    ]
    wanted += [(ALL, init, ALL)] * (len(wanted) > 1)
    return _exactly_one(chosen, wanted, "effects.csv", f"paired difference to {reference}")


def _exactly_one(frame: pd.DataFrame, wanted: Sequence[tuple[str, ...]], file: str, what: str) -> pd.DataFrame:
    """Return one row for each wanted configuration, in that order; raise InputError naming the others."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, key in enumerate(zip(*(frame[name] for name in CONFIGURATION), strict=True)):
        places.setdefault(key, []).append(place)
    problems = Problems()
    taken = []
    for key in wanted:
        named = (f"{axis} {value}" for axis, value in zip(CONFIGURATION, key, strict=True))
        where = f"{file}, {', '.join(named)}"
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


def ablation_table(study: Study, gathered: Gathered, metric: str = "") -> Table:
    """Return the ablation table of a metric, without a name of the primary one: entries `value [low, high]`.

    `data` holds the numbers behind it, a row for each configuration. Raises InputError for a missing one.
    """
    grid = Grid.of(study)
    rows = grid_rows(gathered.metrics, grid, metric)
    marks, footnotes = _footnotes(rows)
    entries = {
        place: TableEntry(value_with_interval(row, plain), marks.get(_note(row), ""))
        for place, row in by_place(rows).items()
    }
    modalities = grid.texts(COLUMN_AXIS)
    body = tuple(
        (*map(TableEntry, names), *(entries[names, modality] for modality in modalities)) for names in row_names(grid)
    )
    head = (*(axis.capitalize() for axis in ROW_AXES), *map(modality_title, modalities))
    return Table(head, body, len(ROW_AXES), rows, footnotes)


def pretraining_effect_table(study: Study, gathered: Gathered) -> Table:
    """Return paired differences between two inits: a row for each backbone and modality, last the main effect.

    Raises InputError for a missing difference, or when the study declares no pre-training effect.
    """
    rows = effect_rows(gathered.effects, study)
    marks, footnotes = _footnotes(rows)
    body = tuple(
        (
            TableEntry("all backbones" if row["backbone"] == ALL else row["backbone"]),
            TableEntry("all modalities" if row["modality"] == ALL else modality_title(row["modality"])),
            TableEntry(value_with_interval(row, signed), marks.get(_note(row), "")),
            TableEntry(p_text(row["p"])),
            TableEntry(p_text(row["p_holm"])),
            TableEntry(f"{row['n_patients']:.0f}"),
        )
        for row in _records(rows)
    )
    head = ("Backbone", "Modality", f"Difference in {primary_metric().label}", "p", "p (Holm)", "Patients")
    return Table(head, body, 2, rows, footnotes)


def ceiling_table(study: Study, gathered: Gathered) -> Table:
    """Return for each modality the ceiling of the simulation beside the highest value of the ablation table."""
    rows = grid_rows(gathered.metrics, Grid.of(study), CEILING_METRIC)
    body, data = [], []
    for modality, group in rows.groupby("modality", sort=False):
        limits = gathered.ceiling.get(str(modality))
        if limits is None or group["value"].isna().all():
            continue
        best = group.iloc[int(np.nanargmax(group["value"]))]
        body.append(
            (
                TableEntry(modality_title(str(modality))),
                TableEntry(f"{limits['population_auc']:.3f} (n = {limits['population_n']:,})"),
                TableEntry(f"{limits['cohort_auc']:.3f} (n = {limits['cohort_n']:,})"),
                TableEntry(value_with_interval(best, plain)),
                TableEntry(f"{best['backbone']}, {best['init']}"),
            )
        )
        highest = {"highest": best["value"], "backbone": best["backbone"], "init": best["init"]}
        data.append({"modality": modality, **limits, **highest})
    head = ("Modality", "Ceiling, population", "Ceiling, cohort", "Highest in the table", "Reached by")
    return Table(head, tuple(body), 1, pd.DataFrame(data))


def training_times_table(study: Study, gathered: Gathered) -> Table:
    """Return the training time of each backbone and init, and of all cells together."""
    groups = [(key, part) for key, part in gathered.runs.groupby(["backbone", "init"], sort=False)]
    body, data = [], []
    for (backbone, init), part in [*groups, ((ALL, ALL), gathered.runs)]:
        median, total = float(part["seconds"].median()), float(part["seconds"].sum())
        body.append(
            (
                TableEntry("all backbones" if backbone == ALL else str(backbone)),
                TableEntry("all inits" if init == ALL else str(init)),
                TableEntry(str(len(part))),
                TableEntry(f"{part['epochs_run'].median():g}"),
                TableEntry(duration(median)),
                TableEntry(duration(total)),
            )
        )
        epochs = part["epochs_run"].median()
        times = {"cells": len(part), "epochs": epochs, "seconds_median": median, "seconds_sum": total}
        data.append({"backbone": backbone, "init": init, **times})
    head = ("Backbone", "Init", "Cells", "Epochs", "One cell", "All")
    return Table(head, tuple(body), 2, pd.DataFrame(data))


def caption_tail(study: Study, data: pd.DataFrame) -> str:
    """Return the end of a table's caption: interval, study, folds, seeds, and how many patients.

    Interval and patients are read from the columns of `data`, as far as it has them.
    """
    sentences = [
        _interval(study, data) if {"confidence", "method"} <= set(data.columns) else "",
        f"Study {study.study}: {len(study.cohort.classes)} classes, {counted(study.splits.folds, 'fold')} by patient,"
        f" {counted(len(study.grid.seeds), 'seed')}{_patients(data)}.",
        "" if study.patients_known else NO_PATIENTS,
    ]
    return " ".join(filter(None, sentences))


def _interval(study: Study, data: pd.DataFrame) -> str:
    levels = sorted({f"{100 * level:g}%" for level in data["confidence"].dropna()})
    methods = sorted({METHOD_NAMES.get(method, str(method)) for method in data["method"].dropna()} - {""})
    if not levels:
        return ""
    resamples = f"{study.statistics.resamples:,} bootstrap resamples of patients, by class within folds"
    return f"In brackets the {' and '.join(levels)} {' and '.join(methods)} interval ({resamples})."


def _patients(data: pd.DataFrame) -> str:
    if not {"modality", "n_patients"} <= set(data.columns):
        return ""
    counts = (
        f"{modality_title(str(modality))} {_span(group)}"
        for modality, group in data.groupby("modality", sort=False)["n_patients"]
        if modality != ALL
    )
    return f"; patients: {', '.join(counts)}"


def _span(counts: pd.Series[Any]) -> str:
    low, high = int(counts.min()), int(counts.max())
    return str(low) if low == high else f"{low} to {high}"


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in record.items()} for record in rows.to_dict("records")]


def _note(row: ResultRow) -> str:
    return "" if pd.isna(row["note"]) else str(row["note"]).strip()


def _footnotes(rows: pd.DataFrame) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Return note -> letter, and the footnotes.

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
    """Yield a to z, then aa, ab, ..."""
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))
