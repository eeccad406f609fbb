"""Where results lie: one place per result, the same for paths and Snakemake patterns, and former results refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from dummy_study import DEMO, make_grid, make_study

from sonogrid.cohort.manifest import IMAGE_COLUMNS
from sonogrid.evaluation.measurements import METRIC_COLUMNS
from sonogrid.grid import AXES, Cell
from sonogrid.layout import ANY_CELL, ANY_PRETRAINING, Layout, first_weights, refuse_former_results
from sonogrid.problems import InputError

LAYOUT = Layout(Path("results"))


def test_a_cell_has_a_folder_of_its_own_that_names_every_axis() -> None:
    assert LAYOUT.cell(Cell("b", "i", "m", 3, 1)) == Path("results/cells/b/i/m/seed3/fold1")
    grid = make_grid(("a", "b"), ("x",), ("bmode", "cdfi"), 3, seeds=(0, 4))
    assert len({LAYOUT.cell(cell) for cell in grid.cells()}) == len(grid) == 24


def test_a_pattern_filled_with_a_cell_is_the_path_of_the_cell() -> None:
    cell = Cell("resnet18.a1_in1k", "scratch", "cdfi", 0, 2)
    values = dict(zip(AXES, ("resnet18.a1_in1k", "scratch", "cdfi", 0, 2), strict=True))
    assert str(LAYOUT.model(ANY_CELL)).format(**values) == str(LAYOUT.model(cell))
    pattern = str(LAYOUT.pretrained_weights(*ANY_PRETRAINING))
    assert pattern.format(init="p", backbone="b", seed=1) == "results/pretrained/p/b/seed1/weights.safetensors"


def test_corpus_and_cohort_have_the_same_files_in_different_folders() -> None:
    names = ("patients", "manifest", "refused", "certificate")
    cohort, corpus = LAYOUT.cohort, LAYOUT.corpus("p")
    assert not {getattr(cohort, name) for name in names} & {getattr(corpus, name) for name in names}
    assert cohort.store("cdfi") == Path("results/images/cdfi.npy")
    assert corpus.index("cdfi") == Path("results/pretrained/p/corpus/images/cdfi.csv")
    assert LAYOUT.cohort_of(None) == cohort and LAYOUT.cohort_of("p") == corpus


def test_checkpoints_outside_of_the_results_are_a_folder_per_study(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    cell = Cell("b", "i", "m", 0, 1)
    inside = one.checkpoint(one.cell(cell), one.checkpoints)
    assert inside == tmp_path / "one/checkpoints/cells/b/i/m/seed0/fold1.pt"
    scratch = tmp_path / "scratch"
    files = {layout.checkpoint(layout.cell(cell), scratch) for layout in (one, two)}
    assert len(files) == 2
    assert all(file.is_relative_to(scratch) for file in files)


def test_first_weights_by_source() -> None:
    study = make_study(DEMO)
    assert first_weights(study, "scratch", "resnet18", 0) is None
    expected = Path("results/pretrained/pretrained/resnet18/seed1/weights.safetensors")
    assert first_weights(study, "pretrained", "resnet18", 1) == expected


FORMER = {
    "a finished cell": ("cells/resnet18/scratch/bmode/fold0/run.json", "{}"),
    "a cell without its record": ("cells/resnet18/scratch/bmode/fold0/model.safetensors", ""),
    "a pre-training": ("pretrained/pretrained/resnet18/weights.safetensors", ""),
    "a fit that was cut short": ("checkpoints/cells/resnet18/scratch/bmode/fold0.pt", ""),
    "a pre-training that was cut short": ("checkpoints/pretrained/pretrained/resnet18.pt", ""),
    "a manifest": ("cohort/manifest.csv", "image_id,patient_id,modality,path,frame,sha256\n"),
    "a manifest of a corpus": ("pretrained/pretrained/corpus/manifest.csv", "image_id,patient_id,modality,path\n"),
    "merged predictions": ("predictions.csv", "backbone,init,modality,fold,part\n"),
    "measurements": ("metrics.csv", "backbone,init,modality,fold,level\n"),
}


@pytest.mark.parametrize("what", FORMER)
def test_results_without_seeds_are_refused_and_left_alone(tmp_path: Path, what: str) -> None:
    name, text = FORMER[what]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        refuse_former_results(tmp_path)
    message = str(caught.value)
    assert f"config key results, {tmp_path}: was made by version 0.1" in message
    assert "Name another folder there, or move" in message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
    assert file.read_text(encoding="utf-8") == text


def test_results_of_this_version_and_an_empty_folder_are_taken(tmp_path: Path) -> None:
    refuse_former_results(tmp_path / "missing")
    layout, cell = Layout(tmp_path), Cell("b", "i", "m", 0, 1)
    pretraining = layout.pretrained("i", "b", 0)
    files = {
        **dict.fromkeys((layout.run(cell), layout.model(cell), pretraining / "run.json"), ""),
        **dict.fromkeys((layout.checkpoint(each, layout.checkpoints) for each in (layout.cell(cell), pretraining)), ""),
        **dict.fromkeys((layout.cohort.manifest, layout.corpus("i").manifest), ",".join(IMAGE_COLUMNS)),
        layout.predictions: ",".join(AXES),
        layout.metrics: ",".join(METRIC_COLUMNS),
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")
    refuse_former_results(tmp_path)
