"""One cell: what makes it be fitted again, what its record says, its seeds, and inputs that cannot be used."""

import shutil

import numpy as np
import pandas as pd
import pytest
from unit.fits.tiny_study import CELLS, TRAINING, contents, same_weights, tiny_study, write_store

from sonogrid.files import read_json, sha256, write_csv, write_text
from sonogrid.fits.cells import cell_spec
from sonogrid.fits.life import run_fit
from sonogrid.grid import Cell
from sonogrid.layout import CELL_FILES, Layout
from sonogrid.problems import InputError

CELL = CELLS[0]


def fitted(study, cell=CELL):
    """Return whether the cell was fitted, and not kept."""
    return run_fit(cell_spec(cell, study, study.results / "checkpoints", threads=1))


def but(study, **changes):
    return tiny_study(**(vars(study) | changes))


def test_done_cell_is_kept_until_what_decides_it_changes(study, capsys):
    layout = Layout(study.results)
    assert fitted(study)
    assert not fitted(study)
    assert "cell test_resnet scratch bmode seed 0 fold 0: done before with the same recipe, kept" in (
        capsys.readouterr().err
    )
    longer = but(study, training=TRAINING.model_copy(update={"epochs": 3}))
    assert fitted(longer) and not fitted(longer)
    other = but(longer, seed=2)
    assert fitted(other)
    layout.model(CELL).unlink()
    assert fitted(other)
    write_text("{half", layout.run(CELL))
    assert fitted(other)
    table = pd.read_csv(layout.cohort.patients, dtype=str)
    write_csv(table.assign(label=table["label"].iloc[::-1].to_numpy()), layout.cohort.patients)
    assert fitted(other), "the labels are other ones"
    write_store(layout.cohort, "bmode", table["patient_id"].tolist(), seed=7)
    assert fitted(other), "the pixels are other ones"
    write_text('{"accepted_sha256": "1"}', layout.cohort.certificate)
    assert fitted(other), "other findings were accepted"
    assert not fitted(other)


def test_what_does_not_decide_a_cell_fits_nothing_again(study, tmp_path):
    """Other folders, strengths of other modalities, notes of the audit."""
    fitted(study)
    strengths = TRAINING.augment.model_copy(update={"shift": {"bmode": 0.05, "cdfi": 0.2}})
    assert not fitted(but(study, training=TRAINING.model_copy(update={"augment": strengths})))
    write_text('{"accepted_sha256": "0", "counts": {"note": 3}}', Layout(study.results).cohort.certificate)
    assert not fitted(study)
    moved = but(study, results=shutil.move(study.results, tmp_path / "moved"))
    assert not fitted(moved)


def test_predictions_begin_with_the_axes_and_hold_inner_and_test_patients(study):
    fitted(study, CELLS[1])
    table = pd.read_csv(Layout(study.results).cell_predictions(CELLS[1]))
    assert table.columns.tolist() == [
        *("backbone", "init", "modality", "seed", "fold", "part", "image_id", "patient_id", "label"),
        *("logit_benign", "logit_malignant", "p_benign", "p_malignant"),
    ]
    assert (table[["backbone", "init", "modality", "seed", "fold"]] == ["test_resnet", "scratch", "bmode", 0, 1]).all(
        axis=None
    )
    splits = pd.read_csv(Layout(study.results).splits).query("fold == 1 and part != 'train'")
    assert dict(zip(table["patient_id"], table["part"], strict=True)) == dict(
        zip(splits["patient_id"], splits["part"], strict=True)
    )
    np.testing.assert_allclose(table["p_benign"] + table["p_malignant"], 1.0, rtol=1e-12)


