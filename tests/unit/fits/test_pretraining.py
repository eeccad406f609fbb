"""Pre-training: parts of the corpus, one fit per seed, and the cells that start from it."""

import shutil

import pandas as pd
import pytest
from safetensors.torch import load_file
from unit.fits.tiny_study import TRAINING, same_weights, tiny_study

from sonogrid.files import read_json, sha256, write_csv
from sonogrid.fits.cells import cell_spec
from sonogrid.fits.life import run_fit
from sonogrid.fits.pretraining import pretrain, pretraining_spec
from sonogrid.fits.recipe import corpus_inner
from sonogrid.grid import Cell, derive_seed
from sonogrid.layout import PRETRAINED_FILES, Layout
from sonogrid.problems import InputError
from sonogrid.training import fit as loop

WHICH = ("pretrained", "test_resnet")


def run(study, seed=0):
    pretrain(*WHICH, seed, study, study.results / "checkpoints", threads=1)
    return read_json(Layout(study.results).pretrained(*WHICH, seed) / "run.json")


def weights(study, seed=0):
    return Layout(study.results).pretrained_weights(*WHICH, seed)


def test_it_leaves_its_files_and_no_checkpoint(study, capsys):
    record = run(study)
    folder = Layout(study.results).pretrained(*WHICH, 0)
    assert {file.name for file in folder.iterdir()} == set(PRETRAINED_FILES)
    assert [file for file in (study.results / "checkpoints").rglob("*") if file.is_file()] == []
    assert record["random_seed"] == derive_seed(study.seed, "pretrain", *WHICH), "seed 0 adds nothing to the identity"
    assert record["modalities"] == ["bmode", "cdfi"] and record["inner_fraction"] == 0.25
    assert record["certificate"] == sha256(Layout(study.results).corpus("pretrained").certificate)
    assert run(study) == record
    assert "pretrain pretrained test_resnet seed 0: done before with the same recipe, kept" in capsys.readouterr().err


def test_it_goes_on_from_its_last_epoch_when_cut_short(study, monkeypatch, tmp_path):
    whole = tiny_study(shutil.copytree(study.results, tmp_path / "whole"))
    run(whole)
    run_epoch, epochs = loop.Fitting.run_epoch, []

    def cut_short(fitting):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return run_epoch(fitting)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Fitting, "run_epoch", cut_short)
        with pytest.raises(KeyboardInterrupt):
            run(study)
    record = run(study)
    assert [(one["first_epoch"], one["last_epoch"]) for one in record["attempts"]] == [(1, 1), (2, 2)]
    assert same_weights(weights(study), weights(whole))


def test_inner_part_is_drawn_by_the_rule_of_the_folds_and_not_by_seed_or_backbone(study):
    inner = corpus_inner("pretrained", study)
    assert len(inner) == 4  # a quarter of eight patients of each of two classes
    recipes = [pretraining_spec(*WHICH, seed, study, study.results, 1).recipe for seed in (0, 1)]
    assert recipes[0]["inner_part"] == recipes[1]["inner_part"]
    assert recipes[0]["random_seed"] != recipes[1]["random_seed"]
    parts = pretraining_spec(*WHICH, 0, study, study.results, 1).parts()
    assert set(parts.inner.patients) == inner and set(parts.train.patients).isdisjoint(inner)
    assert len(parts.train) == 24 and len(parts.inner) == 8, "two modalities of 16 patients"


def test_a_fraction_that_divides_alike_fits_nothing_again(study):
    recipe = pretraining_spec(*WHICH, 0, study, study.results, 1).recipe
    keys = vars(study)
    alike = tiny_study(**(keys | {"splits": type(study)(inner_fraction=0.26)}))
    other = tiny_study(**(keys | {"splits": type(study)(inner_fraction=0.4)}))
    assert pretraining_spec(*WHICH, 0, alike, study.results, 1).recipe == recipe
    assert pretraining_spec(*WHICH, 0, other, study.results, 1).recipe != recipe


def test_cells_of_a_seed_start_from_the_pre_training_of_that_seed(study):
    for seed in (1, 0):
        run(study, seed)
    assert not same_weights(weights(study, 0), weights(study, 1))
    for seed in (0, 1):
        cell = Cell("test_resnet", "pretrained", "bmode", seed, 0)
        spec = cell_spec(cell, study, study.results / "checkpoints", 1)
        assert spec.first_weights == weights(study, seed)
        assert run_fit(spec)
        assert read_json(spec.folder / "run.json")["inputs"]["first weights"] == sha256(weights(study, seed))


def test_cell_has_the_body_of_its_pre_training_and_a_new_head(study):
    run(study)
    frozen = tiny_study(study.results, training=TRAINING.model_copy(update={"learning_rate": 1e-30}))
    cell = Cell("test_resnet", "pretrained", "bmode", 0, 0)
    spec = cell_spec(cell, frozen, study.results / "checkpoints", 1)
    run_fit(spec)
    ours, theirs = load_file(spec.folder / spec.weights), load_file(weights(study))
    assert (ours["layer1.0.conv1.weight"] == theirs["layer1.0.conv1.weight"]).all()
    assert (ours["fc.weight"] != theirs["fc.weight"]).any()


def test_missing_pre_training_is_named_with_the_remedy(study):
    with pytest.raises(InputError, match=r"seed1/weights\.safetensors: cannot be read .*Pre-train first"):
        cell_spec(Cell("test_resnet", "pretrained", "bmode", 1, 0), study, study.results, 1)


def test_class_of_one_patient_is_refused(study):
    patients = Layout(study.results).corpus("pretrained").patients
    table = pd.read_csv(patients, dtype=str)
    write_csv(pd.concat([table[table["label"] == "malignant"], table[:1]]), patients)
    with pytest.raises(InputError, match="class 'benign' of the corpus: has a single patient"):
        run(study)


def test_corpus_without_hospitals_or_config_is_named(study):
    patients = Layout(study.results).corpus("pretrained").patients
    write_csv(pd.read_csv(patients, dtype=str).drop(columns="hospital"), patients)
    with pytest.raises(InputError, match=r"patients\.csv: lacks the columns hospital"):
        run(study)
    study.inits["pretrained"].training = None
    with pytest.raises(InputError, match=r"config key inits\.pretrained\.training: is missing"):
        run(study)
