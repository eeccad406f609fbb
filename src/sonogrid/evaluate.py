"""Predictions of all cells to metrics.csv, effects.csv and the merged predictions.csv, as tables.

Scores are made here from predictions and nowhere else. Only rows of the part `test` count. A gap, a double
or a leak is an error that names it, never a smaller mean.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonogrid.config import Statistics
from sonogrid.grid import Grid, derive_seed
from sonogrid.metrics import (
    AUCS,
    CONFIGURATION,
    PLAIN,
    Floats,
    Ints,
    auc_class,
    class_codes,
    mann_whitney,
    pool_patients,
    score_images,
    why_undefined,
)
from sonogrid.problems import Problems
from sonogrid.stats import (
    INTERVALS,
    Estimate,
    PairTables,
    Resamples,
    draw_resamples,
    holm,
    mean_estimate,
    p_value,
    pair_tables,
)

CELL = [*CONFIGURATION, "fold"]
TEXTS = [*CONFIGURATION, "part", "image_id", "patient_id", "label"]
COLLECTED = [*CELL, "part", "image_id", "patient_id", "label", "file"]
METRIC_COLUMNS = [
    *(*CELL, "level", "pooling", "metric", "class", "value", "low", "high", "confidence", "method"),
    *("n_patients", "n_images", "simulated", "note"),
]
EFFECT_COLUMNS = [
    *("backbone", "init", "reference", "modality", "metric", "value", "low", "high", "confidence", "method"),
    *("p", "p_holm", "n_patients", "simulated", "note"),
]
EFFECT_METRIC = "roc_auc_ovo"
EFFECT_METHOD = "bca"
TELLING_DIFFERENCE = 0.01
"""Pooled and fold-averaged AUC that differ by more are remarked on."""


def collect(
    sources: Iterable[Path | pd.DataFrame],
    grid: Grid,
    splits: pd.DataFrame,
    patients: pd.DataFrame,
    manifest: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Merge the predictions of all cells into one table of test rows, in the order of the grid.

    sources are files or tables as docs/files.md describes them. Raises InputError that names, all at once,
    every missing, double or unknown cell, every image missing from a cell or twice in a configuration,
    every label that patients.csv does not confirm, every patient scored in a fold whose test part does not
    hold them, and every logit that is not finite. Which images a modality has is read from `manifest`;
    without it, from the predictions of all cells of the modality, inner parts included.
    """
    problems = Problems()
    tables = list(_read(sources, problems))
    rows = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLLECTED)
    cells = pd.MultiIndex.from_tuples([astuple(cell) for cell in grid.cells()], names=CELL)
    _check_cells(rows, cells, problems)
    rows = rows[pd.MultiIndex.from_frame(rows[CELL]).isin(cells)]
    test = rows[rows["part"] == "test"]
    source = rows if manifest is None else manifest[manifest["modality"].isin(grid.modalities)]
    held_out = _held_out(splits, source, problems)
    _check_rows(test, held_out, patients, problems)
    _check_coverage(rows, source, held_out, problems)
    problems.raise_if_any()
    order = cells.get_indexer(pd.MultiIndex.from_frame(test[CELL]))
    test = test.assign(order=order).sort_values(["order", "patient_id", "image_id"], ignore_index=True)
    return test.drop(columns=["order", "file"])


def _read(sources: Iterable[Path | pd.DataFrame], problems: Problems) -> Iterator[pd.DataFrame]:
    """The tables that can be used, ids as text, with their name in the column `file`."""
    logits: list[str] = []
    for number, source in enumerate(sources, start=1):
        name = f"predictions table {number}" if isinstance(source, pd.DataFrame) else str(source)
        try:
            table = source if isinstance(source, pd.DataFrame) else _read_text(source)
        except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            problems.add(name, f"cannot be read ({error})", "Train the cell again")
            continue
        lacking = [column for column in COLLECTED if column not in table and column != "file"]
        logits = logits or _logits(table)
        if lacking or not logits or _logits(table) != logits:
            what = f"lacks the columns {', '.join(lacking)}" if lacking else "has other logit columns"
            problems.add(name, what, "Train the cell again with the classes of this study")
            continue
        numbers = [column for column in table if column in logits or str(column).startswith("p_")]
        table = table.assign(**table[numbers].map(_number))
        fold = pd.to_numeric(table["fold"], errors="coerce").fillna(-1).astype(int)
        yield table.astype(dict.fromkeys(TEXTS, "str")).assign(fold=fold, file=name)


def _read_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="str", keep_default_na=False)


def _number(value: Any) -> float:
    """The number exactly as it was written, which read_csv does not promise; NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _logits(table: pd.DataFrame) -> list[str]:
    return [column for column in map(str, table.columns) if column.startswith("logit_")]


def _check_cells(rows: pd.DataFrame, cells: pd.MultiIndex, problems: Problems) -> None:
    files = {cell: sorted(set(group["file"])) for cell, group in rows.groupby(CELL, sort=False)}
    for cell in cells:
        if cell not in files:
            problems.add(_cell_name(cell), "has no predictions", "Train it")
        elif len(files[cell]) > 1:
            problems.add(_cell_name(cell), f"is in {' and '.join(files[cell])}", "Remove all but one")
    for cell in files:
        if cell not in cells:
            problems.add(_cell_name(cell), f"in {files[cell][0]} is not in the grid", "Leave the file out")


def _cell_name(cell: Any) -> str:
    return f"cell {' '.join(map(str, cell[:3]))} fold {cell[3]}"


def _held_out(splits: pd.DataFrame, source: pd.DataFrame, problems: Problems) -> dict[str, int]:
    """The fold that tests each patient: exactly one for every patient of `source`."""
    held = splits[splits["part"] == "test"].astype({"patient_id": str, "fold": int})
    again = sorted(set(held["patient_id"][held["patient_id"].duplicated()]))
    never = sorted(set(source["patient_id"].astype(str)).difference(held["patient_id"]))
    for ids, how in ((again, "in two folds"), (never, "in no fold")):
        if ids:
            problems.add("splits.csv", f"tests {how}: {', '.join(ids)}", "Make the splits again")
    return dict(zip(held["patient_id"], held["fold"], strict=True))


def _check_rows(test: pd.DataFrame, held_out: dict[str, int], patients: pd.DataFrame, problems: Problems) -> None:
    """Every row has the patient's label, the fold that held the patient out, and finite logits, once."""
    labels = patients.astype({"patient_id": str, "label": str}).set_index("patient_id")["label"]
    mislabelled = test["patient_id"].map(labels) != test["label"]
    leaked = test["patient_id"].map(held_out) != test["fold"]
    twice = test.duplicated([*CONFIGURATION, "image_id"])
    finite = np.isfinite(test[_logits(test)].to_numpy(dtype=np.float64)).all(axis=1)
    for bad, unit, what, remedy in (
        (mislabelled, "patient_id", "label is not that of patients.csv for", ""),
        (leaked, "patient_id", "splits.csv does not hold out in this fold", "They may be leaked. "),
        (twice, "image_id", "has a second row for", ""),
        (~finite, "image_id", "logits are not finite for", "A lower training.learning_rate may help. "),
    ):
        for cell, rows in test[bad].groupby(CELL, sort=False):
            ids = ", ".join(sorted(set(rows[unit])))
            where = f"{rows['file'].iloc[0]}, {_cell_name(cell)}"
            problems.add(where, f"{what} {unit} {ids}", f"{remedy}Train the cell again")


