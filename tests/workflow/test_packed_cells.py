"""Several cells in one job give what a job for each gives, and nothing that is done is fitted again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from workspace import Workspace, environ, wait_for, without_cell

from sonogrid.grid import Cell, Grid
from sonogrid.layout import Layout

CELL = ("test_vit", "scratch", "bmode", 0, 1)
TARGET = "results/metrics.csv"
SAME = ("predictions.csv", "model.safetensors")
PACKED = {"cells_per_job": 4, "cells_per_gpu": 2}


def cells_of(workspace: Workspace) -> list[Cell]:
    return list(Grid.of(workspace.study()).cells())


def assert_same_cells(workspace: Workspace, other: Workspace) -> None:
    for cell in cells_of(workspace):
        for name in SAME:
            one, two = (Layout(each.results).cell(cell) / name for each in (workspace, other))
            assert one.read_bytes() == two.read_bytes(), one


def test_packed_grid_is_the_same_grid(finished: Workspace, finished_copy: Workspace) -> None:
    shutil.rmtree(finished_copy.results / "cells")
    run = finished_copy.snakemake("--cores", "2", TARGET, changes=PACKED)
    assert run.code == 0, run.shown_in_full()
    # 2 backbones x 2 inits outside; 2 modalities x 2 folds inside.
    assert run.jobs == {"train": 4, "evaluate": 1}
    assert_same_cells(finished_copy, finished)
    assert (finished_copy.folder / TARGET).read_bytes() == (finished.folder / TARGET).read_bytes()
    assert list((finished_copy.results / "checkpoints").rglob("*.pt")) == []


def test_other_packing_of_a_finished_grid_fits_nothing(finished_copy: Workspace) -> None:
    records = {cell: Layout(finished_copy.results).run(cell) for cell in cells_of(finished_copy)}
    before = {cell: file.read_bytes() for cell, file in records.items()}
    run = finished_copy.snakemake("--cores", "2", "--until", "train", changes={"cells_per_job": 16})
    assert run.code == 0, run.shown_in_full()
    assert run.jobs == {"train": 1}
    assert {cell: file.read_bytes() for cell, file in records.items()} == before
    log = (finished_copy.results / "logs" / "train" / "seed0.log").read_text(encoding="utf-8")
    assert log.count("done before with the same recipe, kept") == 16


def test_failed_job_is_made_up_for_without_fitting_its_good_cells_again(
    finished: Workspace, finished_copy: Workspace, stand_in: Path
) -> None:
    """Snakemake takes away the outputs of a failed job; the fits of its good cells are not lost with them."""
    without_cell(finished_copy, CELL, (*CELL[:4], 0))
    packed = {"cells_per_job": 2}
    moment = {"STAND_IN_MOMENT": "second failure", "STAND_IN_FOLD": "0 1"}
    run = finished_copy.snakemake("--cores", "1", TARGET, changes=packed, path=[stand_in], **moment)
    assert run.code != 0
    assert f"1 of 2 cells failed:\n{Cell(*CELL[:4], 1)}: failed (FloatingPointError)" in run.text
    assert not (finished_copy.folder / TARGET).exists()
    kept = finished_copy.results.joinpath("checkpoints", "cells", *CELL[:3], "seed0", "fold0.pt")
    history = torch.load(kept, weights_only=True)["state"]["fit"]["history"]

    again = finished_copy.snakemake("--cores", "1", TARGET, changes=packed)
    assert again.code == 0, again.shown_in_full()
    assert_same_cells(finished_copy, finished)
    good = finished_copy.folder / finished_copy.cell(*CELL[:4], 0)
    assert pd.read_csv(good / "history.csv")["seconds"].tolist() == [row["seconds"] for row in history]
    assert not kept.exists()


@pytest.mark.parametrize("moment", ["second failure", "start"])
def test_failed_retraining_does_not_bring_old_cells_back(finished_copy: Workspace, stand_in: Path, moment: str) -> None:
    """A job with an edited recipe fails, in its second cell or at once: what was there must not pass for new."""
    changes = {"cells_per_job": 2, "training": {"weight_decay": 0.1}}
    goals = [f"{finished_copy.cell(*CELL[:4], fold)}/run.json" for fold in (0, 1)]
    broken = {"STAND_IN_MOMENT": moment, "STAND_IN_FOLD": "0 1"}
    run = finished_copy.snakemake("--cores", "1", *goals, changes=changes, path=[stand_in], **broken)
    assert run.code != 0 and run.jobs == {"train": 1}, run.shown_in_full()
    again = finished_copy.snakemake("--cores", "1", *goals, changes=changes)
    assert again.code == 0, again.shown_in_full()
    for goal in goals:
        assert finished_copy.read_json(goal.removeprefix("results/"))["training"]["weight_decay"] == 0.1


@pytest.mark.parametrize("packing", [{"cells_per_job": 1}, {"cells_per_job": 2}])
def test_killed_cell_goes_on_from_its_last_epoch(
    finished: Workspace, finished_copy: Workspace, stand_in: Path, packing: dict[str, int]
) -> None:
    """A kill -9 of everything in the middle of the second epoch."""
    without_cell(finished_copy, CELL, (*CELL[:4], 0))
    mark = stand_in / "mark"
    folds = "0 1" if packing["cells_per_job"] == 2 else "1"
    environment = {"STAND_IN_MOMENT": "epoch", "STAND_IN_FOLD": folds, "STAND_IN_MARK": str(mark)}
    process = subprocess.Popen(
        finished_copy.command("--cores", "1", "--nolock", TARGET, changes=packing),
        cwd=finished_copy.folder,
        env=environ([stand_in]) | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(mark, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    again = finished_copy.snakemake("--cores", "1", "--rerun-incomplete", "--nolock", TARGET, changes=packing)
    assert again.code == 0, again.shown_in_full()
    assert_same_cells(finished_copy, finished)
    attempts = [
        [(one["first_epoch"], one["last_epoch"]) for one in finished_copy.read_json(f"{folder}/run.json")["attempts"]]
        for folder in (finished_copy.cell(*CELL[:4], fold).relative_to("results") for fold in (0, 1))
    ]
    # The cell that was under way has both attempts, of one epoch each; the other ran once.
    assert sorted(attempts, key=len) == [[(1, 2)], [(1, 1), (2, 2)]]
    assert (finished_copy.folder / TARGET).read_bytes() == (finished.folder / TARGET).read_bytes()
