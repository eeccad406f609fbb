"""What `sonogrid plan` prints."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dummy_study import DEMO, make_study
from rich.console import Console
from unit.cluster.test_profile import END, MEMORY, MINUTES, edited, read
from unit.cluster.test_workload import write_rates, write_run

from sonogrid.cluster import full_check, plan, show_plan, slurm
from sonogrid.cluster.profile import Profile, site_profile
from sonogrid.cluster.site import Site
from sonogrid.cluster.workload import PlannedJob, workload
from sonogrid.config.study import Study
from sonogrid.grid import Cell, Grid
from sonogrid.layout import Layout


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """The dummy study with its results in a folder of their own."""
    return make_study(DEMO, tmp_path / "results")


def shown(
    study: Study,
    site: Site | None = None,
    configs: tuple[Path, ...] = (Path("config.yaml"),),
    profile: Profile | None = None,
) -> str:
    """The plan as a pipe gets it."""
    file, site = io.StringIO(), site or Site()
    console = Console(file=file, width=show_plan.WIDTH, highlight=False)
    show_plan.show_plan(study, site, profile or site_profile(site), 64, configs, console)
    return file.getvalue()


def cells(text: str, beginning: str) -> list[str]:
    """The words of the line that begins so."""
    (line,) = [line for line in text.splitlines() if " ".join(line.split()).startswith(beginning)]
    return line.split()


def unfolded(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def test_a_plan_fits_its_width_and_is_plain_when_piped(study):
    write_rates(study)
    text = shown(study)
    assert max(map(len, text.splitlines())) <= show_plan.WIDTH
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert text.isascii()
    assert text.startswith(
        "Study dummy: 2 backbones x 2 inits x 3 modalities x 1 seed x 3 folds = 36 cells; 1 in a job\n"
    )


def test_jobs_of_every_rule_are_shown_with_what_they_ask(study, monkeypatch):
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    study = study.model_copy(update={"cells_per_job": 3})
    text = shown(study, Site(partition="gpu", cpu_partition="small", gres="gpu:h200:1"))
    assert cells(text, "train 12") == [
        *("train", "12", "--gres=gpu:h200:1", "1", "6,000", "180", "18,000", "540", "gpu")
    ]
    assert cells(text, "cohort 1") == ["cohort", "1", "-", "4", "8,000", "480", "24,000", "1,440", "small"]
    assert cells(text, "corpus_cohort 1")[1:] == cells(text, "cohort 1")[1:]
    assert "the default" in shown(study)


def test_without_rates_the_plan_invents_nothing_and_names_the_command(study):
    text = shown(study, configs=(Path("config.yaml"), Path("studies/x.yaml")))
    assert cells(text, "train resnet18") == ["train", "resnet18", "18", "0", "?", "?", "-", "no", "rate"]
    assert cells(text, "all 42")[2:] == ["0", "?", "-"]
    assert cells(text, "4 ?") == ["4", "?", "-"]
    assert f"    snakemake --profile slurm {study.results}/rates.csv --configfile studies/x.yaml\n" in text
    assert "No rate is known of resnet18, vit_tiny_patch16_224 at" in unfolded(text)


def test_without_a_manifest_the_plan_names_the_command_that_reads_the_pictures(study):
    folders = {"root": study.results, "labels": {}, "modalities": {}}
    cohort = study.cohort.model_validate(study.cohort.model_dump() | {"reader": "folders", "folders": folders})
    text = shown(study.model_copy(update={"cohort": cohort}))
    assert "The number of images of the cohort is not known yet." in text
    assert f"    snakemake --profile slurm {study.results}/cohort/manifest.csv\n" in text


def test_costs_add_up(study):
    write_rates(study)
    work = workload(study)
    known = [fit.most for job in work.gpu_jobs for fit in job.fits]
    expected = sum(value for value in known if value is not None) + 8.0 * len(work.gpu_jobs)
    rows = plan.cost_rows(work)
    assert rows[-1][:4] == ["all", "", "42", "0"]
    assert rows[-1][5] == plan.as_hours(expected)
    assert {row[7] for row in rows[:-1]} == {"rates.csv"}
    assert {row[8] for row in rows[:-1]} == {"a GPU"}


def test_finished_cells_give_the_expected_cost_and_what_is_left(study):
    write_rates(study)
    for backbone in study.grid.backbones:
        folder = Layout(study.results).cell(Cell(backbone, "scratch", "bmode", 0, 0))
        write_run(folder, study, backbone, epochs=3, epoch_seconds=20.0, rest=1.0)
    text = shown(study)
    row = cells(text, "train resnet18")
    assert row[2:4] == ["18", "1"]
    assert float(row[6]) > float(row[7])
    assert row[-5:] == ["1", "cell", "done", "a", "GPU"]
    assert "on average resnet18 3.0, vit_tiny_patch16_224 3.0." in unfolded(text)
    assert "Left: 40 of 42 runs" in unfolded(text)


def test_rates_of_a_cpu_are_told_to_say_nothing_of_a_gpu(study):
    write_rates(study, device="cpu")
    assert "A rate was measured on a CPU" in shown(study)
    write_rates(study)
    assert "measured on a CPU" not in shown(study)


def test_packing_is_recommended_where_starting_takes_much_of_a_job(study):
    write_rates(study, start_seconds=500.0, train_seconds=0.01, predict_seconds=0.0)
    text = unfolded(shown(study))
    assert "With cells_per_job: " in text
    assert "Numbers of cells that fit this grid: 1, 2, 3, 6, 9, 18, 36." in text
    write_rates(study, start_seconds=0.001, job_seconds=None)
    assert "With cells_per_job" not in unfolded(shown(study))


def test_the_smallest_size_that_lasts_long_enough_is_recommended(study):
    write_rates(study, train_seconds=0.05)
    (note,) = [
        note for note in plan.notes(workload(study), Site(), site_profile(Site()), []) if "cells_per_job" in note.text
    ]
    cell = [fit.most for job in workload(study).gpu_jobs for fit in job.fits if fit.rule == "train"]
    mean = sum(value for value in cell if value is not None) / len(cell)
    best = next(size for size in (1, 2, 3, 6, 9, 18, 36) if 8 + size * mean >= 600)
    assert f"With cells_per_job: {best} it takes" in note.text


def test_a_job_longer_than_its_limit_is_told(study):
    write_rates(study, train_seconds=60.0)
    text = unfolded(shown(study))
    assert "A train job may take" in text
    assert "* attempt, below set-resources, train in slurm/profile.yaml." in text


def test_time_to_the_end_shrinks_with_gpus_and_never_below_the_longest_chain(study):
    write_rates(study)
    work = workload(study)
    jobs = [(job.seconds(8.0, expected=False) or 0.0, job) for job in work.gpu_jobs]
    times = [plan.wall_seconds(jobs, gpus) for gpus in (1, 4, 16, 1000)]
    assert times[0] == pytest.approx(sum(seconds for seconds, _ in jobs))
    assert times == sorted(times, reverse=True)
    longest = {stage: max(s for s, job in jobs if job.name[0] == stage) for stage in ("pretrain", "train", "explain")}
    assert times[-1] <= sum(longest.values()) + 1e-9
    assert times[-1] >= longest["train"] + longest["explain"]


def test_jobs_are_begun_when_what_they_need_is_made():
    def job(name: str, *needs: str) -> PlannedJob:
        return PlannedJob((), (name,), frozenset((need,) for need in needs))

    jobs = [(10.0, job("a")), (1.0, job("b")), (5.0, job("c", "b")), (2.0, job("d", "a", "c"))]
    assert plan.wall_seconds(jobs, 1) == 18.0
    assert plan.wall_seconds(jobs, 2) == 12.0
    assert plan.wall_seconds([], 2) == 0.0


def test_what_is_done_takes_no_time(study):
    write_rates(study)
    work = workload(study)
    done = [replace(job, fits=tuple(replace(fit, done=True) for fit in job.fits)) for job in work.gpu_jobs]
    rows = plan.queue_rows(replace(work, gpu_jobs=tuple(done)), 64)
    assert {row[1] for row in rows} == {"0 s"}


def test_gpus_at_a_time_are_no_more_than_jobs(study):
    write_rates(study)
    assert [row[0] for row in plan.queue_rows(workload(study), 64)] == ["1", "4", "16", "42"]
    assert [row[0] for row in plan.queue_rows(workload(study), 3)] == ["1", "3"]


def test_a_large_grid_is_planned(tmp_path):
    study = make_study(DEMO, tmp_path, folds=2000)
    write_rates(study)
    assert len(Grid.of(study)) == 24000
    assert cells(shown(study), "train 24,000")[1] == "24,000"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5970, "100 min"), (12000, "3 h 20 min"), (270000, "3 d 3 h")],
)
def test_times_are_told_for_people(seconds, text):
    assert plan.clock(seconds) in (text, text.replace("100 min", "1 h 40 min"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (36.0, "0.010"), (3600.0, "1.00"), (36000.0, "10"), (3.6e6, "1,000")],
)
def test_hours_have_the_digits_that_matter(seconds, text):
    assert plan.as_hours(seconds) == text


# ---- the profile


def test_what_the_profile_changes_is_in_the_table_and_named(study, tmp_path):
    profile = read(edited(tmp_path, MEMORY, MINUTES))
    text = shown(study, profile=profile)
    assert cells(text, "train 36")[3:] == ["1", "12,000", "90", "36,000", "270", "the", "default"]
    changes = "slurm/profile.yaml changes: train mem_mb: 12000 * attempt; train runtime: 90 * attempt."
    assert changes in unfolded(text)
    assert "slurm/profile.yaml changes" not in shown(study)


def test_what_the_profile_makes_unknown_is_told_and_not_guessed(study, tmp_path):
    profile = read(edited(tmp_path, (END[0], '  figures:\n    mem_mb: "input.size_mb"\n  trian:\n    mem_mb: 1\n')))
    text = shown(study, profile=profile)
    assert cells(text, "figures 1")[4:7] == ["?", "30", "?"]
    assert (
        "slurm/profile.yaml: mem_mb of figures is input.size_mb, which cannot be evaluated without a job."
        in unfolded(text)
    )
    assert "slurm/profile.yaml names what is no rule: trian." in unfolded(text)


def test_a_profile_that_cannot_be_read_is_told(study):
    profile = site_profile(Site(), unread="No such file or directory")
    assert "slurm/profile.yaml cannot be read (No such file or directory)." in unfolded(shown(study, profile=profile))


def test_a_longer_time_in_the_profile_ends_the_note_on_time(study, tmp_path):
    write_rates(study, train_seconds=60.0)
    assert "A train job may take" in unfolded(shown(study))
    profile = read(edited(tmp_path, ("    # runtime: 90 * attempt", "    runtime: 100000")))
    assert "A train job may take" not in unfolded(shown(study, profile=profile))


class Sbatch:
    """A cluster whose nodes have 16000 MB, and which notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def call(self, command: Sequence[str], *_: Any, **__: Any) -> slurm.Answer:
        if command[0] == "sbatch":
            self.asked.append(list(command))
            memory = int(command[command.index("--mem") + 1]) if "--mem" in command else 0
            said = "allocation failure: Requested node configuration is not available"
            return slurm.Answer(1, "", said) if memory > 16000 else slurm.Answer(0, "", "")
        return slurm.Answer(0, "Slurmctld(primary) at vm is UP\n" if command[0] == "scontrol" else "", "")