def _check_coverage(rows: pd.DataFrame, source: pd.DataFrame, held_out: dict[str, int], problems: Problems) -> None:
    """Every cell scores every image that `source` has of its modality and fold, and none that it lacks."""
    source = source.astype({"image_id": str, "patient_id": str})
    patient = dict(zip(source["image_id"], source["patient_id"], strict=True))
    of_modality = {str(modality): set(of_one["image_id"]) for modality, of_one in source.groupby("modality")}
    for cell, of_cell in rows.groupby(CELL, sort=False):
        scored = set(of_cell["image_id"][of_cell["part"] == "test"])
        known = of_modality.get(str(cell[2]), set())
        lost = {image for image in known - scored if held_out.get(patient[image]) == cell[3]}
        for images, what in ((lost, "lacks test rows for"), (scored - known, "scores, but the manifest lacks,")):
            if images:
                ids = ", ".join(f"{one} of patient {patient.get(one, 'unknown')}" for one in sorted(images))
                problems.add(_cell_name(cell), f"{what} {ids}", "Train the cell again")


Key = tuple[str, str]
"""A metric and, for roc_auc_class, the class."""
Measured = dict[Key, dict[str, tuple[float, str]]]
"""Key -> part of the data (a fold, `mean`, `pooled`) -> value and note."""


@dataclass(frozen=True)
class _Scored:
    """Patients, or images, of one configuration, with labels and probabilities."""

    rows: pd.DataFrame
    classes: Sequence[str]

    @cached_property
    def y(self) -> Ints:
        return class_codes(self.rows["label"], self.classes)

    @cached_property
    def p(self) -> Floats:
        return self.rows[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)

    @cached_property
    def fold(self) -> Ints:
        return self.rows["fold"].to_numpy(dtype=np.int64)

    @cached_property
    def folds(self) -> dict[str, Ints]:
        """Row numbers of each fold."""
        return {str(fold): np.flatnonzero(self.fold == fold) for fold in np.unique(self.fold)}

    @cached_property
    def parts(self) -> dict[str, Ints]:
        """Row numbers of each fold, and of all that `mean` and `pooled` are made of."""
        everything = np.arange(len(self.rows))
        return self.folds | {"mean": everything, "pooled": everything}

    @cached_property
    def sizes(self) -> dict[str, dict[str, int]]:
        parts = {part: self.rows.iloc[rows] for part, rows in self.parts.items()}
        return {
            part: {"n_patients": rows["patient_id"].nunique(), "n_images": int(rows["n_images"].sum())}
            for part, rows in parts.items()
        }


def _auc_function(key: Key, classes: Sequence[str]) -> Callable[[Floats, Floats], Floats]:
    """The AUC of a key, as a function of Mann-Whitney counts and pairs (..., C, C)."""
    metric, name = key
    if metric in AUCS:
        return AUCS[metric]
    of_class = list(classes).index(name)
    return lambda counts, pairs: np.asarray(auc_class(counts, pairs)[..., of_class])


def _auc_values(scored: _Scored) -> Measured:
    """AUCs of each fold, averaged over folds with weights = case pairs, and pooled."""
    tables = {part: mann_whitney(scored.y[rows], scored.p[rows]) for part, rows in scored.parts.items()}
    of_folds = [tables[fold] for fold in scored.folds]
    tables["mean"] = np.sum([one[0] for one in of_folds], 0), np.sum([one[1] for one in of_folds], 0)
    keys = [(metric, "") for metric in AUCS] + [("roc_auc_class", name) for name in scored.classes]
    measured: Measured = {}
    for key in keys:
        auc = _auc_function(key, scored.classes)
        values = {part: float(auc(*table)) for part, table in tables.items()}
        notes = {
            part: why_undefined(tables[part][1], scored.classes) if np.isnan(value) else ""
            for part, value in values.items()
        }
        if abs(values["pooled"] - values["mean"]) > TELLING_DIFFERENCE:
            apart = f"pooled {values['pooled']:.3f} and fold mean {values['mean']:.3f}"
            notes |= dict.fromkeys(("mean", "pooled"), f"{apart} differ by more than {TELLING_DIFFERENCE}")
        measured[key] = {part: (values[part], notes[part]) for part in values}
    return measured


