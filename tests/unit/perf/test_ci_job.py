"""What the job in CI makes of the exit codes of the gate."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from unit.perf.test_show import MADE, PAGE

from sonogrid.perf.show import page_markdown

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def steps() -> list[dict[str, str]]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "perf.yml").read_text(encoding="utf-8"))
    found: list[dict[str, str]] = workflow["jobs"]["perf"]["steps"]
    return found


@pytest.mark.parametrize(
    ("said", "labelled", "code"),
    [
        *((number, "false", number) for number in (0, 1, 2, 3, 5, 6, 7)),
        (4, "false", 0),
        (6, "true", 0),
        (3, "true", 3),
        (7, "true", 7),
    ],
)
def test_exit_codes_of_the_job(
    steps: list[dict[str, str]], tmp_path: Path, said: int, labelled: str, code: int
) -> None:
    script = next(step["run"] for step in steps if "perf compare" in step.get("run", ""))
    stub = tmp_path / ".venv" / "bin" / "sonogrid"
    stub.parent.mkdir(parents=True)
    stub.write_text(f"#!/bin/sh\nexit {said}\n")
    stub.chmod(0o755)
    # As GitHub runs a step of bash.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MAY_CHANGE": labelled}, capture_output=True, check=False
    )
    assert run.returncode == code
    assert (b"::warning::" in run.stdout) == (said == 6)


def test_benchmarks_without_a_verdict_are_a_warning(steps: list[dict[str, str]], tmp_path: Path) -> None:
    script = next(step["run"] for step in steps if "perf compare" in step.get("run", ""))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    stub = tmp_path / ".venv" / "bin" / "sonogrid"
    # Its page has a benchmark that could not be told as well.
    made = replace(MADE, only_base=("gone",))
    (tmp_path / "page.md").write_text(page_markdown(replace(PAGE, comparison=made)), encoding="utf-8")
    stub.write_text("#!/bin/sh\nmkdir .benchmarks; cp page.md .benchmarks/compare.md\n")
    stub.chmod(0o755)
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"MAY_CHANGE": "false"}, capture_output=True, check=False
    )
    assert run.returncode == 0 and b"::warning::Some benchmarks are gone" in run.stdout
    assert b"::warning::The machine was too noisy" in run.stdout


def test_the_job_has_both_commits(steps: list[dict[str, str]]) -> None:
    checkout = next(step for step in steps if step.get("uses", "").startswith("actions/checkout"))
    given: dict[str, object] = checkout["with"]  # type: ignore[assignment]
    assert given["fetch-depth"] == 0 and given["persist-credentials"] is False


def test_no_text_of_a_pull_request_is_part_of_a_script(steps: list[dict[str, str]]) -> None:
    """Names of branches and titles come from anybody; `env` hands over a truth value alone."""
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []
