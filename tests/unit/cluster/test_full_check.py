"""Results of `plan --check`, from answers of a SLURM and from a node's script run here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.cluster.test_refusals import CPU, MINE, REQUESTS, facts, submissions

from sonogrid.cluster import full_check
from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.profile import Profile, site_profile
from sonogrid.cluster.refusals import RefusedJob
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import Site
from sonogrid.cluster.slurm import Answer, Partition, Submission
from sonogrid.problems import InputError, Problem

JOBS = submissions()


def test_without_slurm_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^scontrol ping: there is no such command here\. Work on a machine[^\n]*$"):
        list(full_check.check_cluster(Site(), site_profile(Site()), REQUESTS, [tmp_path], 64))


def test_nothing_more_is_asked_of_a_controller_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(full_check, "call", lambda *_: Answer(1, "", "slurmctld(primary) at vm is DOWN"))
    told = list(full_check.check_cluster(Site(), site_profile(Site()), REQUESTS, [tmp_path], 64))
    assert [(one.check, one.verdict) for one in told][-1] == ("controller", "wrong")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("name", "wants_gpu", "state"),
    [(None, True, "ok"), ("gpu", True, "ok"), ("cpu", True, "wrong"), ("cpu", False, "ok"), ("x", False, "wrong")],
)
def test_a_partition_is_judged_by_what_its_jobs_want(name, wants_gpu, state):
    found = full_check.find_partition("partition", name, facts(), wants_gpu)
    assert found.verdict == state
    assert bool(found.remedy) == (state == "wrong")


def test_a_partition_without_working_nodes_is_wrong():
    down = Partition("gpu", True, True, 2, 0, ("gpu:4",), 1, 1, None)
    closed = Partition("gpu", True, False, 2, 2, ("gpu:4",), 1, 1, None)
    for one in (down, closed):
        assert full_check.find_partition("partition", None, facts([one]), True).verdict == "wrong"
    assert full_check.find_partition("partition", None, facts([CPU]), False).found == "no partition is the default"


def told_of_jobs(
    site: Site, profile: Profile, requests: Mapping[str, Request] = REQUESTS
) -> list[full_check.CheckResult]:
    return list(full_check.find_refusals(site, profile, requests, facts(), Path("slurm/site.yaml")))


def test_what_is_wrong_with_every_attempt_is_told_once(monkeypatch):
    def refused(jobs: Mapping[str, Submission]) -> list[RefusedJob]:
        always = RefusedJob(jobs["train"], "partition", "Invalid partition name specified")
        return (
            [always] if jobs["train"].attempt == 1 else [always, RefusedJob(jobs["train"], "memory", "not available")]
        )

    monkeypatch.setattr(full_check, "refused_jobs", refused)
    told = told_of_jobs(Site(partition="x"), site_profile(Site(partition="x")))
    assert [(one.check, one.verdict) for one in told] == [("jobs, attempt 1", "wrong"), ("jobs, attempt 3", "warning")]
    assert "18000 MB" in told[1].found


def test_account_and_qos_are_looked_up():
    assert full_check.find_account(Site(), MINE).verdict == "ok"
    assert full_check.find_account(Site(account="shared", qos="long"), MINE).verdict == "ok"
    assert full_check.find_account(Site(account="radiology", qos="long"), MINE).verdict == "wrong"
    assert "radiology, shared" in full_check.find_account(Site(account="x"), MINE).remedy
    assert full_check.find_account(Site(account="x"), []).verdict == "not checked"


@pytest.mark.parametrize(
    ("config", "state"),
    [({"MinJobAge": "300 sec"}, "ok"), ({"MinJobAge": "2 sec"}, "wrong"), ({}, "not checked")],
)
def test_finished_jobs_must_be_remembered(config, state):
    assert full_check.find_job_age(config).verdict == state


@pytest.mark.parametrize(
    ("environment", "out", "state"),
    [({}, "", "ok"), ({"SLURM_CONF": "/x"}, "Slurmctld(primary) is UP", "ok"), ({"SLURM_CONF": "/x"}, "", "wrong")],
)
def test_slurm_conf_must_not_be_needed(monkeypatch, environment, out, state):
    asked: list[Mapping[str, str]] = []

    def answer(command: Sequence[str], environment: Mapping[str, str]) -> Answer:
        asked.append(environment)
        return Answer(0, out, "")

    monkeypatch.setattr(full_check, "call", answer)
    assert full_check.find_slurm_conf(environment).verdict == state
    assert all("SLURM_CONF" not in one for one in asked)


def test_no_more_jobs_than_the_account_may_have():
    assert full_check.find_job_limit(Site(), MINE, 64).verdict == "wrong"
    assert "jobs: 20" in full_check.find_job_limit(Site(), MINE, 64).remedy
    assert full_check.find_job_limit(Site(account="shared"), MINE, 64).verdict == "ok"
    assert full_check.find_job_limit(Site(), MINE, 20).verdict == "ok"
    assert full_check.find_job_limit(Site(), [], 64).verdict == "not checked"


# ---- nodes


NODE = """\
node=gpu1
gpus=3
version=sonogrid {version}
torch=2.15.0 True
"""


def read(
    check: str, text: str, seconds: float | None = 0.1, wants_gpu: bool = True
) -> dict[str, full_check.CheckResult]:
    said = full_check.parse_node(text.format(version=full_check.sonogrid.__version__))
    folders = {Path("/shared/.check_1"): Path("results")}
    return {one.check: one for one in full_check.read_node(check, said, wants_gpu, seconds, folders)}


def test_a_good_node_gives_good_results():
    found = read("node", NODE)
    assert set(found) == {"node: files", "node: sonogrid", "node: GPU"}
    assert {one.verdict for one in found.values()} == {"ok"}
    assert "gpu1 gave GPU 3; torch 2.15.0 can use it" in found["node: GPU"].found


@pytest.mark.parametrize(
    ("text", "seconds", "check", "state"),
    [
        (NODE + "unseen=/shared/.check_1\n", 0.1, "node: files", "wrong"),
        (NODE + "unwritten=/shared/.check_1\n", 0.1, "node: files", "wrong"),
        (NODE, None, "node: files", "wrong"),
        (NODE + "modules=failed\n", 0.1, "node: modules", "wrong"),
        (NODE.replace("{version}", "0"), 0.1, "node: sonogrid", "wrong"),
        (NODE.replace("gpus=3", "gpus="), 0.1, "node: GPU", "wrong"),
        (NODE.replace("True", "False"), 0.1, "node: GPU", "warning"),
    ],
)
def test_what_is_wrong_on_a_node_is_found(text, seconds, check, state):
    found = read("node", text, seconds)
    assert found[check].verdict == state
    assert found[check].remedy
    assert [one.check for one in found.values() if one.verdict != "ok"] == [check]


def test_a_folder_that_a_node_does_not_see_is_named():
    found = read("node", NODE + "unseen=/shared/.check_1\n")["node: files"].found
    assert found == "gpu1 does not share results with this machine"


def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what a node would be asked on this machine, as srun would."""

    def call(command: Sequence[str], seconds: float, environment: Mapping[str, str]) -> Answer:
        assert command[0] == "srun"
        assert not any(name.startswith("SLURM_JOB") for name in environment)
        return cluster.call(command[command.index("bash") :], seconds, environment)

    monkeypatch.setattr(full_check, "call", call)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


