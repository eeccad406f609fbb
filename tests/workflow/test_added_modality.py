"""A modality that is one more row of config/modalities.py goes the whole way to a trained cell."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from package_copy import PackageCopy
from workspace import Workspace

ROW = '    ModalityRow(name="ceus", title="CEUS", colours="perfusion"),\n'
LAST = '        drawing="stiffness",\n    ),\n'
CHANGES = {
    "cohort": {"modalities": ["bmode", "elastography", "ceus"]},
    "grid": {"backbones": ["test_resnet"], "inits": ["scratch"], "modalities": ["ceus"]},
    "statistics": {"pretraining_effect": None},
}


def test_a_cell_of_an_added_modality(workspace: Workspace, finished: Workspace, tmp_path: Path) -> None:
    copy = PackageCopy(tmp_path / "copy")
    copy.edit("config/modalities.py", LAST, LAST + ROW)
    cell = workspace.cell("test_resnet", "scratch", "ceus", 0, 0)
    command = workspace.command("--cores", "2", f"{cell}/run.json", changes=CHANGES)
    run = workspace.run(command, PYTHONPATH=str(copy.path))
    assert run.code == 0, run.shown_in_full()
    assert run.jobs == {"cohort": 1, "images": 1, "splits": 1, "audit": 1, "train": 1}
    record = workspace.read_json(f"{cell.relative_to('results')}/run.json")
    assert record["modality"] == "ceus"
    # No ruling says that a transform leaves its signs as they are.
    assert {by_modality["ceus"] for by_modality in record["training"]["augment"].values()} == {0.0}

    one, two = (pd.read_csv(each.results / "cohort" / "manifest.csv") for each in (workspace, finished))
    others = one[one["modality"] != "ceus"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others[["image_id", "sha256"]], two[["image_id", "sha256"]])
