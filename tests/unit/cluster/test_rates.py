"""Rates: which settings are measured, what a measurement says, and its file."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dummy_study import DEMO, make_study

from sonogrid.cluster import rates
from sonogrid.cluster.rates import FitSetting, Rate
from sonogrid.config.needs import Parts, parse_part
from sonogrid.config.study import Study
from sonogrid.files import write_csv
from sonogrid.problems import InputError

TINY = DEMO | {"backbones": ("test_resnet",), "modalities": ("bmode",)}


def tiny_study() -> Study:
    """One tiny backbone at 32 px."""
    study = make_study(TINY)
    return study.model_copy(update={"images": study.images.model_copy(update={"size": 32})})


def with_recipe(study: Study, **changes: object) -> Study:
    """The study with another recipe of pre-training."""
    init = study.inits["pretrained"]
    assert init.training is not None
    recipe = init.training.model_copy(update=changes)
    return study.model_copy(
        update={"inits": study.inits | {"pretrained": init.model_copy(update={"training": recipe})}}
    )


@pytest.fixture(scope="module")
def measured() -> Rate:
    """One setting, measured for a moment."""
    study = tiny_study()
    threads = torch.get_num_threads()
    (setting,) = rates.fit_settings(study)
    try:
        return rates.measure_setting(setting, study, 0.1, 1, start=2.5, job=None)
    finally:
        torch.set_num_threads(threads)


def test_settings_are_those_of_cells_and_of_pretraining_each_once():
    study = tiny_study()
    assert rates.fit_settings(study) == [FitSetting("test_resnet", 32, 8, True)]
    assert rates.fit_settings(with_recipe(study, batch_size=4)) == [
        FitSetting("test_resnet", 32, 8, True),
        FitSetting("test_resnet", 32, 4, True),
    ]
    assert rates.fit_settings(with_recipe(study, epochs=99)) == rates.fit_settings(study)


def test_settings_know_the_size_of_each_backbone():
    study = make_study(DEMO)
    images = study.images.model_copy(update={"input_size": {"resnet18": 40}})
    study = study.model_copy(update={"images": images})
    assert {one.backbone: one.input_size for one in rates.fit_settings(study)} == {
        "resnet18": 40,
        "vit_tiny_patch16_224": 64,
    }


def test_an_init_that_the_grid_does_not_run_is_not_measured():
    study = with_recipe(tiny_study(), batch_size=4)
    study = study.model_copy(update={"grid": study.grid.model_copy(update={"inits": ("scratch",)})})
    assert len(rates.fit_settings(study)) == 1


def test_a_measurement_says_how_long_and_how_it_was_made(measured):
    assert measured.repetitions >= rates.LEAST_REPETITIONS
    assert 0 < measured.train_low <= measured.train_seconds <= measured.train_high
    assert 0 < measured.predict_low <= measured.predict_seconds <= measured.predict_high
    # A step has a backward pass and an optimiser besides what a prediction has.
    assert measured.predict_seconds < measured.train_seconds < 1
    assert measured.model_seconds >= 0
    assert measured.panel_seconds > 0
    assert (measured.torch, measured.threads, measured.start_seconds) == (torch.__version__, 1, 2.5)
    assert measured.job_seconds is None
    if not torch.cuda.is_available():
        assert (measured.device, measured.gpu_mb) == ("cpu", None)


def test_the_keys_that_the_stage_gets_are_enough_to_measure():
    """Reading a key that `--study` does not have raises AttributeError."""
    study = tiny_study()
    part = parse_part(Parts(study).json("rates"))
    assert rates.fit_settings(part) == rates.fit_settings(study)
    setting = rates.fit_settings(part)[0]
    found = rates.measure_setting(setting, part, 0.01, torch.get_num_threads(), 1.0, None)
    assert found.backbone == "test_resnet"


def test_a_measurement_leaves_the_random_state_alone():
    study = tiny_study()
    before = torch.get_rng_state()
    rates.measure_setting(rates.fit_settings(study)[0], study, 0.01, torch.get_num_threads(), 1.0, None)
    assert torch.equal(torch.get_rng_state(), before)


def test_rates_are_read_as_they_were_written(measured, tmp_path):
    on_gpu = dataclasses.replace(measured, backbone="resnet18", gpu_mb=812.5, job_seconds=4.0, device="GPU, 80 GB")
    write_csv(rates.rates_table([measured, on_gpu]), tmp_path / "rates.csv")
    assert rates.read_rates(tmp_path / "rates.csv") == [measured, on_gpu]


def test_no_file_is_no_rates(tmp_path):
    assert rates.read_rates(tmp_path / "rates.csv") == []


@pytest.mark.parametrize("content", ["", "backbone,device\nresnet18,cpu\n", "not,rates\n1,2\n"])
def test_another_file_is_refused(tmp_path, content):
    file = tmp_path / "rates.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"rates\.csv: is not a table of rates"):
        rates.read_rates(file)


def test_every_setting_that_cannot_be_measured_is_named(monkeypatch):
    def fail(setting: FitSetting, *_: object) -> Rate:
        raise RuntimeError(f"CUDA out of memory for {setting.batch_size}\nmore")

    monkeypatch.setattr(rates, "measure_setting", fail)
    monkeypatch.setattr(rates, "start_seconds", lambda: 1.0)
    with pytest.raises(InputError) as caught:
        rates.measure_rates(with_recipe(tiny_study(), batch_size=4), 1.0, 1)
    assert [problem.where for problem in caught.value.problems] == [
        "test_resnet at 32 px, batch 8",
        "test_resnet at 32 px, batch 4",
    ]
    assert "(CUDA out of memory for 8)" in caught.value.problems[0].what


def test_the_start_of_a_process_is_measured(monkeypatch):
    monkeypatch.setattr(rates, "START_UP", "pass")
    assert 0 < rates.start_seconds(repetitions=1) < 60


def test_repetitions_end_at_the_budget_but_are_never_too_few(monkeypatch):
    monkeypatch.setattr(rates, "REPETITION_SECONDS", 0.0)
    calls: list[int] = []
    found = rates.repeated(lambda: calls.append(1), budget=0.0)
    assert len(found) == rates.LEAST_REPETITIONS
    assert len(rates.repeated(lambda: None, budget=1000.0)) == rates.MOST_REPETITIONS
