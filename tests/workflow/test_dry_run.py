"""How many jobs a study needs follows from its axes, and a dry run says so before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from workspace import REPOSITORY, Workspace, merged_config

from sonogrid.cluster.requests import LOCAL_RULES, requests
from sonogrid.config.load import load_study
from sonogrid.config.study import Study

BACKBONES = ["test_resnet", "test_vit", "test_convnext"]
PHANTOM = {"classes": ["benign", "malignant"], "reader": "phantom", "phantom": {"organ": "thyroid"}}
CORPUS = {"source": "corpus", "corpus": PHANTOM | {"modalities": ["bmode", "cdfi"]}}
RECIPE = {"epochs": 1, "patience": 1, "batch_size": 8, "learning_rate": 1.0e-3}
SECOND_CORPUS = CORPUS | {"training": RECIPE}
TIMM = {"source": "timm"}

# backbones, inits, modalities, seeds, folds
AXES = [
    (1, ["scratch"], ["bmode"], [0], 2),
    (2, ["scratch", "pretrained"], ["bmode", "elastography"], [0, 3], 2),
    (3, ["pretrained", "second", "published"], ["cdfi", "bmode", "elastography"], [0], 5),
]


def changed(backbones: int, inits: list[str], modalities: list[str], seeds: list[int], folds: int) -> dict[str, Any]:
    """The changes of the smallest study that give it these axes."""
    return {
        "cohort": {"modalities": ["bmode", "cdfi", "elastography"]},
        "inits": {"second": SECOND_CORPUS, "published": TIMM},
        "grid": {"backbones": BACKBONES[:backbones], "inits": inits, "modalities": modalities, "seeds": seeds},
        "splits": {"folds": folds},
        "statistics": {"pretraining_effect": None},
    }


def expected_jobs(study: Study) -> dict[str, int]:
    """Jobs of a first run by rule, from the axes alone."""
    axes = study.grid
    corpora = [init.corpus for init in map(study.inits.get, axes.inits) if init and init.source == "corpus"]
    counts = {
        "cohort": 1,
        "splits": 1,
        "audit": 1,
        "corpus_audit": len(corpora),
        "images": len(axes.modalities),
        "corpus_cohort": len(corpora),
        "corpus_images": sum(len(corpus.modalities) for corpus in corpora if corpus),
        "pretrain": len(axes.backbones) * len(corpora) * len(axes.seeds),
        "train": len(axes.backbones) * len(axes.inits) * len(axes.modalities) * len(axes.seeds) * study.splits.folds,
        "explain": len(axes.backbones) * len(axes.inits),
        **dict.fromkeys(("evaluate", "tables", "figures", "report"), 1),
    }
    return {rule: count for rule, count in counts.items() if count}


def assert_says_the_grid_first(said: str, cells: int) -> None:
    """The number of cells stands before the list of jobs."""
    line = next(line for line in said.splitlines() if line.startswith("Study "))
    assert line.endswith(f" = {cells} cells")
    assert said.index(line) < said.index("Job stats:")


@pytest.mark.parametrize(
    "axes", AXES, ids=lambda axes: f"{axes[0]}x{len(axes[1])}x{len(axes[2])}x{len(axes[3])}x{axes[4]}"
)
def test_job_counts_follow_from_the_axes(
    workspace: Workspace, axes: tuple[int, list[str], list[str], list[int], int]
) -> None:
    changes = changed(*axes)
    run = workspace.dry_run(changes=changes)
    study = load_study(merged_config(changes))
    assert run.jobs == expected_jobs(study)
    asked = {rule: request.jobs for rule, request in requests(study).items() if request.jobs}
    assert asked == {rule: count for rule, count in run.jobs.items() if rule not in LOCAL_RULES}, "what a plan shows"
    backbones, inits, modalities, seeds, folds = axes
    assert_says_the_grid_first(run.text, backbones * len(inits) * len(modalities) * len(seeds) * folds)
    assert not workspace.results.exists()


@pytest.mark.parametrize(
    ("cells_per_job", "jobs"), [(2, 16), (4, 8), (5, 8), (7, 8), (8, 4), (16, 2), (31, 2), (32, 1)]
)
def test_packed_cells_need_fewer_jobs(workspace: Workspace, cells_per_job: int, jobs: int) -> None:
    """2 backbones x 2 inits x 2 modalities x 4 folds: whole axes go into a job, the backbones last."""
    changes = {"splits": {"folds": 4}, "cells_per_job": cells_per_job}
    run = workspace.dry_run(changes=changes)
    assert run.jobs["train"] == jobs
    assert_says_the_grid_first(run.text, 32)


# Cells by the axes that each study states: backbones x inits x modalities x folds.
STUDIES = {"busbra": 2 * 2 * 1 * 5, "busi": 1 * 2 * 1 * 5, "paper": 4 * 2 * 3 * 5, "dicom": 1 * 1 * 3 * 5}


def study_file(name: str) -> Path:
    """A study that ships with the repository."""
    return REPOSITORY / "studies" / f"{name}.yaml"


def with_study(workspace: Workspace, name: str) -> list[str]:
    """The dry-run command of a shipped study."""
    command = workspace.command("-n")
    return [*command[: command.index("--configfile")], "--configfile", str(study_file(name))]


def paths_named_by(node: Any) -> list[Path]:
    """The folders (key `root`) and files (key `file`) that a config asks for."""
    if not isinstance(node, dict):
        return []
    own = [Path(node[key]) for key in ("root", "file", "pseudonym_key") if isinstance(node.get(key), str)]
    return own + [path for value in node.values() for path in paths_named_by(value)]


def test_every_shipped_study_is_tested() -> None:
    assert {path.stem for path in (REPOSITORY / "studies").glob("*.yaml")} == set(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_shipped_study_plans_its_grid(workspace: Workspace, name: str) -> None:
    """Planning needs no picture: the folders and tables that the study names are there, but empty."""
    raw = yaml.safe_load(study_file(name).read_text(encoding="utf-8"))
    named = paths_named_by(raw)
    assert named
    for path in named:
        folder = workspace.folder / path
        if path.suffix:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.touch()
        else:
            folder.mkdir(parents=True, exist_ok=True)
    run = workspace.run(with_study(workspace, name))
    assert run.code == 0, run.shown_in_full()
    assert run.jobs["train"] == STUDIES[name]
    assert_says_the_grid_first(run.text, STUDIES[name])


def test_study_without_its_data_says_which_folders_are_missing(workspace: Workspace) -> None:
    run = workspace.run(with_study(workspace, "paper"))
    assert run.code != 0
    assert "The configuration has 2 mistake(s)" in run.text
    assert "config key cohort.folders.root: there is no folder data/lymphnode." in run.text
    assert "config key inits.pretrained.corpus.folders.root: there is no folder data/busi." in run.text
    assert "Traceback" not in run.text
    assert not workspace.results.exists()


@pytest.mark.parametrize("name", ["busbra", "busi"])
def test_study_finds_the_shared_data(workspace: Workspace, name: str) -> None:
    data = REPOSITORY.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"there is no {data}: the public pictures are not part of the repository")
    (workspace.folder / "data").symlink_to(data)
    run = workspace.run(with_study(workspace, name))
    assert run.code == 0, run.shown_in_full()
    assert run.jobs["train"] == STUDIES[name]
