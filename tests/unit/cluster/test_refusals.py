"""Jobs that SLURM would refuse; its words are those of SLURM 22.05."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sonogrid.cluster import quick_check as quick
from sonogrid.cluster import slurm
from sonogrid.cluster.profile import site_profile
from sonogrid.cluster.refusals import RefusedJob, as_problem, culprits, refused_jobs, too_long, without_repeats
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import Site
from sonogrid.cluster.slurm import Association, ClusterFacts, Partition, Submission
from sonogrid.problems import InputError, Problem

INVALID_PARTITION = "sbatch: error: invalid partition specified: x allocation failure: Invalid partition name specified"
INVALID_ACCOUNT = "allocation failure: Invalid account or account/partition combination specified"
NOT_AVAILABLE = "allocation failure: Requested node configuration is not available"
INVALID_GRES = "sbatch: error: Invalid generic resource (gres) specification"
INVALID_FEATURE = "allocation failure: Invalid feature specification"
TRAIN = Request(gpus=1, cpus=2, mem_mb=6000, minutes=60)
TABLES = Request(gpus=0, cpus=1, mem_mb=4000, minutes=30)
REQUESTS = {"cohort": TABLES, "train": TRAIN, "explain": TRAIN}
GPU = Partition("gpu", True, True, 2, 2, ("gpu:h200:4",), 64000, 8, None)
CPU = Partition("cpu", False, True, 1, 1, (), 32000, 8, 90)
MINE = [Association("radiology", "", 20, ("normal",)), Association("shared", "cpu", None, ("normal", "long"))]


def facts(partitions: Sequence[Partition] = (GPU, CPU), associations: Sequence[Association] = MINE) -> ClusterFacts:
    """Facts that are known without asking."""
    known = ClusterFacts()
    known.__dict__ |= {"partitions": list(partitions), "associations": list(associations)}
    return known


def submissions(
    site: Site | None = None, attempt: int = 1, requests: Mapping[str, Request] = REQUESTS
) -> dict[str, Submission]:
    """What the jobs ask on a site, without changes of a profile."""
    return site_profile(site or Site()).submissions(requests, attempt)


def no_memory_above(limit: int, flags: Mapping[str, Sequence[str]]) -> str | None:
    """A cluster whose nodes have so many MB, and which says no more than SLURM does."""
    return NOT_AVAILABLE if "memory" in flags and int(flags["memory"][1]) > limit else None


@pytest.mark.parametrize(
    ("said", "group"),
    [
        (INVALID_PARTITION, "partition"),
        (INVALID_ACCOUNT, "account"),
        (INVALID_GRES, "gpu"),
        (INVALID_FEATURE, "constraint"),
        ("allocation failure: Invalid qos specification", "qos"),
        ("allocation failure: Requested time limit is invalid (missing or exceeds some limit)", "time"),
        ("sbatch: error: Memory specification can not be satisfied", "memory"),
        ("allocation failure: User's group not permitted to use this partition", "partition"),
        ("allocation failure: Unable to contact slurm controller (connect failure)", "controller"),
    ],
)
def test_words_of_slurm_mean_a_group_of_flags(said, group):
    flags = submissions(Site(partition="x", account="a", qos="q", constraint="c"))["train"].flags()
    answers = iter([said, None])
    assert culprits(flags, lambda _: next(answers)) == {group: said}


def test_a_reason_that_slurm_does_not_name_is_found_by_leaving_out_flags():
    flags = submissions(Site(gres="gpu:1"), 3)["train"].flags()
    assert culprits(flags, lambda left: no_memory_above(16000, left)) == {"memory": NOT_AVAILABLE}
    assert culprits(flags, lambda left: no_memory_above(20000, left)) == {}
    assert culprits(flags, lambda left: NOT_AVAILABLE if "gpu" in left else None) == {"gpu": NOT_AVAILABLE}
    assert culprits(flags, lambda left: NOT_AVAILABLE) == {"together": NOT_AVAILABLE}


def test_every_reason_is_told_though_slurm_tells_one_at_a_time():
    def refusal(flags: Mapping[str, Sequence[str]]) -> str | None:
        return INVALID_PARTITION if "partition" in flags else INVALID_ACCOUNT if "account" in flags else None

    found = refused_jobs(submissions(Site(partition="x", account="a")), refusal)
    assert [(job.submission.rule, job.group) for job in found] == [
        ("cohort", "partition"),
        ("cohort", "account"),
        ("train", "partition"),
        ("train", "account"),
    ]


def test_jobs_alike_are_asked_about_once():
    asked: list[Any] = []
    assert refused_jobs(submissions(), asked.append) == []
    assert len(asked) == 2


def test_no_more_is_asked_of_a_controller_that_is_away():
    asked: list[Any] = []

    def refusal(flags: Mapping[str, Sequence[str]]) -> str:
        asked.append(flags)
        return "sbatch: error: Unable to contact slurm controller (connect failure)"

    (found,) = refused_jobs(submissions(), refusal)
    assert (found.group, len(asked)) == ("controller", 1)


def problem_of(group: str, site: Site, said: str = NOT_AVAILABLE, stage: str = "train", attempt: int = 1) -> Problem:
    refused = RefusedJob(submissions(site, attempt)[stage], group, said)
    return as_problem(refused, site, facts(), Path("slurm/site.yaml"))


def test_a_wrong_partition_is_told_with_those_that_are_there():
    problem = problem_of("partition", Site(partition="x"), INVALID_PARTITION)
    assert problem.where == "slurm/site.yaml, key partition"
    assert "no job may wait in partition x" in problem.what
    assert problem.remedy == "Choose from: gpu (the default, a node has gpu:h200:4); cpu (no GPUs)"
    assert (
        problem_of("partition", Site(cpu_partition="x"), stage="cohort").where == "slurm/site.yaml, key cpu_partition"
    )


def test_a_wrong_account_is_told_with_those_of_the_user():
    problem = problem_of("account", Site(account="x"), INVALID_ACCOUNT)
    assert problem.where == "slurm/site.yaml, key account"
    assert problem.what.startswith("account x is not valid for you (SLURM says: Invalid account")
    assert problem.remedy == "Choose from: radiology, shared"
    assert "you have no default account" in problem_of("account", Site()).what


def test_a_value_from_the_environment_is_told_as_such(monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "x")
    where = problem_of("partition", Site(partition="x")).where
    assert where == "slurm/site.yaml, key partition (or $SBATCH_PARTITION)"


@pytest.mark.parametrize(
    ("site", "key", "flag"),
    [
        (Site(), "gres", "--gpus=1"),
        (Site(gres="gpu:a100:1"), "gres", "--gres=gpu:a100:1"),
        (Site(gpu_model="a100"), "gpu_model", "--gpus=a100:1"),
    ],
)
def test_a_wrong_gpu_is_told_with_the_models_that_are_there(site, key, flag):
    problem = problem_of("gpu", site)
    assert problem.where == f"slurm/site.yaml, key {key}"
    assert f"the default partition (gpu) gives no GPU for {flag}" in problem.what
    assert "Models here: h200; e.g. gpu_model: h200" in problem.remedy


def test_too_much_memory_is_told_with_what_the_largest_node_has():
    problem = problem_of("memory", Site(partition="gpu"), attempt=3)
    assert "the job of attempt 3 at train asks for 18000 MB; its largest node has 64000 MB" in problem.what
    assert "mem_mb: N * attempt below set-resources, train in slurm/profile.yaml" in problem.remedy


@pytest.mark.parametrize("group", ["qos", "constraint", "cpus", "time", "controller", "together"])
def test_other_reasons_carry_the_words_of_slurm(group):
    problem = problem_of(group, Site(qos="q", constraint="c"))
    assert "SLURM says: Requested node configuration is not available" in problem.what
    assert problem.remedy


def test_a_job_that_outlasts_its_partition_is_told():
    site = Site(partition="gpu", cpu_partition="cpu")
    assert too_long(submissions(site, 3), facts(), 3) == []
    longer = submissions(site, 2, {**REQUESTS, "cohort": Request(0, 1, 4000, 60)})
    (problem,) = too_long(longer, facts(), 3)
    assert problem.where == "partition cpu"
    assert "ends jobs after 90 minutes; attempt 2 asks for more and may never run: cohort 120" in problem.what
    assert "runtime: 30 * attempt" in problem.remedy


def test_one_remedy_of_one_place_is_told_once():
    twice = [Problem("a", "attempt 1", "do"), Problem("b", "x", "do"), Problem("a", "attempt 3", "do")]
    assert without_repeats(twice) == [Problem("a", "attempt 1", "do"), Problem("b", "x", "do")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of a quick check on a cluster that refuses partition x."""
    commands: list[list[str]] = []

    def call(command: Sequence[str], *_: Any) -> slurm.Answer:
        commands.append(list(command))
        return slurm.Answer(1, "", INVALID_PARTITION) if "x" in command else slurm.Answer(0, "", "")

    monkeypatch.setattr(slurm, "call", call)
    monkeypatch.setattr(quick, "ClusterFacts", facts)
    return commands


def test_the_quick_check_raises_every_problem(asked):
    site = Site(partition="x")
    with pytest.raises(InputError) as caught:
        quick.quick_check(site, submissions(site))
    assert [problem.where for problem in caught.value.problems] == ["slurm/site.yaml, key partition"]


def test_the_quick_check_asks_for_what_jobs_ask_and_submits_nothing(asked):
    quick.quick_check(Site(), submissions())
    train = ["-t", "60", "--mem", "6000", "--cpus-per-task=2", "--gpus=1"]
    assert [command[3:-1] for command in asked] == [
        ["-t", "30", "--mem", "4000", "--cpus-per-task=1", "--ntasks=1"],
        train,
    ]
    assert all(command[:2] == ["sbatch", "--test-only"] for command in asked)


def test_a_job_may_wait_in_several_partitions():
    both = facts().partition("cpu,gpu")
    assert both is not None
    assert (both.working, both.gpus, both.minutes, both.memory_mb) == (3, ("gpu:h200:4",), None, 64000)
    assert facts().partition("cpu,x") is None
