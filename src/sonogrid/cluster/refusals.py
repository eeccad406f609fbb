"""Jobs that SLURM would refuse or never start: which, why, and what to change. Nothing is submitted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonogrid.cluster.profile import PROFILE_FILE
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import ClusterFacts, Partition, Submission, gpu_models, reason_to_refuse
from sonogrid.problems import Problem

REASONS = (
    (r"invalid partition|partition.*(not permitted|unavailable)|group not permitted", "partition"),
    (r"invalid account", "account"),
    (r"invalid qos", "qos"),
    (r"generic resource|\bgres\b", "gpu"),
    (r"invalid feature", "constraint"),
    (r"time limit", "time"),
    (r"memory", "memory"),
    (r"contact slurm controller|connect failure|timed out|connection refused", "controller"),
)
"""What sbatch says, and which group of flags it means; other reasons are found by leaving out flags."""
SUSPECTS = ("gpu", "constraint", "memory", "cpus", "time", "nodes", "slurm_extra", "qos", "account", "partition")

Judge = Callable[[Mapping[str, Sequence[str]]], str | None]
"""Says why flags would be refused; None if they would not."""


def culprits(flags: Mapping[str, Sequence[str]], judge: Judge) -> dict[str, str]:
    """Return the groups of flags for which SLURM refuses a job, each with its words; empty if it would take the job.

    SLURM gives one reason at a time, so each group found is left out and the rest is asked about again. The group is
    `together` where no single one is at fault.
    """
    found: dict[str, str] = {}
    left = dict(flags)
    while (said := judge(left)) is not None:
        group = _culprit(said, left, judge)
        found[group] = said
        if left.pop(group, None) is None:
            break
    return found


def _culprit(said: str, flags: Mapping[str, Sequence[str]], judge: Judge) -> str:
    for pattern, group in REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return group
    for group in (suspect for suspect in SUSPECTS if suspect in flags):
        if judge({name: words for name, words in flags.items() if name != group}) is None:
            return group
    return "together"


@dataclass(frozen=True)
class RefusedJob:
    """A job that SLURM refuses: for which group of flags, and its own words."""

    submission: Submission
    group: str
    said: str


def as_problem(refused: RefusedJob, site: Site, facts: ClusterFacts, file: Path = SITE_FILE) -> Problem:
    """Return a refused job in plain words: the key at fault, and what is allowed here."""
    job, words = refused.submission, f"SLURM says: {shortened(refused.said)}"
    shown = facts.partition(job.partition)
    place = _place(job, shown)
    partitions = "; ".join(partition.described for partition in facts.partitions) or "sinfo lists none"
    where = _Where(job, site, file)
    number = f"the job of attempt {job.attempt} at {job.rule}"
    below = f"below set-resources, {job.rule} in {PROFILE_FILE}, or choose another partition"
    match refused.group:
        case "partition":
            key = "cpu_partition" if not job.on_gpu and site.cpu_partition else "partition"
            what = f"no job may wait in {place} ({words})"
            return Problem(where.key(key, "slurm_partition"), what, f"Choose from: {partitions}")
        case "account":
            account = job.resources.get("slurm_account") or site.account
            accounts = ", ".join(sorted({one.account for one in facts.associations})) or "sacctmgr lists none for you"
            what = f"account {account} is not valid for you" if account else "you have no default account"
            return Problem(where.key("account", "slurm_account"), f"{what} ({words})", f"Choose from: {accounts}")
        case "qos":
            names = ", ".join(sorted({name for one in facts.associations for name in one.qos}))
            what = f"QOS {job.resources.get('qos') or site.qos} is not valid for you ({words})"
            return Problem(where.key("qos", "qos"), what, f"Choose from: {names or 'sacctmgr lists none'}")
        case "gpu":
            key = "gres" if site.gres or not site.gpu_model else "gpu_model"
            what = f"{place} gives no GPU for {' '.join(job.gpu_flags)} ({words})"
            return Problem(where.key(key, key), what, f"{_example(facts)}Partitions: {partitions}")
        case "constraint":
            feature = job.resources.get("constraint") or site.constraint
            what = f"no node of {place} with a GPU has {feature} ({words})"
            return Problem(where.key("constraint", "constraint"), what, "Ask for features of nodes: sinfo -o '%N %f'")
        case "memory":
            most = f"; its largest node has {shown.memory_mb} MB" if shown else ""
            what = f"{number} asks for {_memory(job)}{most} ({words})"
            return Problem(place, what, f"Write a smaller mem_mb: N * attempt {below}")
        case "cpus":
            most = f"; its largest node has {shown.cpus}" if shown else ""
            remedy = f"Lower cells_per_gpu in the config or set-threads in {PROFILE_FILE}, or choose another partition"
            return Problem(place, f"{number} asks for {job.cpus} CPUs{most} ({words})", remedy)
        case "time":
            what = f"{number} asks for {job.minutes} minutes ({words})"
            return Problem(place, what, f"Write a smaller runtime: MINUTES * attempt {below}")
        case "controller":
            return Problem("SLURM's controller", f"does not answer ({words})", "Wait, or tell the site's staff")
    most = f"; its largest node has {shown.cpus} CPUs and {shown.memory_mb} MB" if shown else ""
    asks = f"{job.cpus} CPUs, {_memory(job)}{''.join(f' and {flag}' for flag in job.gpu_flags)}"
    remedy = f"Ask for less {below}. Partitions: {partitions}"
    return Problem(place, f"{number} asks for {asks}{most} ({words})", remedy)


def _place(job: Submission, shown: Partition | None) -> str:
    if job.partition:
        return f"partition {job.partition}"
    return f"the default partition{f' ({shown.name})' if shown else ''}"


def _memory(job: Submission) -> str:
    return f"{job.resources.get('mem_mb_per_cpu') or job.mem_mb} MB"


def _example(facts: ClusterFacts) -> str:
    # Snakemake's plugin takes no other names.
    models = [model for model in gpu_models(facts.partitions) if re.fullmatch(r"[A-Za-z0-9_.]+", model)]
    return f"Models here: {', '.join(models)}; e.g. gpu_model: {models[0]}, or gres: gpu:1. " if models else ""


@dataclass(frozen=True)
class _Where:
    """Where a value of a job is written."""

    job: Submission
    site: Site
    file: Path

    def key(self, key: str, resource: str) -> str:
        """Return the key of the site file, or, where the profile has another value, that of the profile."""
        of_site = self.site.job_resources | (self.site.gpu_resources if self.job.on_gpu else {})
        asked = self.job.resources.get(resource)
        if asked and repr(asked) != of_site.get(resource):
            return f"{PROFILE_FILE}, {resource} of {self.job.rule}"
        variable = f"SBATCH_{key.upper()}"
        return f"{self.file}, key {key}" + (f" (or ${variable})" if variable in os.environ else "")


def shortened(said: str) -> str:
    """Return SLURM's words without the names of its programs."""
    return re.sub(r"(?:sbatch|srun): (?:error|fatal): |allocation failure: ", "", said)


