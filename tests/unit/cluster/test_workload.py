"""The work in a grid: images, speeds, fits and jobs, from files as the stages write them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from dummy_study import DEMO, PAPER, make_study

from sonogrid.cluster import speeds
from sonogrid.cluster import workload as w
from sonogrid.cluster.image_counts import PartCounts, images_of_corpus, images_of_study
from sonogrid.cluster.rates import FitSetting, Rate, rates_table, setting_of
from sonogrid.cluster.requests import Request, requests
from sonogrid.cluster.speeds import Speed, read_run
from sonogrid.cohort.manifest import save_cohort
from sonogrid.config.study import Study
from sonogrid.files import write_csv
from sonogrid.grid import Cell, Grid, cohort_seed
from sonogrid.images.examine import read_cohort
from sonogrid.layout import Layout
from sonogrid.splits import make_splits

PARTS = PartCounts(train=50.0, inner=10.0, test=30.0)


def rate(setting: FitSetting, **changes: object) -> Rate:
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
    write_csv(rates_table(rows), Layout(study.results).rates)


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
    counted = images_of_study(study)
    assert counted is not None
    assert counted.source == "the settings of the simulation"
    assert counted.patients == 18

    cohort = read_cohort(few, cohort_seed(study.seed), study.results / "cohort")
    assert counted.images == len(cohort.images)
    totals = cohort.images["modality"].value_counts()
    assert {name: round(sum(vars(parts).values())) for name, parts in counted.parts.items()} == totals.to_dict()

    save_cohort(cohort, study.results / "cohort")
    read = images_of_study(study)
    assert read is not None
    assert read.parts == counted.parts
    assert read.source.endswith("manifest.csv")

    splits = make_splits(cohort.patients, cohort.images, study.splits, 1)
    write_csv(splits, study.results / "splits.csv")
    exact = images_of_study(study)
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
    assert images_of_study(study) is None
    work = w.workload(study)
    assert all(fit.most is None for job in work.gpu_jobs for fit in job.fits if fit.rule == "train")


def test_a_corpus_has_all_its_modalities_and_no_test_part(study):
    counted = images_of_corpus(study, "pretrained")
    assert counted is not None
    parts = counted.parts["all"]
    assert parts.train + parts.inner == pytest.approx(counted.images)
    assert parts.inner == pytest.approx(counted.images * study.splits.inner_fraction)
    assert parts.test == 0


# ---- speeds


def test_whole_batches_are_used():
    assert speeds.used_images(PARTS, 16) == 48
    assert speeds.used_images(PARTS, 64) == 50
    assert speeds.used_images(PartCounts(0.0, 0.0, 0.0), 16) == 0


def test_seconds_of_a_fit_follow_from_a_rate():
    speed = speeds.speed_of_rate(rate(FitSetting("resnet18", 64, 16, True)))
    epoch = 48 * 0.1 + 10 * 0.02
    assert speed.seconds(PARTS, 16, 5) == pytest.approx(1.0 + 5 * epoch + (10 + 30) * 0.02)


def test_finished_fits_give_back_their_own_seconds(study):
    cell = Cell("resnet18", "scratch", "bmode", 0, 0)
    write_run(Layout(study.results).cell(cell), study, "resnet18", epochs=4, epoch_seconds=2.0, rest=1.5)
    run = read_run(Layout(study.results).cell(cell), PARTS)
    assert run is not None
    speed = speeds.speed_of_runs([run], setting_of(study, "resnet18", study.training), "cell")
    assert speed is not None
    assert (speed.source, speed.device, speed.epochs) == ("1 cell done", "a GPU", 4.0)
    assert speed.seconds(PARTS, study.training.batch_size, 4) == pytest.approx(4 * 2.0 + 1.5)


def test_finished_fits_of_another_setting_say_nothing(study):
    folder = study.results / "cell"
    write_run(folder, study, "resnet18", 4, 2.0, 1.5)
    run = read_run(folder, PARTS)
    assert run is not None
    setting = setting_of(study, "resnet18", study.training)
    other = [
        FitSetting("resnet18", 65, 8, True),
        FitSetting("resnet18", 64, 9, True),
        FitSetting("resnet18", 64, 8, False),
    ]
    assert setting not in other
    assert [speeds.speed_of_runs([run], one, "cell") for one in other] == [None] * 3


@pytest.mark.parametrize("content", ["", "{}", '{"backbone": "resnet18"}'])
def test_a_run_that_cannot_be_read_is_no_run(tmp_path, content):
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    write_csv(pd.DataFrame({"epoch": [1], "seconds": [1.0]}), tmp_path / "history.csv")
    assert read_run(tmp_path, PARTS) is None
    assert read_run(tmp_path / "nothing", PARTS) is None


def test_cells_that_shared_a_gpu_had_a_part_of_it(study):
    folder = study.results / "cell"
    write_run(folder, study, "resnet18", 4, 2.0, 2.0)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record["attempts"][-1]["cells_at_once"] = 4
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    run = read_run(folder, PARTS)
    assert run is not None
    assert (run.epoch_seconds, run.seconds) == (2.0, 2.5)


# ---- the workload


def test_without_rates_nothing_is_known(study):
    work = w.workload(study)
    assert work.start is None
    assert all(fit.most is None and fit.speed is None for job in work.gpu_jobs for fit in job.fits)


def with_seeds(study: Study, *seeds: int) -> Study:
    """The study with these seeds."""
    return study.model_copy(update={"grid": study.grid.model_copy(update={"seeds": seeds})})


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 5)])
def test_every_cell_pretraining_and_panel_is_in_one_job(study, seeds):
    study = with_seeds(study, *seeds)
    work = w.workload(study)
    fits = [fit.rule for job in work.gpu_jobs for fit in job.fits]
    grid = Grid.of(study)
    backbones, inits = len(study.grid.backbones), len(study.grid.inits)
    assert fits.count("train") == len(grid) == 36 * len(seeds)
    assert fits.count("pretrain") == backbones * len(seeds)
    assert fits.count("explain") == backbones * inits
    jobs = [job.name[0] for job in work.gpu_jobs]
    assert {rule: jobs.count(rule) for rule in set(jobs)} == {
        rule: request.jobs for rule, request in work.requests.items() if request.gpus
    }


def test_cells_wait_for_the_pretraining_of_their_seed_and_panels_for_the_first_seed(study):
    jobs = {job.name: job for job in w.workload(with_seeds(study, 3, 1)).gpu_jobs}
    cell = jobs["train", "resnet18", "pretrained", "bmode", "1", "2"]
    assert cell.needs == {("pretrain", "pretrained", "resnet18", "1")}
    assert jobs["train", "resnet18", "scratch", "bmode", "1", "2"].needs == set()
    panel = jobs["explain", "resnet18", "scratch"]
    assert len(panel.needs) == 3 * 3
    assert {name[4] for name in panel.needs} == {"3"}


def test_a_panel_is_done_when_every_file_of_it_is_there(study):
    def done() -> list[bool]:
        jobs = {job.name: job for job in w.workload(study).gpu_jobs}
        return [jobs["explain", "resnet18", init].fits[0].done for init in ("scratch", "pretrained")]

    layout = Layout(study.results)
    layout.figure("x", "csv").parent.mkdir(parents=True)
    assert done() == [False, False]
    layout.figure("gradcam_resnet18_scratch", "csv").touch()
    assert done() == [False, False]
    for suffix in study.figures.formats:
        layout.figure("gradcam_resnet18_scratch", suffix).touch()
    assert done() == [True, False]


def test_a_finished_pretraining_counts_for_its_seed_only(study):
    study = with_seeds(study, 0, 4)
    folder = Layout(study.results).pretrained("pretrained", "resnet18", 4)
    write_run(folder, study, "resnet18", epochs=6, epoch_seconds=1.0, rest=0.5)
    jobs = {job.name: job for job in w.workload(study).gpu_jobs}
    done = {
        name[3]: job.fits[0].done for name, job in jobs.items() if name[:3] == ("pretrain", "pretrained", "resnet18")
    }
    assert done == {"0": False, "4": True}


def test_rules_without_jobs_ask_nothing(study):
    inits = {"scratch": study.inits["scratch"]}
    grid = study.grid.model_copy(update={"inits": ("scratch",)})
    alone = study.model_copy(update={"inits": inits, "grid": grid})
    assert {"pretrain", "corpus_cohort", "corpus_images", "corpus_audit"} <= set(w.workload(study).requests)
    assert set(w.workload(alone).requests) == {"cohort", "images", "audit", "train", "evaluate", "explain", "figures"}


@pytest.mark.parametrize("cells_per_job", [1, 3, 6, 9, 18, 100])
def test_jobs_wait_for_what_other_jobs_make(study, cells_per_job):
    study = study.model_copy(update={"cells_per_job": cells_per_job})
    work = w.workload(study)
    made = [job.name for job in work.gpu_jobs]
    assert len(set(made)) == len(made)
    for job in work.gpu_jobs:
        assert job.needs <= set(made[: made.index(job.name)])
    trained = [job for job in work.gpu_jobs if job.name[0] == "train"]
    assert {len(job.fits) for job in trained} == {work.cells_in_a_job}
    assert len(trained) == work.requests["train"].jobs
    assert all(any(need[0] == "train" for need in job.needs) for job in work.gpu_jobs if job.name[0] == "explain")


def test_rates_make_every_second_known(study):
    write_rates(study)
    work = w.workload(study)
    assert work.start == 8.0
    fits = {fit.rule: fit for job in work.gpu_jobs for fit in job.fits}
    assert all(fit.most is not None for fit in fits.values())
    assert {fit.speed.source for fit in fits.values() if fit.speed} == {"rates.csv"}
    assert fits["explain"].most == pytest.approx(3 * 3 * 0.5)
    assert fits["train"].expected is None


def test_rates_of_another_size_are_not_used(study):
    write_rates(study, input_size=999)
    assert all(fit.speed is None for job in w.workload(study).gpu_jobs for fit in job.fits)


def test_finished_cells_come_before_rates_and_tell_the_expected_epochs(study):
    write_rates(study)
    done = Cell("resnet18", "scratch", "bmode", 0, 1)
    write_run(Layout(study.results).cell(done), study, "resnet18", epochs=3, epoch_seconds=2.0, rest=1.0)
    fits = [fit for job in w.workload(study).gpu_jobs for fit in job.fits if fit.rule == "train"]
    assert sum(fit.done for fit in fits) == 1
    sources = {fit.backbone: fit.speed.source for fit in fits if fit.speed}
    assert sources == {"resnet18": "1 cell done", "vit_tiny_patch16_224": "rates.csv"}
    known = [fit for fit in fits if fit.backbone == "resnet18"]
    assert all(fit.expected is not None and fit.most is not None and fit.expected < fit.most for fit in known)
    (one,) = [fit for fit in fits if fit.done]
    assert one.expected == pytest.approx(3 * 2.0 + 1.0)


def test_a_finished_pretraining_is_known(study):
    folder = Layout(study.results).pretrained("pretrained", "resnet18", 0)
    write_run(folder, study, "resnet18", epochs=6, epoch_seconds=1.0, rest=0.5)
    (fit,) = [
        fit
        for job in w.workload(study).gpu_jobs
        for fit in job.fits
        if fit.rule == "pretrain" and fit.backbone == "resnet18"
    ]
    assert fit.done
    assert fit.most == pytest.approx(6.5)


def test_a_job_of_unknown_cells_is_unknown():
    known = w.PlannedFit("train", "a", Speed(1, 1, 1, "x", "y"), 10.0, 5.0, False)
    unknown = w.PlannedFit("train", "b", None, None, None, False)
    assert w.PlannedJob((known, known), ("train",)).seconds(8.0, expected=False) == 28.0
    assert w.PlannedJob((known, known), ("train",)).seconds(8.0, expected=True) == 18.0
    assert w.PlannedJob((known, unknown), ("train",)).seconds(8.0, expected=False) is None


def test_sizes_of_a_job_are_those_that_packing_gives():
    grid = Grid.of(make_study(PAPER, folds=5))
    sizes = w.possible_sizes(grid)
    assert sizes[0] == 1
    assert sizes[-1] == len(grid)
    assert sizes == tuple(sorted({grid.cells_in_a_job(limit) for limit in range(1, len(grid) + 1)}))


def test_a_cell_of_other_settings_is_still_to_be_done(study):
    """After an edit of the config its run.json says how fast cells are, and no more."""
    cell = next(Grid.of(study).cells())
    write_run(Layout(study.results).cell(cell), study, cell.backbone, 3, 2.0, 1.0)
    edited = study.model_copy(update={"training": study.training.model_copy(update={"learning_rate": 0.5})})
    for one, done in ((study, 1), (edited, 0), (study.model_copy(update={"seed": study.seed + 1}), 0)):
        fits = [fit for job in w.workload(one).gpu_jobs for fit in job.fits if fit.rule == "train"]
        assert sum(fit.done for fit in fits) == done
        assert all(fit.speed is not None for fit in fits if fit.backbone == cell.backbone)


def test_a_cell_is_current_however_its_record_writes_the_strengths(study):
    """run.json has one strength per transform and modality, as the fit used it; the config may have one number."""
    cell = next(Grid.of(study).cells())
    folder = Layout(study.results).cell(cell)
    write_run(folder, study, cell.backbone, 3, 2.0, 1.0)
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    numbers = study.training.augment.model_dump()
    record["training"]["augment"] = {name: {"bmode": value} for name, value in numbers.items()}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    run = read_run(folder, PARTS)
    assert run is not None and cell.modality == "bmode"
    assert speeds.is_current(run, study, study.training, ["bmode"])
    other = study.training.augment.model_copy(update={"shift": 0.2})
    assert not speeds.is_current(run, study, study.training.model_copy(update={"augment": other}), ["bmode"])


def test_every_rule_that_asks_for_a_job_is_planned():
    """An entry of requests() says its number of jobs; rates are measured on demand."""
    study = make_study(DEMO)
    assert set(requests(study)) - {"rates"} == set(w.workload(study).requests)
    assert Request(0, 1, 4000, 30).jobs == 1, "an entry without a number of jobs is shown"