def test_a_node_is_asked_by_a_script_that_sees_and_answers(monkeypatch, tmp_path):
    """Folders with blanks and quotes, one of them not there yet; nothing is left behind."""
    run_here(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    folders = [tmp_path / "it's a $(folder)", tmp_path / "not" / "there"]
    folders[0].mkdir()
    told = {one.check: one for one in full_check.find_node("other", Site(), JOBS["cohort"], folders)}
    assert told["node of other jobs: files"].verdict == "ok"
    assert told["node of other jobs: sonogrid"].verdict == "ok"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["it's a $(folder)"]


def test_modules_that_cannot_be_loaded_are_found(monkeypatch, tmp_path):
    run_here(monkeypatch)
    monkeypatch.setenv("BASH_FUNC_module%%", "() { false; }")
    checks = {
        one.check: one.verdict
        for one in full_check.find_node("other", Site(modules=("x/1",)), JOBS["cohort"], [tmp_path])
    }
    assert checks["node of other jobs: modules"] == "wrong"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("srun: error: Unable to allocate resources: Requested nodes are busy", "not checked"),
        ("srun: error: Unable to allocate resources: Invalid account or account/partition combination", "wrong"),
    ],
)
def test_no_free_node_is_not_a_mistake_but_a_refusal_is(monkeypatch, tmp_path, said, state):
    monkeypatch.setattr(full_check, "call", lambda *_: Answer(1, "", said))
    (finding,) = full_check.find_node("GPU", Site(), JOBS["train"], [tmp_path])
    assert finding.verdict == state


def test_a_job_that_does_not_answer_is_cancelled(monkeypatch, tmp_path):
    asked: list[Sequence[str]] = []

    def call(command: Sequence[str], *_: Any) -> Answer:
        asked.append(command)
        if command[0] == "srun":
            raise InputError([Problem("srun", "no answer", "try")])
        return Answer(0, "", "")

    monkeypatch.setattr(full_check, "call", call)
    (finding,) = full_check.find_node("GPU", Site(), JOBS["train"], [tmp_path])
    assert finding.verdict == "not checked"
    name = next(word for word in asked[0] if word.startswith("--job-name=")).removeprefix("--job-name=")
    assert list(asked[1]) == ["scancel", "--name", name]


def test_a_file_that_never_comes_is_given_up(monkeypatch, tmp_path):
    clock = iter(range(1000))
    monkeypatch.setattr(full_check, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    assert full_check.seconds_until_seen([tmp_path / "answered"], "1") is None


def test_the_text_of_the_site_is_no_part_of_the_script():
    job = submissions(Site(partition="p", account="a", gres="gpu:1"))["train"]
    command = full_check.node_command(job, 120, "sonogrid_check_1")
    assert command[-2:] == ["bash", "-c"]
    assert "--immediate=120" in command
    assert full_check.NODE_SCRIPT.count("site") == 0
