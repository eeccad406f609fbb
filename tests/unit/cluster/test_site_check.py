"""Findings of `plan --check`, from answers of a SLURM and from a node's script run here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.cluster.test_preflight import CPU, MINE, REQUESTS, TABLES, TRAIN, facts

from sonogrid.cluster import site_check as findings
from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.preflight import Refused
from sonogrid.cluster.site import Site
from sonogrid.cluster.slurm import Answer, Partition
from sonogrid.problems import InputError, Problem


def test_without_slurm_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^scontrol ping: there is no such command here\. Work on a machine[^\n]*$"):
        list(findings.check_cluster(Site(), REQUESTS, [tmp_path], 64))


def test_nothing_more_is_asked_of_a_controller_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(findings, "call", lambda *_: Answer(1, "", "slurmctld(primary) at vm is DOWN"))
    told = list(findings.check_cluster(Site(), REQUESTS, [tmp_path], 64))
    assert [(one.check, one.state) for one in told][-1] == ("controller", "wrong")
    assert len(told) == 2


@pytest.mark.parametrize(
    ("name", "wants_gpu", "state"),
    [(None, True, "ok"), ("gpu", True, "ok"), ("cpu", True, "wrong"), ("cpu", False, "ok"), ("x", False, "wrong")],
)
def test_a_partition_is_judged_by_what_its_jobs_want(name, wants_gpu, state):
    found = findings.find_partition("partition", name, facts(), wants_gpu)
    assert found.state == state
    assert bool(found.remedy) == (state == "wrong")


def test_a_partition_without_working_nodes_is_wrong():
    down = Partition("gpu", True, True, 2, 0, ("gpu:4",), 1, 1, None)
    closed = Partition("gpu", True, False, 2, 2, ("gpu:4",), 1, 1, None)
    for one in (down, closed):
        assert findings.find_partition("partition", None, facts([one]), True).state == "wrong"
    assert findings.find_partition("partition", None, facts([CPU]), False).found == "no partition is the default"


def test_what_is_wrong_with_every_attempt_is_told_once(monkeypatch):
    def refused(site: Site, requests: object, attempt: int) -> list[Refused]:
        always = Refused("train", TRAIN, attempt, "partition", "Invalid partition name specified")
        return [always] if attempt == 1 else [always, Refused("train", TRAIN, attempt, "memory", "not available")]

    monkeypatch.setattr(findings, "refusals", refused)
    told = list(findings.find_refusals(Site(partition="x"), REQUESTS, facts(), Path("slurm/site.yaml")))
    assert [(one.check, one.state) for one in told] == [("jobs, attempt 1", "wrong"), ("jobs, attempt 3", "warning")]
    assert "18000 MB" in told[1].found


def test_account_and_qos_are_looked_up():
    assert findings.find_account(Site(), MINE).state == "ok"
    assert findings.find_account(Site(account="shared", qos="long"), MINE).state == "ok"
    assert findings.find_account(Site(account="radiology", qos="long"), MINE).state == "wrong"
    assert "radiology, shared" in findings.find_account(Site(account="x"), MINE).remedy
    assert findings.find_account(Site(account="x"), []).state == "not checked"


@pytest.mark.parametrize(
    ("config", "state"),
    [({"MinJobAge": "300 sec"}, "ok"), ({"MinJobAge": "2 sec"}, "wrong"), ({}, "not checked")],
)
def test_finished_jobs_must_be_remembered(config, state):
    assert findings.find_job_age(config).state == state


@pytest.mark.parametrize(
    ("environment", "out", "state"),
    [({}, "", "ok"), ({"SLURM_CONF": "/x"}, "Slurmctld(primary) is UP", "ok"), ({"SLURM_CONF": "/x"}, "", "wrong")],
)
def test_slurm_conf_must_not_be_needed(monkeypatch, environment, out, state):
    asked: list[Mapping[str, str]] = []

    def answer(command: Sequence[str], environment: Mapping[str, str]) -> Answer:
        asked.append(environment)
        return Answer(0, out, "")

    monkeypatch.setattr(findings, "call", answer)
    assert findings.find_slurm_conf(environment).state == state
    assert all("SLURM_CONF" not in one for one in asked)


def test_no_more_jobs_than_the_account_may_have():
    assert findings.find_job_limit(Site(), MINE, 64).state == "wrong"
    assert "jobs: 20" in findings.find_job_limit(Site(), MINE, 64).remedy
    assert findings.find_job_limit(Site(account="shared"), MINE, 64).state == "ok"
    assert findings.find_job_limit(Site(), MINE, 20).state == "ok"
    assert findings.find_job_limit(Site(), [], 64).state == "not checked"


# ---- nodes


NODE = """\
node=gpu1
gpus=3
version=sonogrid {version}
torch=2.15.0 True
"""


def read(check: str, text: str, seconds: float | None = 0.1, wants_gpu: bool = True) -> dict[str, findings.Finding]:
    said = findings.parse_node(text.format(version=findings.sonogrid.__version__))
    folders = {Path("/shared/.check_1"): Path("results")}
    return {one.check: one for one in findings.read_node(check, said, wants_gpu, seconds, folders)}


def test_a_good_node_gives_good_findings():
    found = read("node", NODE)
    assert set(found) == {"node: files", "node: sonogrid", "node: GPU"}
    assert {one.state for one in found.values()} == {"ok"}
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
    assert found[check].state == state
    assert found[check].remedy
    assert [one.check for one in found.values() if one.state != "ok"] == [check]


def test_a_folder_that_a_node_does_not_see_is_named():
    found = read("node", NODE + "unseen=/shared/.check_1\n")["node: files"].found
    assert found == "gpu1 does not share results with this machine"


def run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what a node would be asked on this machine, as srun would."""

    def call(command: Sequence[str], seconds: float, environment: Mapping[str, str]) -> Answer:
        assert command[0] == "srun"
        assert not any(name.startswith("SLURM_JOB") for name in environment)
        return cluster.call(command[command.index("bash") :], seconds, environment)

    monkeypatch.setattr(findings, "call", call)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


