"""A cell depends on nothing but itself: not on Snakemake, not on the other cells, not on what ran before."""

from __future__ import annotations

import re
import shutil

from workspace import Workspace

CELL = ("test_resnet", "pretrained", "elastography", 0, 0)


def printed_command(text: str) -> str:
    """The one command that `snakemake -n -p` prints; all its lines but the last end in a backslash."""
    found = re.findall(r"^ *(sonogrid (?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert len(found) == 1, text
    return str(found[0])


def test_printed_command_gives_the_same_cell_by_hand(finished: Workspace, finished_copy: Workspace) -> None:
    cell = finished_copy.cell(*CELL)
    shutil.rmtree(finished_copy.folder / cell)
    plan = finished_copy.dry_run("-p", f"{cell}/predictions.csv")
    assert plan.jobs == {"train": 1}
    command = printed_command(plan.text)
    assert "sonogrid --log" in command and "--fold 0" in command
    run = finished_copy.run(["bash", "-c", command])
    assert run.code == 0, run.shown_in_full()
    for name in ("predictions.csv", "model.safetensors"):
        assert (finished_copy.folder / cell / name).read_bytes() == (finished.folder / cell / name).read_bytes()


def test_cell_is_the_same_in_a_grid_of_its_own(finished: Workspace, finished_copy: Workspace) -> None:
    """Another grid, of which it is the only configuration and in which nothing else was trained, gives it too."""
    backbone, init, modality, *_ = CELL
    cell = finished_copy.cell(*CELL)
    shutil.rmtree(finished_copy.results / "cells")
    alone = {
        "grid": {"backbones": [backbone], "inits": [init], "modalities": [modality]},
        "statistics": {"pretraining_effect": None},
    }
    run = finished_copy.snakemake("--cores", "1", f"{cell}/predictions.csv", changes=alone)
    assert run.code == 0, run.shown_in_full()
    # The audit looks at the modalities of the grid; the pre-training has the same recipe and is kept.
    assert run.jobs == {"audit": 1, "corpus_audit": 1, "pretrain": 1, "train": 1}
    (log,) = (finished_copy.results / "logs" / "pretrain").glob(f"*/{backbone}/seed0.log")
    assert "done before with the same recipe, kept" in log.read_text(encoding="utf-8")
    assert (finished_copy.folder / cell / "predictions.csv").read_bytes() == (
        finished.folder / cell / "predictions.csv"
    ).read_bytes()
