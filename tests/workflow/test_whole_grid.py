"""The smallest study, run once: every file that docs/files.md names is there and keeps its contract."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from workspace import REPOSITORY, Workspace

from sonogrid.cohort.manifest import MEASURED_COLUMNS
from sonogrid.config.study import Study
from sonogrid.files import sha256
from sonogrid.fits.recipe import settings_of
from sonogrid.grid import AXES, Cell, Grid, derive_seed
from sonogrid.layout import Layout

PARTS = {"train", "inner", "test"}
LOGITS = ["logit_benign", "logit_lymphoma", "logit_metastatic"]
PROBABILITIES = ["p_benign", "p_lymphoma", "p_metastatic"]


@pytest.fixture
def study(finished: Workspace) -> Study:
    """The smallest study."""
    return finished.study()


@pytest.fixture
def cells(study: Study) -> list[Cell]:
    """Every cell of its grid."""
    return list(Grid.of(study).cells())


def read(workspace: Workspace, name: str, **options: Any) -> pd.DataFrame:
    """A CSV below the results; empty fields are empty text."""
    return pd.read_csv(workspace.results / name, keep_default_na=False, **options)


def documented_columns(heading: str) -> list[str]:
    """Columns that docs/files.md lists under a heading."""
    text = (REPOSITORY / "docs" / "files.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| ([a-z0-9_, ]+) \|", section, re.MULTILINE)
    return [column.strip() for names in named for column in names.split(",") if names != "column"]


def test_cohort_keeps_its_contract(finished: Workspace, study: Study) -> None:
    patients, images = read(finished, "cohort/patients.csv"), read(finished, "cohort/manifest.csv")
    documented = documented_columns("cohort/patients.csv")
    assert documented[:4] == ["patient_id", "label", "hospital", "simulated"]
    assert documented[4:] == list(MEASURED_COLUMNS)
    # Clinical columns stand between them.
    assert patients.columns.tolist()[:4] + patients.columns.tolist()[-5:] == documented
    assert images.columns.tolist() == documented_columns("cohort/manifest.csv")
    assert study.cohort.phantom is not None
    assert len(patients) == study.cohort.phantom.patients
    assert patients["patient_id"].is_unique and patients["patient_id"].is_monotonic_increasing
    assert images["image_id"].is_unique and images["image_id"].is_monotonic_increasing
    assert set(patients["label"]) == set(study.cohort.classes)
    assert set(images["modality"]) == set(study.cohort.modalities)
    assert set(images["patient_id"]) <= set(patients["patient_id"])
    assert patients["simulated"].all() and images["simulated"].all()
    for path, digest in zip(images["path"], images["sha256"], strict=True):
        assert sha256(finished.folder / path) == digest


def test_ceiling_is_between_chance_and_certainty(finished: Workspace, study: Study) -> None:
    ceiling = finished.read_json("cohort/ceiling.json")
    images = read(finished, "cohort/manifest.csv")
    assert set(ceiling) == set(study.cohort.modalities)
    for modality, limits in ceiling.items():
        assert 0.5 < limits["population_auc"] < 1.0
        assert limits["cohort_n"] == images.loc[images["modality"] == modality, "patient_id"].nunique()


def test_stores_hold_every_image(finished: Workspace, study: Study) -> None:
    images = read(finished, "cohort/manifest.csv")
    for modality in study.grid.modalities:
        index = read(finished, f"images/{modality}.csv")
        pixels = np.load(finished.results / "images" / f"{modality}.npy", mmap_mode="r")
        of_modality = images[images["modality"] == modality]
        assert pixels.dtype == np.uint8
        assert pixels.shape == (len(of_modality), study.images.size, study.images.size, 3)
        assert index["row"].tolist() == list(range(len(pixels)))
        assert index["image_id"].tolist() == of_modality["image_id"].tolist()
        assert index["patient_id"].tolist() == of_modality["patient_id"].tolist()
        assert index["sha256"].tolist() == of_modality["sha256"].tolist()


def test_splits_partition_the_patients(finished: Workspace, study: Study) -> None:
    patients, splits = read(finished, "cohort/patients.csv"), read(finished, "splits.csv")
    assert splits.columns.tolist() == ["patient_id", "fold", "part"]
    assert set(splits["part"]) == PARTS
    everyone = patients["patient_id"].tolist()
    for fold in range(study.splits.folds):
        assert sorted(splits.loc[splits["fold"] == fold, "patient_id"]) == everyone
    assert sorted(splits.loc[splits["part"] == "test", "patient_id"]) == everyone
    assert len(splits) == len(everyone) * study.splits.folds


def test_every_cell_predicts_its_inner_and_held_out_patients_and_no_others(
    finished: Workspace, study: Study, cells: list[Cell]
) -> None:
    splits, images = read(finished, "splits.csv"), read(finished, "cohort/manifest.csv")
    label_of = read(finished, "cohort/patients.csv").set_index("patient_id")["label"]
    for cell in cells:
        table = pd.read_csv(Layout(finished.results).cell_predictions(cell))
        assert table.columns.tolist() == [*AXES, "part", "image_id", "patient_id", "label", *LOGITS, *PROBABILITIES]
        assert {tuple(row) for row in table[AXES].to_numpy()} == {astuple(cell)}
        of_modality = images[images["modality"] == cell.modality]
        for part in ("inner", "test"):
            members = splits.loc[(splits["fold"] == cell.fold) & (splits["part"] == part), "patient_id"]
            expected = of_modality.loc[of_modality["patient_id"].isin(members), "image_id"]
            assert sorted(table.loc[table["part"] == part, "image_id"]) == expected.tolist()
        assert set(table["part"]) == {"inner", "test"}
        assert table["label"].tolist() == table["patient_id"].map(label_of).tolist()
        assert_softmax(table)


def assert_softmax(table: pd.DataFrame) -> None:
    """Probabilities are those of the logits and sum to 1."""
    odds = np.exp(table[LOGITS].to_numpy())
    assert table[PROBABILITIES].to_numpy() == pytest.approx(odds / odds.sum(axis=1, keepdims=True))
    assert table[PROBABILITIES].sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_every_cell_has_a_model_a_history_and_a_record(finished: Workspace, study: Study, cells: list[Cell]) -> None:
    seeds = set()
    for cell in cells:
        folder = Layout(finished.results).cell(cell)
        assert all(np.isfinite(tensor).all() for tensor in load_file(folder / "model.safetensors").values())
        history, run = pd.read_csv(folder / "history.csv"), finished.read_json(str(folder / "run.json"))
        assert history["epoch"].tolist() == list(range(1, run["epochs_run"] + 1))
        assert history.loc[run["chosen_epoch"] - 1, "inner_loss"] == history["inner_loss"].min()
        assert (run["backbone"], run["init"]) == (cell.backbone, cell.init)
        assert run["training"] == settings_of(study.training, [cell.modality])
        assert run["classes"] == list(study.cohort.classes)
        assert (run["seed"], run["random_seed"]) == (cell.seed, cell.random_seed(study.seed))
        assert run["threads"] == 1
        assert {"torch", "timm", "numpy", "sonogrid", "python"} <= set(run["versions"])
        layout = Layout(finished.results)
        used = {
            "patients": layout.cohort.patients,
            "splits": layout.splits,
            f"images of {cell.modality}": layout.cohort.index(cell.modality),
        }
        if cell.init == "pretrained":
            used["first weights"] = layout.pretrained_weights(cell.init, cell.backbone, cell.seed)
        assert run["inputs"] == {name: sha256(file) for name, file in used.items()}
        seeds.add(run["random_seed"])
    assert len(seeds) == len(cells)


def test_pretraining_has_weights_a_history_and_a_record(finished: Workspace, study: Study) -> None:
    corpus = read(finished, "pretrained/pretrained/corpus/patients.csv")
    assert set(corpus["label"]) == {"benign", "malignant"}
    for backbone in study.grid.backbones:
        folder = Layout(finished.results).pretrained("pretrained", backbone, 0)
        run = finished.read_json(str(folder / "run.json"))
        assert run["training"]["epochs"] == 1 == len(pd.read_csv(folder / "history.csv"))
        assert run["random_seed"] == derive_seed(study.seed, "pretrain", "pretrained", backbone)
        assert load_file(folder / "weights.safetensors")


def test_merged_predictions_are_the_test_rows_of_every_cell(finished: Workspace, cells: list[Cell]) -> None:
    """Compared as text: merging does not round."""
    merged = read(finished, "predictions.csv", dtype=str)
    files = [Layout(finished.results).cell_predictions(cell) for cell in cells]
    tables = pd.concat([read(finished, str(file), dtype=str) for file in files])
    keys = [*AXES, "image_id"]
    pd.testing.assert_frame_equal(
        merged.sort_values(keys, ignore_index=True),
        tables[tables["part"] == "test"].sort_values(keys, ignore_index=True),
    )
    assert not merged.duplicated(["backbone", "init", "modality", "image_id"]).any()


def test_metrics_has_one_measurement_of_everything(finished: Workspace, study: Study) -> None:
    metrics = read(finished, "metrics.csv", dtype={"fold": str})
    assert metrics.columns.tolist() == documented_columns("metrics.csv")
    key = [*AXES, "level", "pooling", "metric", "class", "method"]
    assert not metrics.duplicated(key).any()
    configurations = set(zip(metrics["backbone"], metrics["init"], metrics["modality"], strict=True))
    axes = study.grid
    assert configurations == set(itertools.product(axes.backbones, axes.inits, axes.modalities))
    assert set(metrics["fold"]) == {"0", "1", "mean", "pooled"}
    primary = metrics[metrics["fold"].eq("mean") & metrics["level"].eq("patient") & metrics["pooling"].eq("log")].query(
        "metric == 'roc_auc_ovo' and method == 'bca'"
    )
    assert len(primary) == len(configurations)
    values = pd.to_numeric(primary["value"])
    assert values.between(0.0, 1.0).all()
    limits = primary[["low", "high"]].apply(pd.to_numeric)
    assert ((limits["low"] <= limits["high"]) | limits["low"].isna()).all()
    assert set(metrics["simulated"].astype(str)) == {"True"}


def test_effects_pair_the_two_inits(finished: Workspace, study: Study) -> None:
    effects = read(finished, "effects.csv")
    assert effects.columns.tolist()[:5] == ["backbone", "init", "reference", "modality", "metric"]
    assert set(zip(effects["init"], effects["reference"], strict=True)) == {("pretrained", "scratch")}
    metrics = read(finished, "metrics.csv", dtype={"fold": str})
    chosen = metrics.query("fold == 'mean' and level == 'patient' and pooling == 'log' and method == 'bca'")
    values = chosen.query("metric == 'roc_auc_ovo'").set_index(["backbone", "init", "modality"])["value"].astype(float)
    for backbone, modality in itertools.product(study.grid.backbones, study.grid.modalities):
        row = effects.query("backbone == @backbone and modality == @modality and metric == 'roc_auc_ovo'")
        difference = values[backbone, "pretrained", modality] - values[backbone, "scratch", modality]
        assert float(row["value"].iloc[0]) == pytest.approx(difference, abs=1e-12)
    assert (effects["modality"] == "all").sum() == 1


def test_tables_say_that_they_are_simulated(finished: Workspace) -> None:
    for table, kind in itertools.product(("ablation", "pretraining_effect"), ("csv", "md", "tex", "html")):
        text = (finished.results / "tables" / f"{table}.{kind}").read_text(encoding="utf-8")
        assert "test_resnet" in text.replace("\\_", "_"), (table, kind)
        assert "simulated" in text.lower(), (table, kind)


def test_figures_are_there_in_both_formats(finished: Workspace, study: Study) -> None:
    panels = [f"gradcam_{one}_{init}" for one, init in itertools.product(study.grid.backbones, study.grid.inits)]
    drawings = ["auc_heatmap", "roc_curves", "confusion_matrices", "training_curves", "example_images"]
    stems = [*drawings, "pretraining_effect", *panels]
    found = {path.name for path in (finished.results / "figures").glob("*.*g")}
    assert found == {f"{stem}.{kind}" for stem, kind in itertools.product(stems, ("png", "svg"))}
    for stem in stems:
        assert (finished.results / "figures" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (finished.results / "figures" / f"{stem}.svg").read_text(encoding="utf-8")


def test_panels_show_held_out_patients(finished: Workspace, study: Study) -> None:
    predictions = read(finished, "predictions.csv").set_index([*AXES, "image_id"])
    for backbone, init in itertools.product(study.grid.backbones, study.grid.inits):
        listed = read(finished, f"figures/gradcam_{backbone}_{init}.csv")
        shown = set(zip(listed["label"], listed["quantile"], listed["modality"], strict=True))
        wanted = itertools.product(study.cohort.classes, study.explain.quantiles, study.grid.modalities)
        assert shown == set(wanted) and len(listed) == len(shown)
        for row in listed.to_dict("records"):
            scored = predictions.loc[backbone, init, row["modality"], row["seed"], row["fold"], row["image_id"]]
            assert scored["part"] == "test"
            assert (scored["label"], scored["patient_id"]) == (row["label"], row["patient_id"])
        # A map that is zero everywhere has no share in the lesion; not every map is.
        shares = pd.to_numeric(listed["share_in_lesion"]).dropna()
        assert len(shares) and shares.between(0.0, 1.0).all()


def test_report_is_one_file_that_names_no_patient(finished: Workspace) -> None:
    page = (finished.results / "report.html").read_text(encoding="utf-8")
    assert "Simulated" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert_names_none(page, patient_ids(finished))


def test_logs_name_no_patient(finished: Workspace) -> None:
    logs = sorted((finished.results / "logs").rglob("*.log"))
    assert logs
    for log in logs:
        assert_names_none(log.read_text(encoding="utf-8"), patient_ids(finished))


def patient_ids(workspace: Workspace) -> set[str]:
    """Ids of the cohort and of the corpus."""
    folders = ("cohort", "pretrained/pretrained/corpus")
    return {one for folder in folders for one in read(workspace, f"{folder}/patients.csv")["patient_id"]}


def assert_names_none(text: str, patients: Iterable[str]) -> None:
    """None of the patients stands in the text, nor as the beginning of an image id."""
    assert [patient for patient in patients if patient in text] == []


def test_no_temporary_file_is_left(finished: Workspace) -> None:
    assert finished.temporary_files() == []


def test_nothing_undocumented_is_written(finished: Workspace) -> None:
    names = {path.name for path in finished.results.iterdir()}
    tables = {"splits.csv", "metrics.csv", "effects.csv", "predictions.csv", "report.html"}
    folders = {
        "audit",
        "cohort",
        "images",
        "pretrained",
        "checkpoints",
        "cells",
        "tables",
        "figures",
        "logs",
        "benchmarks",
    }
    assert names == tables | folders | {"audit"}


def test_no_checkpoint_is_left(finished: Workspace) -> None:
    assert [file for file in (finished.results / "checkpoints").rglob("*") if file.is_file()] == []
