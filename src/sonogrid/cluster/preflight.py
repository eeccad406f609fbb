"""Whether SLURM would take the jobs of a grid, asked before the first of them; nothing is submitted."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import Association, Partition, submit_flags
from sonogrid.problems import InputError, Problem

LAST_ATTEMPT = 3
"""The profile has 2 retries."""


class Facts:
    """What the cluster offers, asked once and only when a message needs it; empty where it does not say."""

    @cached_property
    def partitions(self) -> list[Partition]:
        """Every partition."""
        return cluster.parse_partitions(_said(cluster.SINFO))

    @cached_property
    def associations(self) -> list[Association]:
        """Accounts that this user may submit with."""
        command = ("sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"user={getpass.getuser()}")
        return cluster.parse_associations(_said((*command, cluster.ASSOCIATIONS)))

    @cached_property
    def config(self) -> dict[str, str]:
        """The controller's configuration."""
        return cluster.parse_config(_said(("scontrol", "show", "config")))

    def partition(self, name: str | None) -> Partition | None:
        """A partition, or several named with commas as one; the default for None. None if one is not there."""
        if name is None:
            return next((one for one in self.partitions if one.default), None)
        known = {one.name: one for one in self.partitions}
        names = name.split(",")
        return cluster.merged(name, [known[one] for one in names]) if set(names) <= known.keys() else None


def _said(command: Sequence[str]) -> str:
    try:
        return cluster.ask(command)
    except InputError:
        return ""


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
SUSPECTS = ("gpu", "constraint", "memory", "cpus", "time", "qos", "account", "partition")

Refusal = Callable[[Mapping[str, Sequence[str]]], str | None]


def culprits(flags: Mapping[str, Sequence[str]], refusal: Refusal) -> dict[str, str]:
    """The groups of flags for which SLURM refuses a job, each with its words; empty if it would take the job.

    SLURM tells one reason at a time, so each group found is left out and the rest is asked about again. The group is
    `together` where no single one is at fault.
    """
    found: dict[str, str] = {}
    left = dict(flags)
    while (said := refusal(left)) is not None:
        group = _culprit(said, left, refusal)
        found[group] = said
        if left.pop(group, None) is None:
            break
    return found


def _culprit(said: str, flags: Mapping[str, Sequence[str]], refusal: Refusal) -> str:
    for pattern, group in REASONS:
        if re.search(pattern, said, re.IGNORECASE):
            return group
    for group in (one for one in SUSPECTS if one in flags):
        if refusal({name: words for name, words in flags.items() if name != group}) is None:
            return group
    return "together"


@dataclass(frozen=True)
class Refused:
    """A job that SLURM refuses: of which stage and attempt, for which group of flags, and its own words."""

    stage: str
    request: Request
    attempt: int
    group: str
    said: str


def as_problem(refused: Refused, site: Site, facts: Facts, file: Path = SITE_FILE) -> Problem:
    """A refused job in plain words: the key of the site file at fault, and what is allowed here."""
    request, words = refused.request, f"SLURM says: {shortened(refused.said)}"
    waits_in = cluster.partition_of(site, request)
    shown = facts.partition(waits_in)
    place = f"partition {waits_in}" if waits_in else f"the default partition{f' ({shown.name})' if shown else ''}"
    partitions = "; ".join(one.described for one in facts.partitions) or "sinfo lists none"
    partition_key = "cpu_partition" if not request.gpus and site.cpu_partition else "partition"
    accounts = ", ".join(sorted({one.account for one in facts.associations})) or "sacctmgr lists none for you"
    qos = ", ".join(sorted({name for one in facts.associations for name in one.qos})) or "sacctmgr lists none"
    gpu_key = "gres" if site.gres or not site.gpu_model else "gpu_model"
    # Snakemake's plugin takes no other names.
    models = [one for one in cluster.gpu_models(facts.partitions) if re.fullmatch(r"[A-Za-z0-9_.]+", one)]
    example = f"Models here: {', '.join(models)}; e.g. gpu_model: {models[0]}, or gres: gpu:1. " if models else ""
    number = f"the job of attempt {refused.attempt} at {refused.stage}"
    below = f"below set-resources, {refused.stage} in slurm/profile.yaml unless you did, or choose another partition"
    match refused.group:
        case "partition":
            what = f"no job may wait in {place} ({words})"
            return Problem(_key(file, partition_key), what, f"Choose from: {partitions}")
        case "account":
            what = f"account {site.account} is not valid for you" if site.account else "you have no default account"
            return Problem(_key(file, "account"), f"{what} ({words})", f"Choose from: {accounts}")
        case "qos":
            return Problem(_key(file, "qos"), f"QOS {site.qos} is not valid for you ({words})", f"Choose from: {qos}")
        case "gpu":
            what = f"{place} gives no GPU for {site.gpu_flag} ({words})"
            return Problem(_key(file, gpu_key), what, f"{example}Partitions: {partitions}")
        case "constraint":
            what = f"no node of {place} with a GPU has {site.constraint} ({words})"
            return Problem(_key(file, "constraint"), what, "Ask for features of nodes: sinfo -o '%N %f'")
        case "memory":
            most = f"; its largest node has {shown.memory_mb} MB" if shown else ""
            what = f"{number} asks for {request.mem_mb * refused.attempt} MB{most} ({words})"
            return Problem(place, what, f"Write a smaller mem_mb: N * attempt {below}")
        case "cpus":
            most = f"; its largest node has {shown.cpus}" if shown else ""
            what = f"{number} asks for {request.cpus} CPUs{most} ({words})"
            return Problem(place, what, "Lower cells_per_gpu in the config, or choose another partition")
        case "time":
            what = f"{number} asks for {request.minutes * refused.attempt} minutes ({words})"
            return Problem(place, what, f"Write a smaller runtime: MINUTES * attempt {below}")
        case "controller":
            return Problem("SLURM's controller", f"does not answer ({words})", "Wait, or tell the site's staff")
    most = f"; its largest node has {shown.cpus} CPUs and {shown.memory_mb} MB" if shown else ""
    asks = (
        f"{request.cpus} CPUs, {request.mem_mb * refused.attempt} MB{f' and {site.gpu_flag}' if request.gpus else ''}"
    )
    return Problem(
        place, f"{number} asks for {asks}{most} ({words})", f"Ask for less {below}. Partitions: {partitions}"
    )


