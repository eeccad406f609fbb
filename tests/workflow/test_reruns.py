"""What runs again after a change, and what does not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from package_copy import PackageCopy
from workspace import Workspace

CELL = ("test_vit", "scratch", "bmode", 0, 1)
AFTER_CELLS = ("evaluate", "tables", "figures", "report", "explain")


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


SCORES = {"evaluate": 1, "tables": 1, "figures": 1, "report": 1}
ALL_AFTER_TRAINING = {"train": 16, "explain": 4, **SCORES}

# An edited key -> exactly the jobs that run again. The grid has 2 x 2 x 2 x 1 x 2 cells.
EDITS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "training": ({"training": {"weight_decay": 0.1}}, ALL_AFTER_TRAINING),
    "augmentation": ({"training": {"augment": {"rotate": 0.0}}}, ALL_AFTER_TRAINING),
    "pretraining": (
        {"inits": {"pretrained": {"training": {"epochs": 2}}}},
        {"pretrain": 2, "train": 8, "explain": 2, **SCORES},
    ),
    "input size of a backbone": (
        {"images": {"input_size": {"test_vit": 48}}},
        {"pretrain": 1, "train": 8, "explain": 2, **SCORES},
    ),
    "folds": ({"splits": {"folds": 3}}, {"splits": 1, "audit": 1, "train": 24, "explain": 4, **SCORES}),
    "another seed": ({"grid": {"seeds": [0, 1]}}, {"pretrain": 2, "train": 16, "explain": 4, **SCORES}),
    "a backbone less": ({"grid": {"backbones": ["test_resnet"]}}, SCORES),
    "quantiles": ({"explain": {"quantiles": [0.1, 0.9]}}, {"explain": 4, "report": 1}),
    "formats of figures": (
        {"figures": {"formats": ["png", "svg", "pdf"]}},
        {"figures": 1, "explain": 4, "report": 1},
    ),
    "resamples": ({"statistics": {"resamples": 300}}, SCORES),
    "no effect": ({"statistics": {"pretraining_effect": None}}, SCORES),
    "name of the study": ({"study": "renamed"}, {"tables": 1, "report": 1}),
    "accepted finding": (
        {"audit": {"accept": ["fold_lacks_class", "same_file_two_labels"]}},
        {"audit": 1, "corpus_audit": 1, "pretrain": 2, **ALL_AFTER_TRAINING},
    ),
    "decoded colours": (
        {"images": {"elastography": "stiffness"}},
        {"images": 1, "audit": 1, "corpus_audit": 1, "pretrain": 2, **ALL_AFTER_TRAINING},
    ),
    "init outside the grid": ({"inits": {"unused": {"source": "timm"}}}, {}),
    "section of a reader that is not chosen": ({"cohort": {"folders": None}}, {}),
    "jobs that train at the same time": ({"cells_per_gpu": 2}, {}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_key_reruns_exactly_what_depends_on_it(finished_copy: Workspace, edit: str) -> None:
    changes, expected = EDITS[edit]
    assert finished_copy.dry_run(changes=changes).jobs == expected


def test_edited_pretraining_retrains_the_pretrained_cells_only(finished_copy: Workspace) -> None:
    run = finished_copy.dry_run(changes={"inits": {"pretrained": {"training": {"learning_rate": 0.01}}}})
    trained = planned_wildcards(run.text, "train")
    assert len(trained) == 8
    assert {wildcards["init"] for wildcards in trained} == {"pretrained"}


def test_larger_grid_keeps_the_cells_that_are_there(finished_copy: Workspace) -> None:
    changes = {"grid": {"backbones": ["test_convnext", "test_resnet", "test_vit"]}}
    run = finished_copy.dry_run(changes=changes)
    assert run.jobs == {"pretrain": 1, "train": 8, "explain": 2, **SCORES}
    assert {wildcards["backbone"] for wildcards in planned_wildcards(run.text, "train")} == {"test_convnext"}


def test_another_seed_trains_its_own_cells_and_pretrainings_alone(finished_copy: Workspace) -> None:
    run = finished_copy.dry_run(changes={"grid": {"seeds": [0, 1]}})
    assert {wildcards["seed"] for wildcards in planned_wildcards(run.text, "train")} == {"1"}
    assert {wildcards["seed"] for wildcards in planned_wildcards(run.text, "pretrain")} == {"1"}


EDITED_CODE: dict[str, tuple[str, str]] = {
    "a comment": ("training/fit.py", "# a remark\n"),
    "a message of the pool": ("jobs.py", "MESSAGE = 'another'\n"),
    "a function of the grid": ("grid.py", "def remark() -> None: ...\n"),
    "a stage": ("stages.py", "VERSION = 2\n"),
}


def test_forced_training_keeps_every_cell_whatever_was_edited_outside_of_training(
    finished_copy: Workspace, tmp_path: Path
) -> None:
    """`--forcerun train` after edits that decide nothing fits no cell; after one that decides, every cell."""
    package = PackageCopy(tmp_path / "copy")
    for name, text in EDITED_CODE.values():
        package.append(name, text)
    command = finished_copy.command("--cores", "2", "--forcerun", "train", "--until", "train")
    own = "import sonogrid; print(sonogrid.__file__)"
    shown = finished_copy.run([command[0], "-c", own], PYTHONPATH=str(package.path))
    assert shown.text.strip() == str(package.package / "__init__.py")
    assert finished_copy.run([*command, "-n"], PYTHONPATH=str(package.path)).jobs == {"train": 16}

    cells = finished_copy.command(
        "--cores", "2", "--until", "train", "--forcerun", "train", changes={"cells_per_job": 16}
    )
    before = times(finished_copy, "cells/**/run.json")
    run = finished_copy.run(cells, PYTHONPATH=str(package.path))
    assert run.code == 0, run.shown_in_full()
    assert times(finished_copy, "cells/**/run.json") == before
    package.append("training/fit.py", "ANOTHER = 1\n")
    run = finished_copy.run(cells, PYTHONPATH=str(package.path))
    assert run.code == 0, run.shown_in_full()
    after = times(finished_copy, "cells/**/run.json")
    assert after.keys() == before.keys()
    assert not after.items() & before.items()
