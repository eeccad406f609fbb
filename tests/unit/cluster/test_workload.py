"""The work in a grid: images, speeds, fits and jobs, from files as the stages write them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from dummy_study import DEMO, PAPER, make_study

from sonogrid.cluster import workload as w
from sonogrid.cluster.rates import Rate, Setting, as_table, setting_of
from sonogrid.cluster.workload import Parts, Speed
from sonogrid.cohort.manifest import save_cohort
from sonogrid.config.study import Study
from sonogrid.files import write_csv
from sonogrid.grid import PRETRAINED_FOLDER, Cell, Grid, cell_folder, derive_seed
from sonogrid.images.examine import read_cohort
from sonogrid.splits import make_splits

PARTS = Parts(train=50.0, inner=10.0, test=30.0)


def rate(setting: Setting, **changes: object) -> Rate:
    """A rate with round numbers: 0.1 s an image in training, 0.02 s in prediction, 1 s a model, 8 s a job."""
    numbers: dict[str, object] = {
        "device": "a GPU",
        "torch": "2",
        "threads": 1,
        "repetitions": 5,
        "train_seconds": 0.1,
        "train_low": 0.1,
        "train_high": 0.1,
        "predict_seconds": 0.02,
        "predict_low": 0.02,
        "predict_high": 0.02,
        "model_seconds": 1.0,
        "panel_seconds": 0.5,
        "gpu_mb": 900.0,
        "start_seconds": 5.0,
        "job_seconds": 3.0,
    }
    return Rate(**(vars(setting) | numbers | changes))  # type: ignore[arg-type]


def write_rates(study: Study, **changes: object) -> None:
    """A rates.csv with every backbone of the study."""
    rows = [rate(setting_of(study, backbone, study.training), **changes) for backbone in study.grid.backbones]
    write_csv(as_table(rows), study.results / "rates.csv")


def write_run(folder: Path, study: Study, backbone: str, epochs: int, epoch_seconds: float, rest: float) -> None:
    """A finished fit as the stages leave it."""
    setting = setting_of(study, backbone, study.training)
    record = {
        "backbone": backbone,
        "input_size": setting.input_size,
        "training": study.training.model_dump(mode="json"),
        "study_seed": study.seed,
        "device": "a GPU",
        "seconds": epochs * epoch_seconds + rest,
        "epochs_run": epochs,
        "attempts": [{"first_epoch": 1, "last_epoch": epochs}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    write_csv(pd.DataFrame({"epoch": range(1, epochs + 1), "seconds": epoch_seconds}), folder / "history.csv")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The dummy study with its results in a folder of their own."""
    return make_study(DEMO, tmp_path / "results")


# ---- images


def test_simulated_images_are_counted_without_making_them(tmp_path):
    study = make_study(DEMO, tmp_path / "results", folds=2)
    source = study.cohort.phantom
    assert source is not None
    few = study.cohort.model_copy(update={"phantom": source.model_copy(update={"patients": 18, "missing": 0.05})})
    study = study.model_copy(update={"cohort": few})
    counted = w.images_of_study(study)
    assert counted is not None
    assert counted.source == "the settings of the simulation"
    assert counted.patients == 18

    cohort = read_cohort(few, derive_seed(study.seed, "cohort", "study"), study.results / "cohort")
    assert counted.images == len(cohort.images)
    totals = cohort.images["modality"].value_counts()
    assert {name: round(sum(vars(parts).values())) for name, parts in counted.parts.items()} == totals.to_dict()

    save_cohort(cohort, study.results / "cohort")
    read = w.images_of_study(study)
    assert read is not None
    assert read.parts == counted.parts
    assert read.source.endswith("manifest.csv")

    splits = make_splits(cohort.patients, cohort.images, study.splits, 1)
    write_csv(splits, study.results / "splits.csv")
    exact = w.images_of_study(study)
    assert exact is not None
    assert {name: round(sum(vars(parts).values())) for name, parts in exact.parts.items()} == totals.to_dict()
    part_of = splits.merge(cohort.images, on="patient_id")
    bmode = part_of[(part_of["modality"] == "bmode") & (part_of["part"] == "train")]
    assert exact.parts["bmode"].train == pytest.approx(len(bmode) / study.splits.folds)


