"""`snakemake --profile slurm`, and no more flags, from simulated patients to the report; beside it, a time limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from head_process import (
    SOONER,
    TABLE,
    Run,
    Workspace,
    accounted,
    assert_first_cell_only_in,
    assert_same_results,
    head,
    hold,
    queue,
    set_up,
    small_study,
    states,
)

WITH_PRETRAINING = {
    "cells_per_job": 1,
    "inits": {"pretrained": {"corpus": {"modalities": ["bmode"]}}},
    "grid": {"inits": ["pretrained"]},
}
JOBS = {"cohort": 1, "corpus_cohort": 1, "images": 1, "corpus_images": 1, "pretrain": 1, "train": 2}
JOBS |= {"audit": 1, "corpus_audit": 1, "evaluate": 1, "explain": 1, "figures": 1}
"""Jobs in the queue by rule; what takes only seconds is done where the command was typed."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended, and where."""

    workspace: Workspace
    run: Run


@pytest.fixture(scope="module")
def both(
    shared_cluster: None, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ended, Ended]]:
    """The literal command, and a run whose first job is held until SLURM ends it: both mostly wait, so side by side."""
    literal = set_up(tmp_path_factory.mktemp("literal") / "workspace", small_study(WITH_PRETRAINING))
    limited = prepared.copy(tmp_path_factory.mktemp("limited") / "workspace")
    file = hold(limited)
    minutes = ("--set-resources", "train:runtime=attempt")
    with (
        head(limited, TABLE, *SOONER, *minutes, moment="hold") as limited_head,
        head(literal, moment="meet", cell=1) as literal_head,
    ):
        job = limited_head.wait_until_held()
        limited_head.wait_for(lambda: job not in [row["jobid"] for row in queue(limited)], "SLURM ended the job")
        file.unlink()
        yield Ended(literal, literal_head.wait()), Ended(limited, limited_head.wait())


@pytest.fixture
def literal(both: tuple[Ended, Ended]) -> Ended:
    """The literal command's end."""
    return both[0]


def test_literal_command_makes_the_report(literal: Ended) -> None:
    assert literal.run.code == 0, literal.run.shown_in_full()
    assert literal.run.jobs == JOBS | {"splits": 1, "tables": 1, "report": 1}
    report = (literal.workspace.results / "report.html").read_text(encoding="utf-8")
    assert "Simulated data" in report
    assert sorted(path.name for path in literal.workspace.results.glob("logs/slurm/*")) == sorted(
        f"rule_{rule}" for rule in JOBS
    )


def test_each_job_was_submitted_once(literal: Ended) -> None:
    jobs = accounted(literal.workspace)
    rules = [job["comment"].split("_wildcards_")[0].removeprefix("rule_") for job in jobs]
    assert {rule: rules.count(rule) for rule in rules} == JOBS
    assert {job["state"] for job in jobs} == {"COMPLETED"}


def test_only_stages_that_compute_on_a_gpu_ask_for_one(literal: Ended) -> None:
    for job in accounted(literal.workspace):
        rule = job["comment"].split("_wildcards_")[0].removeprefix("rule_")
        assert ("gres/gpu=1" in job["reqtres"]) == (rule in ("pretrain", "train", "explain")), job


def test_jobs_at_the_same_time_have_different_gpus(literal: Ended) -> None:
    """Both were in their third epoch at the same moment; run.json says where."""
    first, second = (
        literal.workspace.read_json(str(path.relative_to(literal.workspace.results)))
        for path in sorted(literal.workspace.results.glob("cells/*/*/*/*/*/run.json"))
    )
    places = [(one["node"], one["cuda_visible_devices"]) for run in (first, second) for one in run["attempts"]]
    assert len(places) == len(set(places)) == 2
    assert all(node in ("gpu1", "gpu2") and gpu in ("0", "1", "2", "3") for node, gpu in places)
    assert first["attempts"][0]["slurm_job_id"] != second["attempts"][0]["slurm_job_id"]


def test_job_over_its_time(both: tuple[Ended, Ended], undisturbed: Workspace) -> None:
    """A job that SLURM ends at its time limit is tried again with a longer one, and goes on."""
    _, limited = both
    assert limited.run.code == 0, limited.run.shown_in_full()
    assert states(limited.workspace) == ["TIMEOUT", "COMPLETED"]
    assert_same_results(limited.workspace, undisturbed)
    assert_first_cell_only_in(accounted(limited.workspace, "train")[0]["jobid"], limited.workspace)