def refused_jobs(submissions: Mapping[str, Submission], judge: Judge = reason_to_refuse) -> list[RefusedJob]:
    """Return the jobs that SLURM refuses, one for each reason; jobs with the same flags are asked about once."""
    found: dict[tuple[bool, str], RefusedJob] = {}
    known: dict[str, dict[str, str]] = {}
    for job in submissions.values():
        flags = job.flags()
        key = repr(flags)
        if key not in known:
            known[key] = culprits(flags, judge)
        for group, said in known[key].items():
            found.setdefault((job.on_gpu, group), RefusedJob(job, group, said))
        if "controller" in known[key]:
            break
    return list(found.values())


def too_long(submissions: Mapping[str, Submission], facts: ClusterFacts, attempts: int) -> list[Problem]:
    """Return jobs that ask for more time than their partition gives; at many sites such a job waits forever.

    `attempts`: how many there are, each of which asks for more time.
    """
    problems = []
    for name in {job.partition: None for job in submissions.values()}:
        shown = facts.partition(name)
        if shown is None or shown.minutes is None:
            continue
        asked = {rule: job for rule, job in submissions.items() if job.partition == name}
        over = {rule: job for rule, job in asked.items() if (job.minutes or 0) > shown.minutes}
        if over:
            jobs = ", ".join(f"{rule} {job.minutes}" for rule, job in over.items())
            attempt = next(iter(over.values())).attempt
            what = f"ends jobs after {shown.minutes} minutes; attempt {attempt} asks for more and may never run: {jobs}"
            fitting = f"runtime: {shown.minutes // attempts} * attempt"
            remedy = f"Write {fitting} below set-resources in {PROFILE_FILE}, or choose another partition"
            problems.append(Problem(f"partition {shown.name}", what, remedy))
    return problems


def without_repeats(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, each place and remedy once: two attempts or kinds of jobs often share them."""
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.where, problem.remedy), problem)
    return list(first.values())