def _plain_values(scored: _Scored) -> Measured:
    """The other metrics of each fold, averaged over folds with weights = rows, and pooled."""
    absent = {
        part: {name for c, name in enumerate(scored.classes) if c not in scored.y[rows]}
        for part, rows in scored.parts.items()
    }
    absent["mean"] = set().union(*(absent[fold] for fold in scored.folds))
    notes = {part: f"not defined: no {', '.join(sorted(names))}" for part, names in absent.items()}
    notes["mean"] += " in one of the folds"
    weights = [len(rows) for rows in scored.folds.values()]
    measured: Measured = {}
    for metric, function in PLAIN.items():
        values = {part: function(scored.y[rows], scored.p[rows]) for part, rows in scored.parts.items()}
        values["mean"] = float(np.average([values[fold] for fold in scored.folds], weights=weights))
        measured[metric, ""] = {part: (value, notes[part] if np.isnan(value) else "") for part, value in values.items()}
    return measured


def _rows(scored: _Scored, measured: Measured, level: str, pooling: str) -> Iterator[dict[str, Any]]:
    for (metric, name), parts in measured.items():
        for part, (value, note) in parts.items():
            what = {"fold": part, "level": level, "pooling": pooling, "metric": metric, "class": name}
            yield what | {"value": value, "method": "", "note": note} | scored.sizes[part]


def _with_intervals(
    rows: Iterable[dict[str, Any]], scored: _Scored, tables: PairTables, statistics: Statistics
) -> Iterator[dict[str, Any]]:
    """Turn each fold-averaged AUC into one row an interval method; pass the other rows."""
    for row in rows:
        key = row["metric"], row["class"]
        if row["fold"] != "mean" or key[0] in PLAIN:
            yield row
            continue
        estimate = tables.estimate(_auc_function(key, scored.classes))
        for method in INTERVALS:
            yield row | _limits(estimate, method, statistics, row["note"])


def _limits(estimate: Estimate, method: str, statistics: Statistics, note: str) -> dict[str, Any]:
    interval = INTERVALS[method](estimate, statistics.confidence)
    notes = "; ".join(part for part in (note, interval.note) if part)
    limits = {"low": interval.low, "high": interval.high, "confidence": statistics.confidence}
    return limits | {"method": method, "note": notes}


def _resamples(predictions: pd.DataFrame, statistics: Statistics, seed: int) -> Resamples:
    """The resamples of a study: the same for every configuration, metric and effect."""
    cohort = predictions[["patient_id", "label", "fold"]].drop_duplicates()
    patient_id, label, fold = (cohort[column].tolist() for column in ("patient_id", "label", "fold"))
    return draw_resamples(patient_id, label, fold, statistics.resamples, derive_seed(seed, "bootstrap"))


def _pair_tables(scored: _Scored, resamples: Resamples) -> PairTables:
    position = resamples.positions(list(scored.rows["patient_id"]))
    return pair_tables(scored.y, scored.p, scored.fold, position, resamples)


def _simulated(predictions: pd.DataFrame, patients: pd.DataFrame) -> bool:
    rows = patients[patients["patient_id"].astype(str).isin(set(predictions["patient_id"]))]
    return bool((rows["simulated"].astype(str) == "True").any())


def measure(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    classes: Sequence[str],
    statistics: Statistics,
    seed: int,
) -> pd.DataFrame:
    """Measure every configuration of the merged predictions; the columns are those of metrics.csv.

    Per configuration: at patient level with log pooling every metric, per fold, fold-averaged and pooled;
    with mean pooling roc_auc_ovo, to see what pooling matters; at image level every metric. The
    fold-averaged patient-level AUCs with log pooling carry an interval, and stand in one row a method
    (`bca`, `percentile`) with the same value.
    """
    resamples = _resamples(predictions, statistics, seed)
    rows: list[dict[str, Any]] = []
    for key, of_one in predictions.groupby(CONFIGURATION, sort=False):
        by_log = _Scored(pool_patients(of_one, classes, "log"), classes)
        by_mean = _Scored(pool_patients(of_one, classes, "mean"), classes)
        images = _Scored(score_images(of_one, classes), classes)
        sensitivity = {key: parts for key, parts in _auc_values(by_mean).items() if key[0] == "roc_auc_ovo"}
        primary = _rows(by_log, _auc_values(by_log) | _plain_values(by_log), "patient", "log")
        found = list(_with_intervals(primary, by_log, _pair_tables(by_log, resamples), statistics))
        found += _rows(by_mean, sensitivity, "patient", "mean")
        found += _rows(images, _auc_values(images) | _plain_values(images), "image", "")
        rows += [dict(zip(CONFIGURATION, key, strict=True)) | row for row in found]
    simulated = _simulated(predictions, patients)
    return pd.DataFrame(rows).assign(simulated=simulated).reindex(columns=METRIC_COLUMNS)


