"""What runs again after a change, and what does not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from workspace import REPOSITORY, Workspace

CELL = ("test_vit", "scratch", "bmode", 0, 1)
AFTER_CELLS = {"evaluate", "tables", "figures", "report", "explain"}


def times(workspace: Workspace, pattern: str) -> dict[Path, int]:
    """When each file below the results was written."""
    files = [path for path in workspace.results.glob(pattern) if path.is_file()]
    return {path.relative_to(workspace.results): path.stat().st_mtime_ns for path in files}


def planned_wildcards(text: str, rule: str) -> list[dict[str, str]]:
    """Wildcards of the planned jobs of a rule."""
    blocks = re.findall(rf"^(?:local)?rule {rule}:\n((?:    .*\n)+)", text, re.MULTILINE)
    lines = [re.search(r"wildcards: (.*)", block) for block in blocks]
    return [dict(pair.split("=") for pair in line[1].split(", ")) for line in lines if line]


def test_second_run_has_nothing_to_do(finished: Workspace) -> None:
    assert finished.dry_run().jobs == {}


def test_deleted_cell_is_rebuilt_alone(finished_copy: Workspace) -> None:
    lost = finished_copy.folder / finished_copy.cell(*CELL)
    predictions = (lost / "predictions.csv").read_bytes()
    before = times(finished_copy, "cells/**/*") | times(finished_copy, "pretrained/**/*")
    shutil.rmtree(lost)

    run = finished_copy.snakemake("--cores", "2")
    assert run.code == 0, run.shown_in_full()
    assert run.jobs == dict.fromkeys(("train", *AFTER_CELLS), 1)
    assert (lost / "predictions.csv").read_bytes() == predictions
    after = times(finished_copy, "cells/**/*") | times(finished_copy, "pretrained/**/*")
    changed = {path for path in after if after[path] != before[path]}
    assert after.keys() == before.keys()
    assert {path.parent for path in changed} == {lost.relative_to(finished_copy.results)}
    assert finished_copy.temporary_files() == []
    assert finished_copy.dry_run().jobs == {}


# An edit -> the rules that run again, and in how many jobs. The grid has 2 x 2 x 2 x 2 cells.
EDITS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "training": (
        {"training": {"weight_decay": 0.1}},
        {"train": 16, "explain": 4, "evaluate": 1, "tables": 1, "figures": 1, "report": 1},
    ),
    "augmentation": (
        {"training": {"augment": {"rotate": 0.0}}},
        {"train": 16, "explain": 4, "evaluate": 1, "tables": 1, "figures": 1, "report": 1},
    ),
    "pretraining": (
        {"inits": {"pretrained": {"training": {"epochs": 2}}}},
        {"pretrain": 2, "train": 8, "explain": 2, "evaluate": 1, "tables": 1, "figures": 1, "report": 1},
    ),
    "folds": (
        {"splits": {"folds": 3}},
        {"splits": 1, "audit": 1, "train": 24, "explain": 4, "evaluate": 1, "tables": 1, "figures": 1, "report": 1},
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_setting_reruns_what_used_it(finished_copy: Workspace, edit: str) -> None:
    changes, expected = EDITS[edit]
    assert finished_copy.dry_run(changes=changes).jobs == expected


def test_edited_pretraining_retrains_the_pretrained_cells_only(finished_copy: Workspace) -> None:
    run = finished_copy.dry_run(changes={"inits": {"pretrained": {"training": {"learning_rate": 0.01}}}})
    trained = planned_wildcards(run.text, "train")
    assert len(trained) == 8
    assert {wildcards["init"] for wildcards in trained} == {"pretrained"}


# An edit of what comes after the cells -> what must run again.
LATER_EDITS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "quantiles": ({"explain": {"quantiles": [0.1, 0.9]}}, {"explain", "report"}),
    "resamples": ({"statistics": {"resamples": 300}}, {"evaluate", "tables", "figures", "report"}),
    "name": ({"study": "renamed"}, {"tables", "report"}),
    "init outside the grid": ({"inits": {"unused": {"source": "timm"}}}, set()),
}


@pytest.mark.parametrize("edit", LATER_EDITS)
def test_edit_of_what_comes_after_the_cells_retrains_nothing(finished_copy: Workspace, edit: str) -> None:
    changes, expected = LATER_EDITS[edit]
    jobs = set(finished_copy.dry_run(changes=changes).jobs)
    assert expected <= jobs <= AFTER_CELLS


def test_larger_grid_keeps_the_cells_that_are_there(finished_copy: Workspace) -> None:
    changes = {"grid": {"backbones": ["test_convnext", "test_resnet", "test_vit"]}}
    run = finished_copy.dry_run(changes=changes)
    assert run.jobs["train"] == 8
    assert {wildcards["backbone"] for wildcards in planned_wildcards(run.text, "train")} == {"test_convnext"}


def test_comment_in_the_package_retrains_nothing(finished_copy: Workspace, tmp_path: Path) -> None:
    package = tmp_path / "src" / "sonogrid"
    shutil.copytree(REPOSITORY / "src" / "sonogrid", package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("training/fit.py", "grid.py", "stages.py"):
        with (package / name).open("a", encoding="utf-8") as source:
            source.write("# a remark\n")
    own = "import sonogrid; print(sonogrid.__file__)"
    command = finished_copy.command("-n")
    shown = finished_copy.run([command[0], "-c", own], PYTHONPATH=str(package.parent))
    assert shown.text.strip() == str(package / "__init__.py")
    run = finished_copy.run(command, PYTHONPATH=str(package.parent))
    assert run.code == 0, run.shown_in_full()
    assert run.jobs == {}