def test_record_says_what_was_fitted_and_where_every_epoch_ran(study, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu2")
    fitted(study)
    run = read_json(Layout(study.results).run(CELL))
    (attempt,) = run["attempts"]
    where = {"device": "cpu", "node": "gpu2", "slurm_job_id": "17", "cuda_visible_devices": "", "cells_at_once": 1}
    assert attempt.items() >= (where | {"first_epoch": 1, "last_epoch": 2}).items()
    assert run["seconds"] == attempt["seconds"] > 0
    assert run["seed"] == 0 and run["random_seed"] == CELL.random_seed(study.seed)
    assert run["certificate"] == sha256(Layout(study.results).cohort.certificate)
    assert run["inputs"]["splits"] == sha256(Layout(study.results).splits)
    assert len(run["first_weights"]) == len(run["code"]) == len(run["recipe_sha256"]) == 64


def test_seed_0_has_the_random_numbers_of_a_study_without_the_axis(study):
    # The integer is from run.json of the version without the axis `seed`, in its demo.
    assert Cell("test_resnet", "scratch", "bmode", 0, 0).random_seed(20250606) == 4853174861785798795


def test_seeds_differ_and_their_order_does_not_matter(study, tmp_path):
    cells = [Cell("test_resnet", "scratch", "bmode", seed, 0) for seed in (0, 1)]
    other = but(study, results=shutil.copytree(study.results, tmp_path / "other"))
    for cell in cells:
        assert fitted(study, cell)
    for cell in reversed(cells):
        assert fitted(other, cell)
    one, two = (contents(study.results, cell) for cell in cells)
    assert one["model.safetensors"] != two["model.safetensors"]
    scores = [pd.read_csv(Layout(study.results).cell_predictions(cell)) for cell in cells]
    assert scores[0]["image_id"].equals(scores[1]["image_id"]), "parts do not depend on the seed"
    assert not np.isclose(scores[0]["logit_benign"], scores[1]["logit_benign"]).any()
    assert [contents(other.results, cell) for cell in cells] == [one, two]


def test_diverged_fit_names_the_key_and_leaves_no_file(study):
    diverging = but(study, training=TRAINING.model_copy(update={"learning_rate": 1e30, "warmup_epochs": 0}))
    with pytest.raises(InputError, match=r"config key training\.learning_rate: the inner loss was never finite"):
        fitted(diverging)
    assert not any((Layout(study.results).cell(CELL) / name).exists() for name in CELL_FILES)


def test_a_store_that_is_not_the_one_of_its_index_is_not_fitted(study):
    """The recipe has the hash of the index alone: other pixels below it would pass for the same fit."""
    npy = Layout(study.results).cohort.store("bmode")
    whole = npy.read_bytes()
    npy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = r"canvas of image 'i15' \(bmode\): is not the one of the store's index\. Remove the store and its index"
    with pytest.raises(InputError, match=said):
        fitted(study)
    assert not Layout(study.results).run(CELL).exists()


def test_weights_after_a_fit_are_those_that_predict(study):
    spec = cell_spec(CELL, study, study.results / "checkpoints", threads=1)
    run_fit(spec)
    kept = spec.folder / "kept.safetensors"
    shutil.copy(Layout(study.results).model(CELL), kept)
    for name in CELL_FILES:
        (spec.folder / name).unlink()
    run_fit(spec)  # from its checkpoint, which stays until the job is done
    assert same_weights(kept, Layout(study.results).model(CELL))


def test_first_weights_that_do_not_fit_are_an_input_error(study):
    cell = Cell("test_resnet", "pretrained", "bmode", 0, 0)
    weights = Layout(study.results).pretrained_weights("pretrained", "test_resnet", 0)
    write_text("damaged", weights)
    with pytest.raises(InputError, match=r"weights\.safetensors: cannot be loaded .*sonogrid pretrain"):
        fitted(study, cell)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("cohort/patients.csv", None, "cannot be read (No such file or directory). Read the cohort again"),
        ("cohort/patients.csv", "id\n1\n", "is damaged (KeyError). Read the cohort again"),
        ("cohort/patients.csv", "patient_id,label\np00,benign,\n", "is damaged (ValueError). Read the cohort again"),
        (
            "cohort/patients.csv",
            "patient_id,label\np00,x\n",
            "has patients of no class of the study, 1 in all",
        ),
        ("cohort/patients.csv", "patient_id,label\np00,benign\n", " patients that "),
        ("splits.csv", None, "cannot be read (No such file or directory). Make the splits again"),
        ("splits.csv", "patient_id,fold\np00,0\n", "must have the columns patient_id, fold, part"),
        ("splits.csv", "patient_id,fold,part\np00,0,train\n", "has no bmode image in the inner part of fold 0"),
        ("splits.csv", "", "is damaged (EmptyDataError). Make the splits again"),
        ("images/bmode.csv", "", "is damaged (EmptyDataError). Remove the store"),
        ("images/bmode.csv", None, "cannot be read (No such file or directory). Remove the store"),
        ("images/bmode.npy", None, "is missing from the store"),
        ("images/bmode.npy", "half", "cannot be read"),
        ("audit/certificate.json", None, "cannot be read (No such file or directory). Audit again"),
        ("audit/certificate.json", "{half", "is damaged"),
        ("audit/certificate.json", "{}", "is damaged (KeyError). Audit again"),
        ("audit/certificate.json", "[]", "is damaged (TypeError). Audit again"),
    ],
)
def test_missing_or_damaged_input_is_named_with_the_remedy(study, file, content, said):
    path = study.results / file
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        fitted(study)
    assert said in str(caught.value) and path.name in str(caught.value)
    assert not Layout(study.results).run(CELL).exists()
