"""`sonogrid plan --check` and the quick check before every run, on a real SLURM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from head_process import Run, Workspace, set_up, small_study
from workspace import BIN

from sonogrid.cluster.full_check import find_refusals
from sonogrid.cluster.profile import Profile, read_profile, site_profile
from sonogrid.cluster.quick_check import quick_check
from sonogrid.cluster.requests import requests
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import ClusterFacts, ask
from sonogrid.config.load import load_study
from sonogrid.config.study import Study
from sonogrid.problems import InputError

pytestmark = pytest.mark.usefixtures("shared_cluster")

CHECK = ("sonogrid", "plan", "--check")
STATE = re.compile(r"^(\S.*?) {2,}(ok|wrong|warning|not checked) ", re.MULTILINE)


@pytest.fixture
def workspace(slurm: None, tmp_path: Path) -> Workspace:
    """The small study, of which nothing was made yet."""
    return set_up(tmp_path / "workspace", small_study())


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's shell says to sbatch is not to be part of a test."""
    for name in ("SBATCH_PARTITION", "SBATCH_ACCOUNT", "SBATCH_QOS", "SBATCH_CONSTRAINT", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)


def check(workspace: Workspace, environment: dict[str, str] | None = None, **site: Any) -> Run:
    """Check a site that has these facts and no others."""
    (workspace.folder / "slurm" / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    return workspace.run(CHECK, **(environment or {}))


def states(run: Run) -> dict[str, str]:
    """The state of every check, by its name."""
    return dict(STATE.findall(run.text))


def left_behind(workspace: Workspace) -> list[str]:
    """Jobs and files of a check that has ended."""
    jobs = [line for line in ask(["squeue", "--noheader", "--format=%j"]).splitlines() if "sonogrid_check" in line]
    return [*jobs, *(path.name for path in workspace.folder.rglob(".check_*"))]


def test_a_site_without_facts_is_right(workspace: Workspace) -> None:
    """Both kinds of node share this machine's files; a job gets a pretended GPU, which torch cannot use."""
    run = check(workspace)
    assert run.code == 0, run.shown_in_full()
    found = states(run)
    assert found.pop("node of GPU jobs: GPU") == "warning"
    assert set(found.values()) == {"ok"}, run.text
    named = {"controller", "account", "jobs, attempt 1", "jobs, attempt 3", "MinJobAge", "SLURM_CONF", "jobs at a time"}
    assert named < set(found)
    assert {"node of GPU jobs: files", "node of other jobs: files", "node of other jobs: sonogrid"} < set(found)
    assert left_behind(workspace) == []


def test_right_facts_are_right(workspace: Workspace, tmp_path: Path) -> None:
    """SLURM_CONF is set, but nothing needs it."""
    facts = {"partition": "gpu", "cpu_partition": "cpu", "account": "test", "gpu_model": "h200"}
    run = check(workspace, {"SLURM_CONF": "/etc/slurm/slurm.conf"}, scratch=str(tmp_path), **facts)
    assert run.code == 0, run.shown_in_full()
    assert "set, but commands work without it" in run.text


def test_every_wrong_fact_is_told_at_once_and_nothing_is_left(workspace: Workspace) -> None:
    facts = {"partition": "nosuch", "cpu_partition": "neither", "account": "nobody", "constraint": "blue"}
    run = check(workspace, **facts)
    assert run.code == 2, run.shown_in_full()
    text = re.sub(r"\s+", " ", run.text)
    for word in ("nosuch", "neither", "nobody", "blue"):
        assert word in text
    for key in ("partition", "cpu_partition", "account", "constraint"):
        assert f"slurm/site.yaml, key {key}: " in text, run.text
    assert "Traceback" not in run.text
    assert left_behind(workspace) == []


def test_without_slurm_one_line_says_so(workspace: Workspace, tmp_path: Path) -> None:
    run = workspace.run([str(BIN / "sonogrid"), "plan", "--check"], PATH=str(tmp_path / "nothing"))
    assert run.code == 2
    assert run.text.splitlines()[-1].startswith("scontrol ping: there is no such command here. Work on a machine where")
    assert "Traceback" not in run.text


def check_before_a_run(site: Site, study: Study, profile: Profile | None = None) -> None:
    """The quick check of a study on a site."""
    quick_check(site, (profile or site_profile(site)).submissions(requests(study)))


WRONG: list[tuple[dict[str, str], str]] = [
    ({"partition": "nosuch"}, r"key partition: no job may wait in partition nosuch .* Choose from: gpu \(the default"),
    ({"cpu_partition": "nosuch"}, r"key cpu_partition: no job may wait in partition nosuch"),
    ({"account": "nobody"}, r"key account: account nobody is not valid for you .* Choose from: .*test"),
    ({"gpu_model": "a100"}, r"key gpu_model: the default partition \(gpu\) gives no GPU for --gpus=a100:1 .*: h200"),
    ({"gres": "gpu:99"}, r"key gres: the default partition \(gpu\) gives no GPU for --gres=gpu:99"),
    ({"gres": "none:1"}, r"key gres: the default partition \(gpu\) gives no GPU for --gres=none:1"),
    ({"constraint": "blue"}, r"key constraint: no node of the default partition \(gpu\) with a GPU has blue"),
]


@pytest.mark.parametrize(("facts", "told"), WRONG)
def test_the_quick_check_tells_a_wrong_fact_in_one_message(facts: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        check_before_a_run(Site.model_validate(facts), load_study(small_study()))
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("facts", [{}, {"gpu_model": "h200"}, {"gres": "gpu:1"}, {"partition": "low"}])
def test_the_quick_check_accepts_what_slurm_accepts(facts: dict[str, str]) -> None:
    check_before_a_run(Site.model_validate(facts), load_study(small_study()))


def test_a_job_too_large_for_any_node_is_wrong_and_no_run_begins() -> None:
    """So many cells at a time want more CPUs than a node has."""
    study = load_study(small_study({"cells_per_job": 40, "cells_per_gpu": 40, "splits": {"folds": 40}}))
    size = "asks for 40 CPUs, 84000 MB and --gpus=1; its largest node has 8 CPUs and 64000 MB"
    with pytest.raises(InputError, match=size):
        check_before_a_run(Site(), study)
    told = list(find_refusals(Site(), site_profile(Site()), requests(study), ClusterFacts(), SITE_FILE))
    assert [(one.check, one.verdict) for one in told if size in one.found] == [("jobs, attempt 1", "wrong")]


def with_memory(workspace: Workspace, text: str) -> Profile:
    """The workspace's own profile, in which `train` asks for other memory."""
    file = workspace.folder / "slurm" / "profile.yaml"
    commented = "    # mem_mb: 12000 * attempt"
    content = file.read_text(encoding="utf-8")
    assert content.count(commented) == 1
    file.write_text(content.replace(commented, f"    mem_mb: {text}"), encoding="utf-8")
    return read_profile(Site(), SITE_FILE, file)


def test_an_override_of_the_profile_is_what_slurm_is_asked_about(workspace: Workspace) -> None:
    """72,000 MB fit on no node: in the last attempt that is a warning, as it may never be needed."""
    run = check(workspace)
    assert run.code == 0, run.shown_in_full()
    late = with_memory(workspace, "24000 * attempt")
    check_before_a_run(Site(), load_study(small_study()), late)
    run = check(workspace)
    assert run.code == 0, run.shown_in_full()
    assert states(run)["jobs, attempt 3"] == "warning"
    assert "asks for 72000 MB" in re.sub(r"\s+", " ", run.text)


def test_an_override_too_large_for_every_node_is_told_before_any_job(workspace: Workspace) -> None:
    profile = with_memory(workspace, "70000")
    with pytest.raises(InputError, match="attempt 1 at train asks for 70000 MB; its largest node has 64000 MB"):
        check_before_a_run(Site(), load_study(small_study()), profile)
    run = check(workspace)
    assert run.code == 2, run.shown_in_full()
    assert states(run)["jobs, attempt 1"] == "wrong"