def _key(file: Path, key: str) -> str:
    variable = f"SBATCH_{key.upper()}"
    return f"{file}, key {key}" + (f" (or ${variable})" if variable in os.environ else "")


def shortened(said: str) -> str:
    """SLURM's words without the names of its programs."""
    return re.sub(r"(?:sbatch|srun): (?:error|fatal): |allocation failure: ", "", said)


def refusals(
    site: Site, requests: Mapping[str, Request], attempt: int, refusal: Refusal = cluster.refusal
) -> list[Refused]:
    """The jobs that SLURM refuses, one for each reason; each different job is asked about once, none is submitted."""
    found: dict[tuple[bool, str], Refused] = {}
    known: dict[str, dict[str, str]] = {}
    for stage, request in requests.items():
        flags = submit_flags(site, request, attempt)
        key = repr(flags)
        if key not in known:
            known[key] = culprits(flags, refusal)
        for group, said in known[key].items():
            found.setdefault((bool(request.gpus), group), Refused(stage, request, attempt, group, said))
        if "controller" in known[key]:
            break
    return list(found.values())


def too_long(site: Site, requests: Mapping[str, Request], attempt: int, facts: Facts) -> list[Problem]:
    """Jobs that ask for more time than their partition gives; many sites let such a job wait for ever."""
    problems = []
    for name in {cluster.partition_of(site, request): None for request in requests.values()}:
        shown = facts.partition(name)
        if shown is None or shown.minutes is None:
            continue
        asked = {s: r.minutes * attempt for s, r in requests.items() if cluster.partition_of(site, r) == name}
        over = {stage: minutes for stage, minutes in asked.items() if minutes > shown.minutes}
        if over:
            jobs = ", ".join(f"{stage} {minutes}" for stage, minutes in over.items())
            what = f"ends jobs after {shown.minutes} minutes; attempt {attempt} asks for more and may never run: {jobs}"
            fitting = f"runtime: {shown.minutes // LAST_ATTEMPT} * attempt"
            remedy = (
                f"Write {fitting} below set-resources in slurm/profile.yaml unless you did, or choose another partition"
            )
            problems.append(Problem(f"partition {shown.name}", what, remedy))
    return problems


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """The problems without repetitions of one place and remedy, as two attempts or kinds of jobs often have them."""
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.where, problem.remedy), problem)
    return list(first.values())


def quick_check(site: Site, requests: Mapping[str, Request], file: Path = SITE_FILE) -> None:
    """Ask SLURM whether it would take the smallest job of every stage, in well under a second; submits nothing.

    So it finds what is wrong with partition, account and GPU syntax; memory and time, which the profile may change,
    are for `plan --check`. Raises InputError with every problem.
    """
    site, facts = cluster.with_environment(site), Facts()
    smallest = {stage: replace(request, cpus=1, mem_mb=100, minutes=1) for stage, request in requests.items()}
    problems = unique([as_problem(one, site, facts, file) for one in refusals(site, smallest, 1)])
    if problems:
        raise InputError(problems)
