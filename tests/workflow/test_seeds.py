"""A grid with two seeds: seed 0 is the study without the axis, and values are means over both."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from workspace import Workspace

from sonogrid.files import sha256
from sonogrid.grid import CONFIGURATION, Cell
from sonogrid.layout import Layout

ALONE: dict[str, Any] = {
    "grid": {"backbones": ["test_resnet"], "modalities": ["bmode"], "seeds": [0, 1]},
    "splits": {"folds": 2},
}
SEEDS, FOLDS = (0, 1), (0, 1)
SCRATCH, PRETRAINED = (
    {seed: [Cell("test_resnet", init, "bmode", seed, fold) for fold in FOLDS] for seed in SEEDS}
    for init in ("scratch", "pretrained")
)


@pytest.fixture(scope="module")
def seeded(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The smallest study with a second seed for one backbone and modality, after its run."""
    workspace = finished.copy(tmp_path_factory.mktemp("seeds") / "workspace")
    run = workspace.snakemake("--cores", "2", changes=ALONE)
    assert run.code == 0, run.shown_in_full()
    # The audit looks at the modalities of the grid, so seed 0 is planned too; its jobs keep what is done.
    assert {rule: run.jobs[rule] for rule in ("pretrain", "train")} == {"pretrain": 2, "train": 8}
    return workspace


def test_cells_of_seed_0_are_those_of_the_study_without_seeds(seeded: Workspace, finished: Workspace) -> None:
    one, two = Layout(seeded.results), Layout(finished.results)
    for cell in (*SCRATCH[0], *PRETRAINED[0]):
        for file in (Layout.cell_predictions, Layout.model):
            assert file(one, cell).read_bytes() == file(two, cell).read_bytes()


def test_another_seed_is_another_model_on_the_same_patients(seeded: Workspace) -> None:
    layout = Layout(seeded.results)
    for cells in (SCRATCH, PRETRAINED):
        for pair in zip(*cells.values(), strict=True):
            one, two = (pd.read_csv(layout.cell_predictions(cell)) for cell in pair)
            for column in ("image_id", "part", "label", "fold"):
                assert one[column].tolist() == two[column].tolist()
            assert not (one["logit_benign"] == two["logit_benign"]).any()
            assert (set(one["seed"]), set(two["seed"])) == ({0}, {1})


def test_pretrained_cells_start_from_the_pretraining_of_their_seed(seeded: Workspace) -> None:
    layout = Layout(seeded.results)
    used = {
        seed: {seeded.read_json(str(layout.run(cell)))["inputs"]["first weights"] for cell in PRETRAINED[seed]}
        for seed in SEEDS
    }
    made = {seed: {sha256(layout.pretrained_weights("pretrained", "test_resnet", seed))} for seed in SEEDS}
    assert used == made
    assert made[0] != made[1]


def test_the_value_of_a_table_is_the_mean_over_seeds(seeded: Workspace) -> None:
    metrics = pd.read_csv(seeded.results / "metrics.csv", dtype={"seed": str, "fold": str}, keep_default_na=False)
    rows = metrics.query("metric == 'roc_auc_ovo' and level == 'patient' and pooling == 'log' and fold == 'mean'")
    values = rows.assign(value=pd.to_numeric(rows["value"])).drop_duplicates([*CONFIGURATION, "seed"])
    for _, group in values.groupby(CONFIGURATION):
        by_seed = group.set_index("seed")["value"]
        assert set(by_seed.index) == {"0", "1", "mean"}
        assert by_seed["mean"] == pytest.approx((by_seed["0"] + by_seed["1"]) / 2, abs=1e-12)


def test_captions_say_how_many_seeds(seeded: Workspace, finished: Workspace) -> None:
    said = "2 folds and 2 seeds"
    for name in ("tables/ablation.md", "report.html"):
        assert said in (seeded.results / name).read_text(encoding="utf-8"), name
        assert "seeds" not in (finished.results / name).read_text(encoding="utf-8").replace("seeds=", ""), name