@pytest.fixture
def sbatch(monkeypatch: pytest.MonkeyPatch) -> Sbatch:
    """That cluster, in place of SLURM's commands."""
    cluster = Sbatch()
    monkeypatch.setattr(slurm, "call", cluster.call)
    monkeypatch.setattr(full_check, "call", cluster.call)
    monkeypatch.setattr(full_check, "find_nodes", lambda *_: iter(()))
    return cluster


def memory_results(study: Study, profile: Profile) -> list[tuple[str, str]]:
    """Check and verdict of what the full check says of memory."""
    found = full_check.check_cluster(Site(), profile, workload(study).requests, [], 64)
    return [(one.check, one.verdict) for one in found if "asks for" in one.found and "MB" in one.found]


def test_an_override_reaches_sbatch_and_one_too_large_is_found(study, tmp_path, sbatch):
    small = read(edited(tmp_path, ("    # mem_mb: 12000 * attempt", "    mem_mb: 5000 + 100 * attempt")))
    memory_results(study, small)
    assert [command[command.index("--mem") + 1] for command in sbatch.asked if "5100" in command or "5300" in command]
    large = read(edited(tmp_path, ("    # mem_mb: 12000 * attempt", "    mem_mb: 20000")))
    assert ("jobs, attempt 1", "wrong") in memory_results(study, large)
    assert ("jobs, attempt 1", "wrong") not in memory_results(study, site_profile(Site()))