def test_pictures_that_nobody_has_read_are_not_guessed(tmp_path):
    study = make_study(DEMO, tmp_path)
    folders = {"root": tmp_path, "labels": {}, "modalities": {}}
    read = study.cohort.model_validate(study.cohort.model_dump() | {"reader": "folders", "folders": folders})
    study = study.model_copy(update={"cohort": read})
    assert w.images_of_study(study) is None
    work = w.workload(study)
    assert all(fit.most is None for job in work.gpu_jobs for fit in job.fits if fit.stage == "train")


def test_a_corpus_has_all_its_modalities_and_no_test_part(study):
    counted = w.images_of_corpus(study, "pretrained")
    assert counted is not None
    parts = counted.parts["all"]
    assert parts.train + parts.inner == pytest.approx(counted.images)
    assert parts.inner == pytest.approx(counted.images * study.splits.inner_fraction)
    assert parts.test == 0


# ---- speeds


def test_whole_batches_are_used():
    assert w.used_images(PARTS, 16) == 48
    assert w.used_images(PARTS, 64) == 50
    assert w.used_images(Parts(0.0, 0.0, 0.0), 16) == 0


def test_seconds_of_a_fit_follow_from_a_rate():
    speed = w.speed_of_rate(rate(Setting("resnet18", 64, 16, True)))
    epoch = 48 * 0.1 + 10 * 0.02
    assert speed.seconds(PARTS, 16, 5) == pytest.approx(1.0 + 5 * epoch + (10 + 30) * 0.02)


def test_finished_fits_give_back_their_own_seconds(study):
    cell = Cell("resnet18", "scratch", "bmode", 0)
    write_run(cell_folder(study.results, cell), study, "resnet18", epochs=4, epoch_seconds=2.0, rest=1.5)
    run = w.read_run(cell_folder(study.results, cell), PARTS)
    assert run is not None
    speed = w.speed_of_runs([run], setting_of(study, "resnet18", study.training), "cell")
    assert speed is not None
    assert (speed.source, speed.device, speed.epochs) == ("1 cell done", "a GPU", 4.0)
    assert speed.seconds(PARTS, study.training.batch_size, 4) == pytest.approx(4 * 2.0 + 1.5)


def test_finished_fits_of_another_setting_say_nothing(study):
    folder = study.results / "cell"
    write_run(folder, study, "resnet18", 4, 2.0, 1.5)
    run = w.read_run(folder, PARTS)
    assert run is not None
    setting = setting_of(study, "resnet18", study.training)
    other = [Setting("resnet18", 65, 8, True), Setting("resnet18", 64, 9, True), Setting("resnet18", 64, 8, False)]
    assert setting not in other
    assert [w.speed_of_runs([run], one, "cell") for one in other] == [None] * 3


@pytest.mark.parametrize("content", ["", "{}", '{"backbone": "resnet18"}'])
def test_a_run_that_cannot_be_read_is_no_run(tmp_path, content):
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    write_csv(pd.DataFrame({"epoch": [1], "seconds": [1.0]}), tmp_path / "history.csv")
    assert w.read_run(tmp_path, PARTS) is None
    assert w.read_run(tmp_path / "nothing", PARTS) is None


def test_cells_that_shared_a_gpu_had_a_part_of_it(study):
    folder = study.results / "cell"
    write_run(folder, study, "resnet18", 4, 2.0, 2.0)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record["attempts"][-1]["cells_at_once"] = 4
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    run = w.read_run(folder, PARTS)
    assert run is not None
    assert (run.epoch_seconds, run.seconds) == (2.0, 2.5)


# ---- the workload


def test_without_rates_nothing_is_known(study):
    work = w.workload(study)
    assert work.start is None
    assert all(fit.most is None and fit.speed is None for job in work.gpu_jobs for fit in job.fits)


def test_every_cell_pretraining_and_panel_is_in_one_job(study):
    work = w.workload(study)
    fits = [fit.stage for job in work.gpu_jobs for fit in job.fits]
    grid = Grid.of(study)
    assert fits.count("train") == len(grid)
    assert fits.count("pretrain") == len(grid.backbones)
    assert fits.count("explain") == len(grid.backbones) * len(grid.inits)
    jobs = [job.makes[0] for job in work.gpu_jobs]
    assert {stage: jobs.count(stage) for stage in set(jobs)} == {
        stage: count for stage, count in work.jobs_by_stage.items() if stage in jobs
    }


