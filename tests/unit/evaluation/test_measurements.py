from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dummy_study import make_grid
from sklearn.metrics import roc_auc_score

from sonogrid.config.results import Statistics
from sonogrid.evaluation import primary
from sonogrid.evaluation.collect import collect
from sonogrid.evaluation.intervals import INTERVALS
from sonogrid.evaluation.measurements import (
    EFFECT_COLUMNS,
    METRIC_COLUMNS,
    effects,
    measure,
    primary_rows,
    read_measurements,
)
from sonogrid.evaluation.metrics import METRICS, Metric, pool_patients
from sonogrid.evaluation.predictions import read_predictions
from sonogrid.evaluation.primary import INTERVAL_METHOD, PRIMARY_METRIC
from sonogrid.files import write_csv
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.problems import InputError

CLASSES = ("benign", "lymphoma", "metastatic")
GRID = make_grid(("tiny", "small"), ("scratch", "pretrained"), ("bmode", "cdfi"), 2)
THREE_SEEDS = make_grid(("tiny", "small"), ("scratch", "pretrained"), ("bmode", "cdfi"), 2, (7, 0, 12))
FAST = Statistics(resamples=200, pretraining_effect=("pretrained", "scratch"))


class Cohort:
    """36 patients (P0 to P35), two images each and modality; P35 has no cdfi."""

    def __init__(self, classes: tuple[str, ...] = CLASSES, n: int = 36) -> None:
        self.classes = classes
        number = np.arange(n)
        self.label = dict(zip(names(number), np.array(classes)[number % len(classes)], strict=True))
        self.fold = dict(zip(names(number), number // len(classes) % 2, strict=True))
        self.patients = pd.DataFrame(
            {"patient_id": list(self.label), "label": list(self.label.values()), "simulated": True}
        )
        self.splits = pd.DataFrame(
            [
                (patient, fold, "test" if fold == of_patient else "train")
                for patient, of_patient in self.fold.items()
                for fold in (0, 1)
            ],
            columns=["patient_id", "fold", "part"],
        )
        self.manifest = pd.DataFrame(
            [
                (f"{patient}-{modality}-{k}", patient, modality)
                for patient in self.label
                for modality in ("bmode", "cdfi")
                for k in (0, 1)
                if (patient, modality) != ("P35", "cdfi")
            ],
            columns=["image_id", "patient_id", "modality"],
        )

    def cells(self, grid: Grid = GRID) -> list[pd.DataFrame]:
        """One table of predictions per cell; `pretrained` and `cdfi` see more signal."""
        rng = np.random.default_rng(4)
        return [self._cell(rng, cell) for cell in grid.cells()]

    def _cell(self, rng: np.random.Generator, cell: object) -> pd.DataFrame:
        backbone, init, modality, seed, fold = (getattr(cell, axis) for axis in AXES)
        rows = self.manifest[self.manifest["modality"] == modality].drop(columns="modality")
        held_out = rows["patient_id"].map(self.fold) == fold
        rows = rows.assign(backbone=backbone, init=init, modality=modality, seed=seed, fold=fold)
        rows["part"] = np.where(held_out, "test", "inner")
        rows["label"] = rows["patient_id"].map(self.label)
        logits = rng.normal(size=(len(rows), len(self.classes)))
        code = rows["label"].map(list(self.classes).index)
        logits[np.arange(len(rows)), code] += 0.6 + 0.8 * (init == "pretrained") + 0.2 * (modality == "cdfi")
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        rows[[f"logit_{name}" for name in self.classes]] = logits
        rows[[f"p_{name}" for name in self.classes]] = p
        return rows.reset_index(drop=True)


def names(numbers: np.ndarray) -> list[str]:
    return [f"P{number}" for number in numbers]


COHORT = Cohort()


def merged(cohort: Cohort = COHORT, grid: Grid = GRID) -> pd.DataFrame:
    return collect(cohort.cells(grid), grid, cohort.splits, cohort.patients, cohort.manifest)


def refusal(cells: list[pd.DataFrame], manifest: pd.DataFrame | None = COHORT.manifest) -> list[str]:
    with pytest.raises(InputError) as caught:
        collect(cells, GRID, COHORT.splits, COHORT.patients, manifest)
    return [str(problem) for problem in caught.value.problems]


def pick(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def test_collect_keeps_every_test_row_once_in_the_order_of_the_grid() -> None:
    table = merged()
    assert len(table) == 4 * (72 + 70)
    assert set(table["part"]) == {"test"}
    cells = table[["backbone", "init", "modality", "seed", "fold"]].drop_duplicates()
    expected = [(cell.backbone, cell.init, cell.modality, cell.seed, cell.fold) for cell in GRID.cells()]
    assert list(cells.itertuples(index=False, name=None)) == expected
    assert list(table.columns) == list(COHORT.cells()[0][table.columns].columns)


def test_collect_does_not_depend_on_the_order_of_cells() -> None:
    back = collect(COHORT.cells()[::-1], GRID, COHORT.splits, COHORT.patients)
    pd.testing.assert_frame_equal(back, merged())


def test_collect_reads_files_with_every_digit(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}" / "predictions.csv" for k in range(len(GRID))]
    for path, cell in zip(paths, COHORT.cells(), strict=True):
        write_csv(cell, path)
    found = collect(paths, GRID, COHORT.splits, COHORT.patients, COHORT.manifest)
    pd.testing.assert_frame_equal(found[merged().columns], merged(), check_exact=True)


def test_ids_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    grid = make_grid(("tiny",), ("scratch",), ("bmode",), 2)
    rename = {patient: f"{int(patient[1:]):03d}" for patient in COHORT.label}
    sources = []
    for k, cell in enumerate(COHORT.cells(grid)):
        sources.append(tmp_path / f"{k}.csv")
        write_csv(cell.assign(patient_id=cell["patient_id"].map(rename)), sources[-1])
    splits = COHORT.splits.assign(patient_id=COHORT.splits["patient_id"].map(rename))
    patients = COHORT.patients.assign(patient_id=COHORT.patients["patient_id"].map(rename))
    assert "007" in set(collect(sources, grid, splits, patients)["patient_id"])


def test_patient_tested_in_no_fold_is_refused() -> None:
    splits = COHORT.splits[COHORT.splits["patient_id"] != "P3"]
    with pytest.raises(InputError, match="tests in no fold: P3"):
        collect(COHORT.cells(), GRID, splits, COHORT.patients, COHORT.manifest)


def test_missing_and_double_cells_are_all_named() -> None:
    cells = COHORT.cells()
    found = refusal([*cells[2:-1], cells[4]])
    assert found[:2] == [
        "cell tiny scratch bmode seed 0 fold 0: has no predictions. Train it.",
        "cell tiny scratch bmode seed 0 fold 1: has no predictions. Train it.",
    ]
    double = "cell tiny pretrained bmode seed 0 fold 0: is in predictions table 14 and predictions table 3."
    assert any(line.startswith(double) for line in found)
    assert any(line.startswith("cell small pretrained cdfi seed 0 fold 1: has no predictions") for line in found)


def test_no_predictions_at_all_names_every_cell() -> None:
    assert len(refusal([])) == len(GRID)


def test_cell_outside_the_grid_is_refused() -> None:
    cells = COHORT.cells()
    found = refusal([*cells, cells[0].assign(backbone="huge")])
    assert found == [
        "cell huge scratch bmode seed 0 fold 0: in predictions table 17 is not in the grid. Leave the file out."
    ]


@pytest.mark.parametrize("manifest", [COHORT.manifest, None])
def test_patient_missing_from_a_configuration_is_named(manifest: pd.DataFrame | None) -> None:
    cells = COHORT.cells()
    cells[0] = cells[0][~((cells[0]["patient_id"] == "P0") & (cells[0]["part"] == "test"))]
    assert refusal(cells, manifest) == [
        "cell tiny scratch bmode seed 0 fold 0: lacks test rows for P0-bmode-0 of patient P0, P0-bmode-1 of patient P0."
        " Train the cell again."
    ]


def test_patient_missing_from_every_configuration_is_found_by_the_manifest() -> None:
    cells = [cell[cell["patient_id"] != "P3"] for cell in COHORT.cells()]
    assert len(refusal(cells)) == 8


def test_image_that_is_not_in_the_manifest_is_refused() -> None:
    cells = COHORT.cells()
    cells[0] = pd.concat([cells[0], cells[0].iloc[:1].assign(image_id="other")])
    assert "scores, but the manifest lacks, other of patient unknown" in refusal(cells)[0]


def test_double_row_is_refused() -> None:
    cells = COHORT.cells()
    cells[0] = pd.concat([cells[0], pick(cells[0], part="test").iloc[:1]])
    assert refusal(cells) == [
        "predictions table 1, cell tiny scratch bmode seed 0 fold 0: has a second row for image_id P0-bmode-0."
        " Train the cell again."
    ]


def test_label_that_patients_do_not_confirm_is_refused() -> None:
    cells = COHORT.cells()
    cells[1].loc[cells[1]["patient_id"].isin(["P3", "P4"]), "label"] = "metastatic"
    assert "fold 1: label is not that of patients.csv for patient_id P3, P4" in refusal(cells)[0]


def test_scored_patient_who_was_not_held_out_is_a_leak() -> None:
    cells = COHORT.cells()
    cells[0].loc[cells[0]["patient_id"] == "P3", "part"] = "test"  # P3 is held out by fold 1
    found = refusal(cells)
    assert "fold 0: splits.csv does not hold out in this fold patient_id P3." in found[0]


def test_patient_tested_in_two_folds_is_refused() -> None:
    splits = COHORT.splits.copy()
    splits.loc[splits["patient_id"] == "P3", "part"] = "test"
    with pytest.raises(InputError, match="tests in two folds: P3"):
        collect(COHORT.cells(), GRID, splits, COHORT.patients)


@pytest.mark.parametrize("bad", [np.nan, np.inf, "broken"])
def test_logit_that_is_not_a_number_is_refused(bad: object) -> None:
    cells = COHORT.cells()
    held_out = cells[0].index[cells[0]["part"] == "test"][3]
    cells[0] = cells[0].astype({"logit_benign": object})
    cells[0].loc[held_out, "logit_benign"] = bad
    found = refusal(cells)
    assert f"logits are not finite for image_id {cells[0].loc[held_out, 'image_id']}" in found[0]
    assert "learning_rate" in found[0]


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "short.csv").write_text("backbone,init\ntiny,scratch\n")
    with pytest.raises(InputError) as caught:
        sources = [tmp_path / "none.csv", tmp_path / "empty.csv", tmp_path / "short.csv"]
        collect(sources, GRID, COHORT.splits, COHORT.patients)
    found = [str(problem) for problem in caught.value.problems]
    assert "none.csv: cannot be read" in found[0]
    assert "empty.csv: cannot be read" in found[1]
    assert "short.csv: lacks the columns modality, seed, fold" in found[2]
    assert len(found) == 3 + len(GRID)


def test_problems_of_all_kinds_come_together() -> None:
    cells = COHORT.cells()
    cells[0].loc[cells[0]["patient_id"] == "P0", "label"] = "metastatic"
    cells[1]["logit_benign"] = np.nan
    assert len(refusal(cells[:-1])) == 3


def test_measure_has_every_row_of_the_contract() -> None:
    table = measure(merged(), COHORT.patients, CLASSES, FAST, seed=1)
    assert list(table.columns) == METRIC_COLUMNS
    series = {name: len(CLASSES) if metric.per_class else 1 for name, metric in METRICS.items()}
    second_rows = sum(series[name] for name, metric in METRICS.items() if metric.intervals)
    parts = len(("0", "1", "mean", "pooled"))
    assert len(table) == 8 * (2 * sum(series.values()) * parts + parts + second_rows)
    assert table["value"].notna().all()
    assert table["simulated"].all()
    keys = [*AXES, "level", "pooling", "metric", "class", "method"]
    assert not table.duplicated(keys).any()
    assert set(table.loc[table["fold"].isin(["0", "1"]), "seed"]) == {"0"}
    assert set(table.loc[table["fold"].isin(["mean", "pooled"]), "seed"]) == {"mean"}
    assert (table["n_seeds"] == 1).all()
    with_interval = table[table["low"].notna()]
    assert set(with_interval["metric"]) == {name for name, metric in METRICS.items() if metric.intervals}
    assert set(with_interval["method"]) == set(INTERVALS)
    assert set(with_interval["fold"]) == {"mean"}
    assert with_interval["value"].between(with_interval["low"], with_interval["high"]).all()
    perfect = with_interval["value"] == 1.0
    assert (with_interval["low"] < with_interval["high"])[~perfect].all()
    assert with_interval["note"][perfect].str.contains("no width").all()
    assert (with_interval["confidence"] == 0.95).all()
    assert set(table.loc[table["low"].isna(), "method"]) == {""}


def test_measure_equals_scikit_learn_on_pooled_patients() -> None:
    predictions = merged()
    table = measure(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    one = pick(predictions, backbone="small", init="scratch", modality="cdfi")
    patients = pool_patients(one, CLASSES)
    p = patients[[f"p_{name}" for name in CLASSES]].to_numpy()
    rows = pick(
        table, backbone="small", init="scratch", modality="cdfi", level="patient", pooling="log", metric="roc_auc_ovo"
    ).set_index(["fold", "method"])
    assert rows["value"]["pooled", ""] == pytest.approx(roc_auc_score(patients["label"], p, multi_class="ovo"))
    by_fold = [
        roc_auc_score(patients["label"][rows_of], p[rows_of], multi_class="ovo")
        for rows_of in (patients["fold"] == 0, patients["fold"] == 1)
    ]
    assert [rows["value"][fold, ""] for fold in ("0", "1")] == pytest.approx(by_fold)
    assert min(by_fold) < rows["value"]["mean", "bca"] < max(by_fold)
    assert rows["n_patients"][["0", "1", "mean", "pooled"]].tolist() == [18, 17, 35, 35, 35]
    assert rows["n_images"]["mean", "bca"] == 70


def test_folds_weigh_by_their_rows_so_that_a_mean_of_row_scores_is_the_pooled_one() -> None:
    table = measure(merged(), COHORT.patients, CLASSES, FAST, seed=1)
    rows = pick(table, modality="cdfi", level="patient", pooling="log")  # 18 and 17 patients
    for metric in ("brier", "log_loss"):
        of_metric = pick(rows, metric=metric).drop_duplicates(AXES)
        mean, pooled = (pick(of_metric, fold=fold)["value"].to_numpy() for fold in ("mean", "pooled"))
        assert mean == pytest.approx(pooled, abs=1e-12)


def test_measure_is_the_same_for_rows_in_any_order_and_differs_by_seed() -> None:
    predictions = merged()
    grid = ["backbone", "init", "modality"]
    shuffled = predictions.sample(frac=1.0, random_state=2).sort_values(grid, kind="stable")
    first, second, other = (
        measure(table, COHORT.patients, CLASSES, FAST, seed).sort_values(grid, kind="stable", ignore_index=True)
        for table, seed in ((predictions, 1), (shuffled, 1), (predictions, 2))
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert (first["low"].dropna() != other["low"].dropna()).any()
    assert first["value"].equals(other["value"])


def test_offsets_between_folds_are_remarked_on() -> None:
    predictions = merged()
    moved = predictions.copy()
    moved.loc[moved["fold"] == 1, "logit_benign"] += 3.0
    table = measure(moved, COHORT.patients, CLASSES, FAST, seed=1)
    rows = pick(table, level="patient", pooling="log", metric="roc_auc_ovo")
    assert rows.loc[rows["fold"] == "mean", "note"].str.contains("differ by more than 0.01").all()
    assert rows.loc[rows["fold"] == "pooled", "note"].str.contains("differ by more than 0.01").all()
    assert (rows.loc[rows["fold"] == "0", "note"] == "").all()


def test_class_absent_from_a_fold_leaves_no_number_and_a_reason() -> None:
    predictions = merged()
    without = predictions[~((predictions["fold"] == 1) & (predictions["label"] == "lymphoma"))]
    table = measure(without, COHORT.patients, CLASSES, FAST, seed=1)
    one = pick(table, backbone="tiny", init="scratch", modality="bmode", level="patient", pooling="log")
    by_fold = one.drop_duplicates(["fold", "metric", "class"]).set_index(["metric", "class", "fold"])
    for metric in ("roc_auc_ovo", "roc_auc_ovr", "balanced_accuracy", "f1_macro"):
        assert np.isnan(by_fold["value"][metric, "", "1"])
        assert "not defined: no " in by_fold["note"][metric, "", "1"]
    assert "lymphoma" in by_fold["note"]["roc_auc_class", "lymphoma", "1"]
    # Fold 0 holds all pairs of lymphoma, so that the fold average has a value; a mean of recalls has not.
    assert 0.5 < by_fold["value"]["roc_auc_ovo", "", "mean"] < 1.0
    assert np.isnan(by_fold["value"]["balanced_accuracy", "", "mean"])
    assert by_fold["note"]["balanced_accuracy", "", "mean"] == "not defined: no lymphoma in one of the folds"


def test_class_absent_from_the_cohort_leaves_no_auc_and_no_interval() -> None:
    predictions = merged()
    without = predictions[predictions["label"] != "lymphoma"]
    table = measure(without, COHORT.patients, CLASSES, FAST, seed=1)
    rows = pick(table, metric="roc_auc_ovo")
    assert rows[["value", "low", "high"]].isna().all(axis=None)
    assert rows["note"].str.contains("benign with lymphoma").all()
    rows = effects(without, COHORT.patients, CLASSES, FAST, seed=1)
    assert rows[["value", "low", "high", "p", "p_holm"]].isna().all(axis=None)
    assert rows["note"].str.startswith("not defined").all()


def test_two_classes_make_every_auc_the_plain_auc() -> None:
    cohort = Cohort(("benign", "malignant"))
    predictions = merged(cohort)
    table = measure(predictions, cohort.patients, cohort.classes, FAST, seed=1)
    of_one = pick(table, backbone="tiny", init="scratch", modality="bmode", level="patient", pooling="log", fold="mean")
    aucs = of_one[of_one["metric"].str.startswith("roc_auc") & (of_one["method"] == "bca")]
    assert len(aucs) == 4
    for column in ("value", "low", "high"):
        assert aucs[column].to_numpy() == pytest.approx(np.full(4, aucs[column].iloc[0]))
    assert len(effects(predictions, cohort.patients, cohort.classes, FAST, seed=1)) == 5


def test_effects_are_differences_of_measured_values() -> None:
    predictions = merged()
    table = effects(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    assert list(table.columns) == EFFECT_COLUMNS
    assert list(table[["backbone", "modality"]].itertuples(index=False, name=None)) == [
        ("tiny", "bmode"),
        ("tiny", "cdfi"),
        ("small", "bmode"),
        ("small", "cdfi"),
        ("all", "all"),
    ]
    assert table["n_patients"].tolist() == [36, 35, 36, 35, 36]
    measured = measure(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    values = pick(measured, level="patient", pooling="log", metric="roc_auc_ovo", method="bca")
    values = values.set_index(["backbone", "modality", "init"])["value"].sort_index()
    for row in table.iloc[:4].itertuples():
        of_one = values[row.backbone, row.modality]
        assert row.value == pytest.approx(of_one["pretrained"] - of_one["scratch"])
    assert table["value"].iloc[4] == pytest.approx(table["value"].iloc[:4].mean())
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    assert table["low"].iloc[4] > 0 and table["p"].iloc[4] < 0.05
    assert (table["p_holm"] >= table["p"]).all()
    order = table["p"].to_numpy().argsort(kind="stable")
    assert table["p_holm"].iloc[order[0]] == pytest.approx(5 * table["p"].min())


def test_effect_of_an_init_on_itself_is_exactly_zero() -> None:
    predictions = merged()
    scratch = pick(predictions, init="scratch")
    twin = pd.concat([scratch, scratch.assign(init="pretrained")])
    table = effects(twin, COHORT.patients, CLASSES, FAST, seed=1)
    assert (table[["value", "low", "high"]] == 0.0).all(axis=None)
    assert (table[["p", "p_holm"]] == 1.0).all(axis=None)
    assert table["note"].str.contains("no width").all()


def test_single_difference_has_no_main_effect() -> None:
    one = pick(merged(), backbone="tiny", modality="bmode")
    table = effects(one, COHORT.patients, CLASSES, FAST, seed=1)
    assert table["modality"].tolist() == ["bmode"]
    assert table["p_holm"].tolist() == table["p"].tolist()


def test_effects_without_a_partner_name_it() -> None:
    predictions = merged()
    lonely = predictions[~((predictions["init"] == "scratch") & (predictions["backbone"] == "tiny"))]
    with pytest.raises(InputError) as caught:
        effects(lonely, COHORT.patients, CLASSES, FAST, seed=1)
    assert [problem.where for problem in caught.value.problems] == ["tiny scratch bmode", "tiny scratch cdfi"]


def test_no_declared_effect_gives_an_empty_table() -> None:
    table = effects(merged(), COHORT.patients, CLASSES, Statistics(), seed=1)
    assert table.empty
    assert list(table.columns) == EFFECT_COLUMNS


def test_seed_is_a_column_like_the_others(tmp_path: Path) -> None:
    table = merged(grid=THREE_SEEDS)
    assert table[AXES].drop_duplicates()["seed"].tolist() == [7, 7, 0, 0, 12, 12] * 8
    assert len(table) == 3 * len(merged())
    write_csv(table, tmp_path / "predictions.csv")
    pd.testing.assert_series_equal(read_predictions(tmp_path / "predictions.csv")["seed"], table["seed"])


def test_seed_that_is_missing_double_or_unknown_is_refused() -> None:
    cells = COHORT.cells(THREE_SEEDS)  # of a configuration: seed 7 folds 0 and 1, seed 0, seed 12
    with pytest.raises(InputError) as caught:
        sources = [*cells[1:], cells[2], cells[3].assign(seed=5)]
        collect(sources, THREE_SEEDS, COHORT.splits, COHORT.patients, COHORT.manifest)
    assert [str(problem) for problem in caught.value.problems] == [
        "cell tiny scratch bmode seed 7 fold 0: has no predictions. Train it.",
        "cell tiny scratch bmode seed 0 fold 0: is in predictions table 2 and predictions table 48."
        " Remove all but one.",
        "cell tiny scratch bmode seed 5 fold 1: in predictions table 49 is not in the grid. Leave the file out.",
        "predictions table 48, cell tiny scratch bmode seed 0 fold 0: has a second row for image_id "
        + ", ".join(sorted(cells[2].loc[cells[2]["part"] == "test", "image_id"]))
        + ". Train the cell again.",
    ]


@pytest.mark.parametrize("seed", ["1.5", "-3", "", "first", "1e3", "9" * 25])
def test_seed_that_is_not_a_whole_number_is_in_no_grid(tmp_path: Path, seed: str) -> None:
    cells = COHORT.cells()
    write_csv(cells[0].assign(seed=seed), tmp_path / "strange.csv")
    with pytest.raises(InputError) as caught:
        collect([*cells, tmp_path / "strange.csv"], GRID, COHORT.splits, COHORT.patients, COHORT.manifest)
    (problem,) = caught.value.problems
    assert problem.what == f"in {tmp_path / 'strange.csv'} is not in the grid"


def test_predictions_of_version_0_1_are_refused_by_name(tmp_path: Path) -> None:
    cells = COHORT.cells()
    former = tmp_path / "predictions.csv"
    write_csv(cells[0].drop(columns="seed"), former)
    found = refusal([former, cells[1].drop(columns="seed"), *cells[2:]])
    remedy = "Train its cell again, into another results folder than that of version 0.1."
    assert found[:2] == [
        f"{former}: has no column seed, so it was made by version 0.1. {remedy}",
        f"predictions table 2: has no column seed, so it was made by version 0.1. {remedy}",
    ]
    with pytest.raises(InputError, match=r"version 0\.1"):
        read_predictions(former)


def test_value_of_a_configuration_is_the_mean_over_seeds() -> None:
    predictions = merged(grid=THREE_SEEDS)
    table = measure(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    identity = [*CONFIGURATION, "fold", "level", "pooling", "metric", "class"]
    for fold in ("mean", "pooled"):
        rows = pick(table, fold=fold)
        means = rows[rows["seed"] == "mean"].drop_duplicates(identity).set_index(identity)["value"]
        of_seeds = rows[rows["seed"] != "mean"]
        assert set(of_seeds["method"]) == {""}
        assert set(of_seeds["seed"]) == {"0", "7", "12"}
        assert not of_seeds.duplicated([*identity, "seed"]).any()
        expected = of_seeds.groupby(identity)["value"].mean()
        assert means.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy(), abs=1e-12)
    assert set(table.loc[table["fold"].isin(["0", "1"]), "seed"]) == {"0", "7", "12"}
    assert (table["n_seeds"] == np.where(table["seed"] == "mean", 3, 1)).all()
    assert not table.duplicated([*AXES, "level", "pooling", "metric", "class", "method"]).any()


def test_each_seed_of_several_is_measured_as_if_it_were_alone() -> None:
    predictions = merged(grid=THREE_SEEDS)
    together = measure(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    alone = measure(predictions[predictions["seed"] == 7], COHORT.patients, CLASSES, FAST, seed=1)
    identity = [*CONFIGURATION, "fold", "level", "pooling", "metric", "class"]
    columns = ["value", "n_patients", "n_images"]
    expected = alone.drop_duplicates(identity).set_index(identity)[columns]
    found = together[together["seed"] == "7"].set_index(identity)[columns]
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_seeds_that_are_the_same_change_no_number() -> None:
    predictions = merged()
    twice = pd.concat([predictions, predictions.assign(seed=1)])
    numbers = ["value", "low", "high", "n_patients", "n_images", "note"]
    first, second = (measure(table, COHORT.patients, CLASSES, FAST, seed=1) for table in (predictions, twice))
    first, second = (table[table["seed"] == "mean"].reset_index(drop=True) for table in (first, second))
    pd.testing.assert_frame_equal(first[numbers], second[numbers], check_exact=True)
    assert set(second["n_seeds"]) == {2}
    first, second = (effects(table, COHORT.patients, CLASSES, FAST, seed=1) for table in (predictions, twice))
    pd.testing.assert_frame_equal(first.drop(columns="n_seeds"), second.drop(columns="n_seeds"), check_exact=True)


def test_seeds_that_differ_narrow_the_interval_of_their_mean() -> None:
    # Scores drawn again for every seed are independent given the patient: their mean varies less over resamples.
    one, three = (
        primary_rows(measure(merged(grid=grid), COHORT.patients, CLASSES, FAST, seed=1)) for grid in (GRID, THREE_SEEDS)
    )
    widths = [(rows["high"] - rows["low"]).mean() for rows in (one, three)]
    assert widths[1] < 0.75 * widths[0]


def test_effects_average_over_seeds_before_they_are_subtracted() -> None:
    predictions = merged(grid=THREE_SEEDS)
    table = effects(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    values = primary_rows(measure(predictions, COHORT.patients, CLASSES, FAST, seed=1))
    values = values.set_index(["backbone", "modality", "init"])["value"].sort_index()
    for row in table.iloc[:4].itertuples():
        of_one = values[row.backbone, row.modality]
        assert row.value == pytest.approx(of_one["pretrained"] - of_one["scratch"], abs=1e-12)
    assert table["value"].iloc[4] == pytest.approx(table["value"].iloc[:4].mean())
    assert (table["n_seeds"] == 3).all()
    assert (table["n_patients"] == [36, 35, 36, 35, 36]).all()


def test_primary_rows_are_one_per_configuration_also_when_read_from_a_file(tmp_path: Path) -> None:
    for grid in (GRID, THREE_SEEDS):
        table = measure(merged(grid=grid), COHORT.patients, CLASSES, FAST, seed=1)
        write_csv(table, tmp_path / "metrics.csv")
        for found in (primary_rows(table), primary_rows(read_measurements(tmp_path / "metrics.csv"))):
            keys = list(found[CONFIGURATION].itertuples(index=False, name=None))
            assert keys == [(one.backbone, one.init, one.modality) for one in GRID.configurations()]
            assert set(found["metric"]) == {PRIMARY_METRIC}
            assert set(found["method"]) == {INTERVAL_METHOD}
            assert (found["n_seeds"] == len(grid.axes["seed"])).all()


def test_another_primary_metric_is_that_of_effects_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "PRIMARY_METRIC", "brier")
    predictions = merged()
    measured = measure(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    rows = primary_rows(measured)
    assert set(rows["metric"]) == {"brier"} and len(rows) == 8
    values = rows.set_index(["backbone", "modality", "init"])["value"].sort_index()
    table = effects(predictions, COHORT.patients, CLASSES, FAST, seed=1)
    assert set(table["metric"]) == {"brier"}
    for row in table.iloc[:4].itertuples():
        of_one = values[row.backbone, row.modality]
        assert row.value == pytest.approx(of_one["pretrained"] - of_one["scratch"], abs=1e-12)
    assert table["value"].iloc[4] < 0  # pre-training adds signal, and a lower Brier score is better


def test_rows_of_a_metric_without_intervals_have_no_interval_method() -> None:
    rows = primary_rows(measure(merged(), COHORT.patients, CLASSES, FAST, seed=1), "ece")
    assert len(rows) == 8 and set(rows["method"]) == {""} and rows["value"].notna().all() and rows["low"].isna().all()


def test_primary_rows_keep_a_configuration_without_an_interval() -> None:
    predictions = merged()
    without = predictions[predictions["label"] != "lymphoma"]
    rows = primary_rows(measure(without, COHORT.patients, CLASSES, FAST, seed=1))
    assert len(rows) == 8
    assert rows[["value", "low"]].isna().all(axis=None)
    assert rows["note"].str.startswith("not defined").all()


def test_measurements_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = measure(merged(), COHORT.patients, CLASSES, FAST, seed=1).assign(backbone="007", init="NA")
    write_csv(table, tmp_path / "metrics.csv")
    read = read_measurements(tmp_path / "metrics.csv")
    assert list(read.columns) == METRIC_COLUMNS
    assert set(read["backbone"]) == {"007"} and set(read["init"]) == {"NA"}
    assert read["value"].tolist() == table["value"].tolist()
    assert read["low"].isna().tolist() == table["low"].isna().tolist()


def specificity(y: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Specificity of each class against the rest at the highest threshold with a sensitivity of 90% or more."""
    found = []
    for c in range(p.shape[1]):
        order = np.argsort(-p[:, c], kind="stable")
        case = y[order] == c
        last = np.append(np.diff(p[order, c]) != 0, True)  # of equal scores
        cases, rest = (np.cumsum(weights[..., order] * of, axis=-1) for of in (case, ~case))
        enough = last & (cases >= 0.9 * cases[..., -1:])
        place = enough.argmax(axis=-1)[..., None]
        accepted = np.take_along_axis(rest, place, axis=-1)[..., 0]
        total = np.where(cases[..., -1] > 0, rest[..., -1], 0.0)
        found.append(np.divide(total - accepted, total, out=np.full(total.shape, np.nan), where=total > 0))
    return np.stack(found, axis=-1)


def test_a_new_metric_is_one_function_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "specificity_at_90"
    before = measure(merged(), COHORT.patients, CLASSES, FAST, seed=1)
    entry = Metric(name, "Specificity at 90% sensitivity", True, "", specificity, per_class=True)
    monkeypatch.setitem(METRICS, name, entry)
    table = measure(merged(), COHORT.patients, CLASSES, FAST, seed=1)
    pd.testing.assert_frame_equal(table[table["metric"] != name].reset_index(drop=True), before, check_exact=True)
    rows = pick(table, metric=name, backbone="tiny", init="scratch", modality="bmode")
    patients = pick(rows, level="patient", pooling="log")
    assert patients["class"].value_counts().to_dict() == dict.fromkeys(CLASSES, 2 + len(INTERVALS) + 1)
    for one in pick(patients, fold="mean").itertuples():
        assert one.low < one.value < one.high
    assert pick(rows, level="image")["class"].value_counts().to_dict() == dict.fromkeys(CLASSES, 4)
    # The pooled value by hand.
    pooled = pool_patients(pick(merged(), backbone="tiny", init="scratch", modality="bmode"), CLASSES)
    cases = pooled.loc[pooled["label"] == "lymphoma", "p_lymphoma"].sort_values(ascending=False)
    threshold = cases.iloc[10]  # 11 of 12 patients
    expected = (pooled.loc[pooled["label"] != "lymphoma", "p_lymphoma"] < threshold).mean()
    found = patients[(patients["fold"] == "pooled") & (patients["class"] == "lymphoma")]["value"].item()
    assert found == pytest.approx(expected, abs=1e-12)
