"""What a job asks: the rule's request, changed by a profile exactly as Snakemake changes it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dummy_study import DEMO, make_study
from snakemake.settings.types import ResourceSettings
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_executor_plugin_slurm.utils import set_gres_string

from sonogrid.cluster.profile import Profile, profile_of_run, read_profile, site_profile
from sonogrid.cluster.requests import LOCAL_RULES, Request, requests
from sonogrid.cluster.site import SITE_FILE, Site

SHIPPED = Path("slurm/profile.yaml")
TRAIN, EVALUATE = Request(1, 2, 6000, 60), Request(0, 1, 8000, 60)
REQUESTS = {"train": TRAIN, "evaluate": EVALUATE}


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer's shell says to sbatch is not to be part of a test."""
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)


def edited(folder: Path, *edits: tuple[str, str]) -> Path:
    """A copy of the shipped profile with some lines replaced."""
    text = SHIPPED.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = folder / "profile.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def read(file: Path, site: Site | None = None) -> Profile:
    """A profile, with a site file of these facts."""
    site = site or Site()
    site_file = file.with_name("site.yaml")
    site_file.write_text(yaml.safe_dump(site.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    profile = read_profile(site, site_file, file)
    assert profile.unread == ""
    return profile


MEMORY = ("    # mem_mb: 12000 * attempt", "    mem_mb: 12000 * attempt")
MINUTES = ("    # runtime: 90 * attempt", "    runtime: 90 * attempt")
END = ("# set-threads:\n#   train: 4\n", "")


def test_shipped_profile_changes_nothing_and_says_how_many_jobs_and_attempts():
    profile = read_profile(Site(), SITE_FILE, SHIPPED)
    assert (profile.unread, profile.jobs, profile.last_attempt) == ("", 64, 3)
    assert list(profile.changes(Site())) == []
    assert profile.unknown_rules(requests(make_study(DEMO))) == []
    job = profile.submission("train", TRAIN, 2)
    assert (job.cpus, job.mem_mb, job.minutes, job.gpu_flags, job.partition) == (2, 12000, 120, ["--gpus=1"], None)


@pytest.mark.parametrize(
    "site",
    [
        Site(),
        Site(account="a", partition="g", cpu_partition="c", qos="q", constraint="big", gpu_model="h200"),
        Site(partition="g", gres="shard:1", scratch=Path("/scratch/me"), modules=("cuda/12.4",)),
    ],
)
def test_without_a_profile_the_site_alone_gives_the_same(site, tmp_path):
    """So what is shown for a profile that cannot be read is what the shipped one would give."""
    profile = read(edited(tmp_path), site)
    alone = site_profile(site)
    for attempt in (1, 3):
        assert profile.submissions(REQUESTS, attempt) == alone.submissions(REQUESTS, attempt)
    assert list(profile.changes(site)) == []


def test_commented_lines_of_the_shipped_profile_work_when_uncommented(tmp_path):
    profile = read(edited(tmp_path, MEMORY, MINUTES, (END[0], "set-threads:\n  train: 4\n")))
    first, last = (profile.submission("train", TRAIN, attempt) for attempt in (1, 3))
    assert (first.cpus, first.mem_mb, first.minutes) == (4, 12000, 90)
    assert (last.cpus, last.mem_mb, last.minutes) == (4, 36000, 270)
    assert profile.submission("evaluate", EVALUATE) == read(edited(tmp_path)).submission("evaluate", EVALUATE)
    said = {str(change) for change in profile.changes(Site())}
    assert said == {"train mem_mb: 12000 * attempt", "train runtime: 90 * attempt", "train threads: 4"}


@pytest.mark.parametrize(
    ("lines", "asked"),
    [
        ("mem_mb: 500", {"mem_mb": 500}),
        ("mem: 16GB", {"mem_mb": 16000}),
        ("mem_mib: 1000 * attempt", {"mem_mb": 2097}),
        ("runtime: 2h", {"minutes": 120}),
        ("runtime: min(100, 70 * attempt)", {"minutes": 100}),
        ("mem_mb: 1000 * threads", {"mem_mb": 1000}),
        ("slurm_partition: \"'long'\"", {"partition": "long"}),
        ("gpu: 2", {"gpu_flags": ["--gpus=2"]}),
        ("gres: \"'gpu:a100:1'\"", {"gpu_flags": ["--gres=gpu:a100:1"]}),
    ],
)
def test_values_mean_what_they_mean_to_snakemake(lines, asked, tmp_path):
    profile = read(edited(tmp_path, (END[0], f"  evaluate:\n    {lines}\n")))
    job = profile.submission("evaluate", EVALUATE, 2)
    assert {name: getattr(job, name) for name in asked} == asked
    assert job.unknown == {}


@pytest.mark.parametrize("text", ["max(2 * input.size_mb, 1000)", "9000 if wildcards.fold == '0' else 4000", "so much"])
def test_a_value_that_needs_a_job_is_unknown_and_told(text, tmp_path):
    profile = read(edited(tmp_path, (END[0], f'  evaluate:\n    mem_mb: "{text}"\n')))
    job = profile.submission("evaluate", EVALUATE)
    assert job.unknown == {"mem_mb": text}
    assert job.mem_mb is None and "memory" not in job.flags()


def test_threads_may_be_an_expression(tmp_path):
    profile = read(edited(tmp_path, (END[0], "set-threads:\n  train: 2 * attempt\n  evaluate: input.size_mb\n")))
    assert [profile.submission("train", TRAIN, attempt).cpus for attempt in (1, 3)] == [2, 6]
    unknown = profile.submission("evaluate", EVALUATE)
    assert unknown.cpus is None and unknown.unknown == {"threads": "input.size_mb"}


def test_a_rule_that_there_is_not_is_found(tmp_path):
    profile = read(edited(tmp_path, (END[0], "  trian:\n    mem_mb: 9\n  splits:\n    mem_mb: 9\n")))
    assert profile.unknown_rules(requests(make_study(DEMO))) == ["trian"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (("jobs: 64", "jobs: [64"), "parse"),
        (("  - site = site_or_exit()", "  - site = nothing"), "NameError: name 'nothing' is not defined"),
        (("  mem_mb: 2000\n", "  mem_mb: -1\n"), "not a positive integer"),
        (("set-resources:\n  train:\n", "set-resources:\n  evaluate: 7\n  train:\n"), "Expected two-level mapping"),
        (("jobs: 64", "jobs: many"), "invalid literal"),
    ],
)
def test_a_profile_that_cannot_be_read_says_why_and_leaves_the_site(edit, reason, tmp_path):
    profile = read_profile(Site(partition="g"), SITE_FILE, edited(tmp_path, edit))
    assert reason in profile.unread and "\n" not in profile.unread
    assert profile.submissions(REQUESTS) == site_profile(Site(partition="g")).submissions(REQUESTS)


def test_a_missing_profile_says_so(tmp_path):
    assert read_profile(Site(), SITE_FILE, tmp_path / "none.yaml").unread == "No such file or directory"


def test_a_profile_is_read_with_the_site_file_that_is_asked_for(tmp_path):
    assert read(edited(tmp_path), Site(partition="elsewhere")).submission("train", TRAIN).partition == "elsewhere"
    assert read_profile(Site(), SITE_FILE, SHIPPED).submission("train", TRAIN).partition is None


def test_a_running_snakemake_gives_the_same_as_its_profile(tmp_path):
    """In a run, profiles and command line are merged in Snakemake's settings."""
    file = edited(tmp_path, MEMORY, (END[0], "set-threads:\n  train: 4\n"))
    profile = read(file, Site(account="a", partition="g", gres="gpu:1"))
    settings = ResourceSettings(
        default_resources=profile.defaults, overwrite_resources=profile.overrides, overwrite_threads={"train": 4}
    )
    for attempt in (1, 2):
        run = profile_of_run(settings).submissions(REQUESTS, attempt)
        assert run == profile.submissions(REQUESTS, attempt)


# ---- the plugin


def as_job(resources: dict[str, Any], threads: int) -> SimpleNamespace:
    """A job as the plugin sees it."""

    class Named(dict[str, Any]):
        __getattr__ = dict.__getitem__

    return SimpleNamespace(resources=Named(resources), threads=threads)


@pytest.mark.parametrize(
    "site",
    [
        Site(),
        Site(account="a", partition="g", cpu_partition="c", qos="q", constraint="big", gpu_model="h200"),
        Site(partition="g", gres="shard:1"),
        Site(gres="gpu:a100:1"),
    ],
)
@pytest.mark.parametrize(
    "lines", ["", "mem_mb_per_cpu: 900", "nodes: 1", "cpus_per_gpu: 3", "cpus_per_task: 5", "tasks: 2", "gpu: 2"]
)
def test_flags_are_those_of_the_plugin(site, lines, tmp_path):
    added = (
        f"set-resources:\n  train:\n    {lines}\n  evaluate:\n    {lines}\n" if lines else "set-resources:\n  train:\n"
    )
    profile = read(edited(tmp_path, ("set-resources:\n  train:\n", added)), site)
    for rule, request in REQUESTS.items():
        job = profile.submission(rule, request, 2)
        assert job.cpus is not None
        told = as_job(dict(job.resources), job.cpus)
        own = {"run_uuid": "x", "slurm_logfile": "x", "comment_str": "x", "account": "", "partition": "", "workdir": ""}
        command = (get_submit_command(told, own) + set_gres_string(told)).split()
        theirs = command[command.index("--comment") + 2 :]
        flags = {name: words for name, words in job.flags().items() if name not in ("account", "partition")}
        assert sorted(word for words in flags.values() for word in words) == sorted(theirs)


def test_every_rule_is_known_by_name():
    text = "".join(file.read_text(encoding="utf-8") for file in [Path("Snakefile"), *Path("rules").glob("*.smk")])
    rules = re.findall(r"^(?:rule|checkpoint) (\w+):|^use rule \w+ as (\w+) with:", text, re.MULTILINE)
    assert {own or derived for own, derived in rules} == set(requests(make_study(DEMO))) | set(LOCAL_RULES)
    (local,) = re.findall(r"^localrules:\n((?:    \w+,\n)+)", text, re.MULTILINE)
    assert set(re.findall(r"\w+", local)) == set(LOCAL_RULES)


SNAKEFILE = """
from sonogrid.cluster.profile import profile_of_run
from sonogrid.cluster.requests import Request

for attempt in (1, 2):
    jobs = profile_of_run(workflow.resource_settings).submissions({"train": Request(1, 2, 6000, 60)}, attempt)
    print("ASKED", jobs["train"].flags())


rule train:
    output: "x"
    shell: "true"
"""


def asked_in_a_run(folder: Path, *flags: str) -> list[str]:
    """What a real Snakemake, started with the profile in a folder, would ask SLURM for a job."""
    (folder / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", "-n", "--profile", "slurm", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix("ASKED ") for line in done.stdout.splitlines() if line.startswith("ASKED")]


def test_snakemake_itself_makes_the_same_of_profile_and_site(tmp_path, monkeypatch):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "site.yaml").write_text("account: a\npartition: g\ngres: gpu:1\n", encoding="utf-8")
    edited(tmp_path / "slurm", MEMORY, MINUTES, (END[0], "set-threads:\n  train: 4\n"))
    monkeypatch.chdir(tmp_path)
    profile = read_profile(Site(account="a", partition="g", gres="gpu:1"), SITE_FILE)
    expected = [str(profile.submission("train", TRAIN, attempt).flags()) for attempt in (1, 2)]
    assert asked_in_a_run(tmp_path) == expected
    first, _ = asked_in_a_run(tmp_path, "--set-resources", "train:mem_mb=9000", "--set-threads", "train=3")
    assert "'9000'" in first and "--cpus-per-task=3" in first
