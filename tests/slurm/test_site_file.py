"""slurm/site.yaml: its facts reach the jobs, and a wrong one is told before there is any job."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from head_process import SOONER, TABLE, Workspace, accounted, assert_same_results, head, hold

pytestmark = pytest.mark.usefixtures("shared_cluster")


def write_site(workspace: Workspace, **facts: str | list[str]) -> None:
    """A site file of these facts."""
    (workspace.folder / "slurm" / "site.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")


def test_facts_reach_the_jobs(workspace: Workspace, undisturbed: Workspace, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    facts = {"account": "test", "partition": "gpu", "cpu_partition": "cpu", "gres": "shard:1", "constraint": "h200"}
    write_site(workspace, **facts, scratch=str(scratch), modules=["cuda/12.4", "python/3.11"])
    file = hold(workspace)
    with head(workspace, *SOONER, TABLE, moment="hold") as run:
        run.wait_until_held()
        kept = [path.name for path in scratch.rglob("*.pt")]
        file.unlink()
        ended = run.wait()
    assert ended.code == 0, ended.shown_in_full()
    assert sorted(kept) == ["fold0.pt", "fold1.pt"], "checkpoints lie in the scratch folder while the job runs"
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    (train,), (evaluate,) = accounted(workspace, "train"), accounted(workspace, "evaluate")
    assert train["partition"] == "gpu" and "gres/shard=1" in train["reqtres"] and "gres/gpu" not in train["reqtres"]
    assert evaluate["partition"] == "cpu" and "gres" not in evaluate["reqtres"]
    loaded = (workspace.folder / "marks" / "modules").read_text(encoding="utf-8")
    assert loaded == "load cuda/12.4 python/3.11\n" * 2, "once in each job"
    assert_same_results(workspace, undisturbed)


WRONG = {
    "partition": ({"partition": "nosuch"}, ["nosuch", "partition", "gpu", "slurm/site.yaml"]),
    "account": ({"account": "nosuch"}, ["nosuch", "account", "slurm/site.yaml"]),
    "gpu model": ({"gpu_model": "a100"}, ["a100", "slurm/site.yaml"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_fact_is_told_once_and_before_any_job(workspace: Workspace, mistake: str) -> None:
    facts, phrases = WRONG[mistake]
    write_site(workspace, **facts)
    with head(workspace, TABLE) as run:
        ended = run.wait()
    assert ended.code == 1, ended.shown_in_full()
    _, message = ended.text.split("WorkflowError", maxsplit=1)
    assert all(phrase in message for phrase in phrases), message
    assert "Traceback" not in ended.text and "Submitted" not in ended.text
    assert accounted(workspace) == []


def test_mistake_in_the_file_is_told_without_more(workspace: Workspace) -> None:
    (workspace.folder / "slurm" / "site.yaml").write_text("acount: radiology\ngres: a b\n", encoding="utf-8")
    with head(workspace, TABLE) as run:
        ended = run.wait()
    assert ended.code == 2
    assert "slurm/site.yaml, key acount: is not known" in ended.text and "key gres: value 'a b'" in ended.text
    assert len(ended.text.splitlines()) <= 3, ended.text