def effects(
    predictions: pd.DataFrame,
    patients: pd.DataFrame,
    classes: Sequence[str],
    statistics: Statistics,
    seed: int,
) -> pd.DataFrame:
    """Measure what pre-training adds: paired differences init minus reference; the columns of effects.csv.

    One row a backbone and modality, then the main effect, their plain mean, as backbone `all` and modality
    `all` (left out where there is only one difference); these are the family of Holm's adjustment. The
    value is a difference of fold-averaged patient-level macro one-vs-one AUCs with BCa interval, p as in
    stats.p_value. No rows where statistics.pretraining_effect is None. Raises InputError that names each
    configuration that lacks its partner.
    """
    if statistics.pretraining_effect is None:
        return pd.DataFrame(columns=EFFECT_COLUMNS)
    init, reference = statistics.pretraining_effect
    compared = predictions[predictions["init"].isin([init, reference])]
    resamples = _resamples(predictions, statistics, seed)
    estimates: dict[Any, Estimate] = {}
    for key, of_one in compared.groupby(CONFIGURATION, sort=False):
        scored = _Scored(pool_patients(of_one, classes, "log"), classes)
        estimates[key] = _pair_tables(scored, resamples).estimate(AUCS[EFFECT_METRIC])
    partners = list(dict.fromkeys((backbone, modality) for backbone, _, modality in estimates))
    _refuse_lonely(estimates, partners, (init, reference))
    differences = {
        (backbone, modality): estimates[backbone, init, modality] - estimates[backbone, reference, modality]
        for backbone, modality in partners
    }
    if len(differences) > 1:
        differences["all", "all"] = mean_estimate(list(differences.values()))
    rows = [_effect_row(key, difference, compared, statistics) for key, difference in differences.items()]
    table = pd.DataFrame(rows).assign(init=init, reference=reference, metric=EFFECT_METRIC)
    table = table.assign(p_holm=holm(table["p"].to_numpy()), simulated=_simulated(predictions, patients))
    return table.reindex(columns=EFFECT_COLUMNS)


def _refuse_lonely(
    estimates: Container[tuple[str, ...]], partners: Sequence[tuple[str, str]], inits: tuple[str, str]
) -> None:
    problems = Problems()
    for (backbone, modality), init in product(partners, inits):
        if (backbone, init, modality) not in estimates:
            problems.add(f"{backbone} {init} {modality}", "has no predictions", "Train its cells")
    if not partners:
        problems.add("statistics.pretraining_effect", "nothing to compare", "Name two inits of the grid")
    problems.raise_if_any()


def _effect_row(
    key: tuple[str, str], difference: Estimate, compared: pd.DataFrame, statistics: Statistics
) -> dict[str, Any]:
    backbone, modality = key
    of_modality = compared if modality == "all" else compared[compared["modality"] == modality]
    note = "" if np.isfinite(difference.value) else "not defined, as one of its AUCs, see metrics.csv"
    return {
        "backbone": backbone,
        "modality": modality,
        "value": difference.value,
        **_limits(difference, EFFECT_METHOD, statistics, note),
        "p": p_value(difference),
        "n_patients": of_modality["patient_id"].nunique(),
    }