@pytest.mark.parametrize("cells_per_job", [1, 3, 6, 9, 18, 100])
def test_jobs_wait_for_what_other_jobs_make(study, cells_per_job):
    study = study.model_copy(update={"cells_per_job": cells_per_job})
    work = w.workload(study)
    made = [job.makes for job in work.gpu_jobs]
    assert len(set(made)) == len(made)
    for job in work.gpu_jobs:
        assert job.needs <= set(made[: made.index(job.makes)])
    trained = [job for job in work.gpu_jobs if job.makes[0] == "train"]
    assert {len(job.fits) for job in trained} == {work.cells_in_a_job}
    assert all(any(need[0] == "train" for need in job.needs) for job in work.gpu_jobs if job.makes[0] == "explain")


def test_rates_make_every_second_known(study):
    write_rates(study)
    work = w.workload(study)
    assert work.start == 8.0
    fits = {fit.stage: fit for job in work.gpu_jobs for fit in job.fits}
    assert all(fit.most is not None for fit in fits.values())
    assert {fit.speed.source for fit in fits.values() if fit.speed} == {"rates.csv"}
    assert fits["explain"].most == pytest.approx(3 * 3 * 0.5)
    assert fits["train"].expected is None


def test_rates_of_another_size_are_not_used(study):
    write_rates(study, input_size=999)
    assert all(fit.speed is None for job in w.workload(study).gpu_jobs for fit in job.fits)


def test_finished_cells_come_before_rates_and_tell_the_expected_epochs(study):
    write_rates(study)
    done = Cell("resnet18", "scratch", "bmode", 1)
    write_run(cell_folder(study.results, done), study, "resnet18", epochs=3, epoch_seconds=2.0, rest=1.0)
    fits = [fit for job in w.workload(study).gpu_jobs for fit in job.fits if fit.stage == "train"]
    assert sum(fit.done for fit in fits) == 1
    sources = {fit.backbone: fit.speed.source for fit in fits if fit.speed}
    assert sources == {"resnet18": "1 cell done", "vit_tiny_patch16_224": "rates.csv"}
    known = [fit for fit in fits if fit.backbone == "resnet18"]
    assert all(fit.expected is not None and fit.most is not None and fit.expected < fit.most for fit in known)
    (one,) = [fit for fit in fits if fit.done]
    assert one.expected == pytest.approx(3 * 2.0 + 1.0)


def test_a_finished_pretraining_is_known(study):
    folder = study.results / PRETRAINED_FOLDER.format(init="pretrained", backbone="resnet18")
    write_run(folder, study, "resnet18", epochs=6, epoch_seconds=1.0, rest=0.5)
    (fit,) = [
        fit
        for job in w.workload(study).gpu_jobs
        for fit in job.fits
        if fit.stage == "pretrain" and fit.backbone == "resnet18"
    ]
    assert fit.done
    assert fit.most == pytest.approx(6.5)


def test_a_job_of_unknown_cells_is_unknown():
    known = w.Fit("train", "a", Speed(1, 1, 1, "x", "y"), 10.0, 5.0, False)
    unknown = w.Fit("train", "b", None, None, None, False)
    assert w.Job((known, known), ("train",)).seconds(8.0, expected=False) == 28.0
    assert w.Job((known, known), ("train",)).seconds(8.0, expected=True) == 18.0
    assert w.Job((known, unknown), ("train",)).seconds(8.0, expected=False) is None


def test_sizes_of_a_job_are_those_that_packing_gives():
    grid = Grid.of(make_study(PAPER, folds=5))
    sizes = w.possible_sizes(grid)
    assert sizes[0] == 1
    assert sizes[-1] == len(grid)
    assert sizes == tuple(sorted({grid.cells_in_a_job(limit) for limit in range(1, len(grid) + 1)}))


def test_a_cell_of_other_settings_is_still_to_be_done(study):
    """After an edit of the config its run.json says how fast cells are, and no more."""
    cell = next(Grid.of(study).cells())
    write_run(cell_folder(study.results, cell), study, cell.backbone, 3, 2.0, 1.0)
    edited = study.model_copy(update={"training": study.training.model_copy(update={"learning_rate": 0.5})})
    for one, done in ((study, 1), (edited, 0), (study.model_copy(update={"seed": study.seed + 1}), 0)):
        fits = [fit for job in w.workload(one).gpu_jobs for fit in job.fits if fit.stage == "train"]
        assert sum(fit.done for fit in fits) == done
        assert all(fit.speed is not None for fit in fits if fit.backbone == cell.backbone)