def test_a_node_is_asked_by_a_script_that_sees_and_answers(monkeypatch, tmp_path):
    """Folders with blanks and quotes, one of them not there yet; nothing is left behind."""
    run_here(monkeypatch)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    folders = [tmp_path / "it's a $(folder)", tmp_path / "not" / "there"]
    folders[0].mkdir()
    told = {one.check: one for one in findings.find_node("other", Site(), TABLES, folders)}
    assert told["node of other jobs: files"].state == "ok"
    assert told["node of other jobs: sonogrid"].state == "ok"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["it's a $(folder)"]


def test_modules_that_cannot_be_loaded_are_found(monkeypatch, tmp_path):
    run_here(monkeypatch)
    monkeypatch.setenv("BASH_FUNC_module%%", "() { false; }")
    checks = {one.check: one.state for one in findings.find_node("other", Site(modules=("x/1",)), TABLES, [tmp_path])}
    assert checks["node of other jobs: modules"] == "wrong"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("srun: error: Unable to allocate resources: Requested nodes are busy", "not checked"),
        ("srun: error: Unable to allocate resources: Invalid account or account/partition combination", "wrong"),
    ],
)
def test_no_free_node_is_not_a_mistake_but_a_refusal_is(monkeypatch, tmp_path, said, state):
    monkeypatch.setattr(findings, "call", lambda *_: Answer(1, "", said))
    (finding,) = findings.find_node("GPU", Site(), TRAIN, [tmp_path])
    assert finding.state == state


def test_a_job_that_does_not_answer_is_cancelled(monkeypatch, tmp_path):
    asked: list[Sequence[str]] = []

    def call(command: Sequence[str], *_: Any) -> Answer:
        asked.append(command)
        if command[0] == "srun":
            raise InputError([Problem("srun", "no answer", "try")])
        return Answer(0, "", "")

    monkeypatch.setattr(findings, "call", call)
    (finding,) = findings.find_node("GPU", Site(), TRAIN, [tmp_path])
    assert finding.state == "not checked"
    name = next(word for word in asked[0] if word.startswith("--job-name=")).removeprefix("--job-name=")
    assert list(asked[1]) == ["scancel", "--name", name]


def test_a_file_that_never_comes_is_given_up(monkeypatch, tmp_path):
    clock = iter(range(1000))
    monkeypatch.setattr(findings, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    assert findings.seconds_until_seen([tmp_path / "answered"], "1") is None


def test_the_text_of_the_site_is_no_part_of_the_script():
    command = findings.node_command(Site(partition="p", account="a", gres="gpu:1"), TRAIN, 120, "sonogrid_check_1")
    assert command[-2:] == ["bash", "-c"]
    assert "--immediate=120" in command
    assert findings.NODE_SCRIPT.count("site") == 0
