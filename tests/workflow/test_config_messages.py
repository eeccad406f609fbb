"""Every mistake in a config is told at once, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import Workspace, merged_config

from sonogrid import cli

# A change of the smallest study -> what the message must hold.
MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"training": {"epoch": 3}}, ["config key training.epoch: is not known", "Did you mean 'epochs'?"]),
    "unknown section": ({"trainings": {}}, ["config key trainings: is not known", "Did you mean 'training'?"]),
    "wrong type": ({"training": {"epochs": "many"}}, ["config key training.epochs: value 'many'", "whole number"]),
    "yes for a whole number": (
        {"training": {"epochs": True}},
        ["config key training.epochs: value true: must be a whole number. "],
    ),
    "yes for a number": (
        {"training": {"learning_rate": True}},
        ["config key training.learning_rate: value true: must be a number. "],
    ),
    "text for a number": ({"training": {"learning_rate": "fast"}}, ["training.learning_rate: value 'fast'", "number"]),
    "unknown backbone": (
        {"grid": {"backbones": ["resnet81"]}},
        ["config key grid.backbones.0: value 'resnet81'", "nearest: ", "resnet18"],
    ),
    "undefined init": (
        {"grid": {"inits": ["scratch", "imagenet"]}, "statistics": {"pretraining_effect": None}},
        ["config key grid.inits: init 'imagenet' is not defined", "choose from: scratch, pretrained"],
    ),
    "effect of an init outside the grid": (
        {"grid": {"inits": ["scratch"]}},
        ["config key statistics.pretraining_effect: init 'pretrained' is not in grid.inits"],
    ),
    "modality not in the cohort": (
        {"grid": {"modalities": ["bmode", "cdfi"]}},
        ["config key grid.modalities: 'cdfi' is not among cohort.modalities", "Choose from: bmode, elastography"],
    ),
    "seed given twice": ({"grid": {"seeds": [0, 1, 0]}}, ["config key grid.seeds", "named more than once: 0"]),
    "negative seed": ({"grid": {"seeds": [-1]}}, ["config key grid.seeds.0: value -1: must be at least 0"]),
    "half a seed": ({"grid": {"seeds": [0.5]}}, ["config key grid.seeds.0: value 0.5: must be a whole number. "]),
    "seed as text": (
        {"grid": {"seeds": ["1"]}},
        ["config key grid.seeds.0: value '1'", "write 1 without quotes"],
    ),
    "yes for a seed": ({"grid": {"seeds": [True]}}, ["config key grid.seeds.0: value true: must be a whole number. "]),
    "no seed": ({"grid": {"seeds": []}}, ["config key grid.seeds: value []: must have at least 1 entry"]),
    "seed without a list": ({"grid": {"seeds": 3}}, ["config key grid.seeds: value 3: must be a list, as [3]"]),
    "seed that YAML reads as text": ({"grid": {"seeds": ["1e3"]}}, ["value '1e3'", "as text: write 1000"]),
    "misspelt reader": ({"cohort": {"reader": "fantom"}}, ["cohort.reader: value 'fantom'", "Did you mean 'phantom'?"]),
    "misspelt modality": (
        {"grid": {"modalities": ["bmde"]}},
        ["config key grid.modalities.0: value 'bmde': must be 'bmode', 'cdfi' or", "Did you mean 'bmode'?"],
    ),
    "one fold": ({"splits": {"folds": 1}}, ["config key splits.folds: value 1: must be at least 2"]),
    "yes for a backbone": (
        {"grid": {"backbones": [True]}},
        ["grid.backbones.0: value true: must be text"],
    ),
    "no for a name": ({"study": False}, ["config key study: value false: must be text; write it in quotes"]),
    "backbone named twice": (
        {"grid": {"backbones": ["test_vit", "test_vit"]}},
        ["config key grid.backbones", "named more than once: test_vit"],
    ),
    "reader without its section": (
        {"cohort": {"reader": "folders"}},
        ["config key cohort.folders: is missing", "reader 'folders' needs it"],
    ),
    "file that is not there": (
        {"splits": {"official": {"file": "none.csv", "image_id": "a", "fold": "b"}}},
        ["config key splits.official.file: there is no file none.csv"],
    ),
}


def check(raw: Mapping[str, Any], folder: Path) -> int:
    """`sonogrid check` on a whole config."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(dict(raw), sort_keys=False), encoding="utf-8")
    return cli.main(["check", "--config", str(file)])


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_smallest_study_has_no_mistake(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(merged_config(), elsewhere) == 0
    assert (
        capsys.readouterr().out
        == "Study smallest: 2 backbones x 2 inits x 2 modalities x 1 seed x 2 folds = 16 cells\n"
    )


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_gives_its_message(elsewhere: Path, capsys: pytest.CaptureFixture[str], mistake: str) -> None:
    change, expected = MISTAKES[mistake]
    assert check(merged_config(change), elsewhere) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1, said
    for phrase in expected:
        assert phrase in said
    assert [path.name for path in elsewhere.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize("section", ["study", "seed", "cohort", "images", "splits", "inits", "grid", "training"])
def test_missing_section_is_named(elsewhere: Path, capsys: pytest.CaptureFixture[str], section: str) -> None:
    raw = merged_config()
    del raw[section]
    assert check(raw, elsewhere) == 2
    assert f"config key {section}: is missing. Add it" in capsys.readouterr().err


def test_workflow_tells_all_mistakes_at_once_and_writes_nothing(workspace: Workspace) -> None:
    """Each names its key; mistakes that only two sections together show stand beside those of one."""
    together = {
        "training": {"epoch": 3},
        "splits": {"folds": 1},
        "grid": {"backbones": ["resnet81"], "inits": ["imagenet"], "modalities": ["cdfi"]},
        "explain": {"quantiles": "yes"},
    }
    run = workspace.snakemake("--cores", "1", changes=together)
    assert run.code != 0
    keys = re.findall(r"^config key ([\w.]+): ", run.text, re.MULTILINE)
    effects = ["statistics.pretraining_effect"] * 2
    one_section = ["explain.quantiles", "grid.backbones.0", "splits.folds", "training.epoch"]
    assert sorted(keys) == sorted([*one_section, "grid.inits", "grid.modalities", *effects])
    assert f"The configuration has {len(keys)} mistake(s):" in run.text
    assert "Traceback" not in run.text
    listed = re.findall(r'^  File "(.+)", line', run.text, re.MULTILINE)
    assert [Path(file).name for file in listed] == ["common.smk"], "files of the package read like a crash"
    assert not workspace.results.exists()


def test_results_without_seeds_are_refused_before_anything_runs(workspace: Workspace) -> None:
    former = workspace.results / "cells" / "test_resnet" / "scratch" / "bmode" / "fold0" / "run.json"
    former.parent.mkdir(parents=True)
    former.write_text("{}", encoding="utf-8")
    for command in (workspace.command("--cores", "1"), workspace.command("-n")):
        run = workspace.run(command)
        assert run.code != 0
        assert "config key results, results: was made by version 0.1 of sonogrid" in run.text
        assert "Name another folder there" in run.text and "Traceback" not in run.text
    checked = workspace.run(["sonogrid", "check"])
    assert checked.code == 2 and "was made by version 0.1" in checked.text
    assert [path for path in workspace.results.rglob("*") if path.is_file()] == [former]
