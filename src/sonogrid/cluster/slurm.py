"""SLURM's client commands, run without a shell and with a time limit; what their answers say, and what a job asks."""

from __future__ import annotations

import getpass
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import groupby
from shlex import join, split

from sonogrid.cluster.site import Site
from sonogrid.problems import InputError, Problem

NO_SLURM = "Work on a machine where SLURM's commands are, usually the cluster's login node"
SINFO = ("sinfo", "--noheader", "--format=%P|%a|%G|%m|%c|%l|%D|%T")
DOWN_STATES = ("down", "drain", "fail", "maint", "unknown", "inval", "future")


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What it said about a failure, on one line."""
        return " ".join((self.err.strip() or self.out).split()) or "said nothing"


def call(command: Sequence[str], seconds: float = 30, environment: Mapping[str, str] | None = None) -> Answer:
    """Run a command without a shell. Raise InputError if it does not exist or takes longer than `seconds`."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=environment,
        )
    except (FileNotFoundError, PermissionError):
        raise InputError([Problem(join(command), "there is no such command here", NO_SLURM)]) from None
    except subprocess.TimeoutExpired:
        what, remedy = f"no answer within {seconds:g} s", "The controller is busy or away: try again later"
        raise InputError([Problem(join(command), what, remedy)]) from None
    return Answer(done.returncode, done.stdout, done.stderr)


def ask(command: Sequence[str], seconds: float = 30) -> str:
    """Return what a command writes on stdout. Raise InputError if it fails, hangs or does not exist."""
    answer = call(command, seconds)
    if answer.code != 0:
        remedy = "Correct what it names; `sonogrid plan --check` says more"
        raise InputError([Problem(join(command), f"failed with exit code {answer.code} ({answer.said})", remedy)])
    return answer.out


@dataclass(frozen=True)
class Partition:
    """A partition as sinfo shows it: its state and what its nodes have."""

    name: str
    default: bool
    up: bool
    nodes: int
    working: int
    gpus: tuple[str, ...]
    memory_mb: int
    cpus: int
    minutes: int | None
    """The longest time of a job; None: no limit."""

    @property
    def described(self) -> str:
        """One line for people."""
        gpus = f"a node has {', '.join(self.gpus)}" if self.gpus else "no GPUs"
        state = "" if self.up and self.working else ", closed" if not self.up else ", no node up"
        return f"{self.name} ({'the default, ' if self.default else ''}{gpus}{state})"


def parse_partitions(text: str) -> list[Partition]:
    """Return the partitions in the lines that SINFO writes, of which there is one per kind of node and state."""
    rows = [_partition(line) for line in text.splitlines() if line.count("|") == 7]
    return [merged(name, list(group)) for name, group in groupby(rows, key=lambda row: row.name)]


def _partition(line: str) -> Partition:
    name, availability, gres, memory, cpus, limit, nodes, state = line.strip().split("|")
    count = int(nodes)
    working = 0 if state.lower().startswith(DOWN_STATES) or state.endswith("*") else count
    return Partition(
        name=name.removesuffix("*"),
        default=name.endswith("*"),
        up=availability == "up",
        nodes=count,
        working=working,
        gpus=parse_gres(gres),
        # A + means "at least".
        memory_mb=int(memory.rstrip("+")),
        cpus=int(cpus.rstrip("+")),
        minutes=parse_minutes(limit),
    )


def merged(name: str, rows: Sequence[Partition]) -> Partition:
    """Return several kinds of nodes, or several partitions in one of which a job may run, as one partition."""
    limits = [row.minutes for row in rows if row.minutes is not None]
    return Partition(
        name=name,
        default=any(row.default for row in rows),
        up=any(row.up for row in rows),
        nodes=sum(row.nodes for row in rows),
        working=sum(row.working for row in rows),
        gpus=tuple(dict.fromkeys(gpu for row in rows for gpu in row.gpus)),
        memory_mb=max(row.memory_mb for row in rows),
        cpus=max(row.cpus for row in rows),
        minutes=max(limits) if len(limits) == len(rows) else None,
    )


def parse_minutes(text: str) -> int | None:
    """Return whole minutes of a limit as sinfo writes it, `[[DAYS-]HOURS:]MINUTES:SECONDS`; None for `infinite`."""
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def parse_gres(text: str) -> tuple[str, ...]:
    """Return generic resources of a node without socket numbers: `gpu:a:4(S:0),shard:16` is gpu:a:4, shard:16."""
    entries, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            entries.append("")
        elif depth == 0 and character != ")":
            entries[-1] += character
    return tuple(entry for entry in entries if entry)


def gpu_models(partitions: Sequence[Partition]) -> list[str]:
    """Return the models in the `gpu:MODEL:COUNT` entries of the partitions."""
    entries = (gres.split(":") for one in partitions for gres in one.gpus)
    return sorted({entry[1] for entry in entries if len(entry) == 3 and entry[0] == "gpu"})


def parse_config(text: str) -> dict[str, str]:
    """Return keys and values of `scontrol show config`."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def leading_number(text: str) -> int | None:
    """Return the number that a value such as `300 sec` begins with; None if there is none."""
    digits = text.split(maxsplit=1)[0] if text.strip() else ""
    return int(digits) if digits.isdecimal() else None


ASSOCIATIONS = "format=Account,Partition,MaxSubmitJobs,QOS"


@dataclass(frozen=True)
class Association:
    """A line of the accounting database: with which account, partition (empty: all) and QOS a user may submit."""

    account: str
    partition: str
    most_jobs: int | None
    qos: tuple[str, ...]


def parse_associations(text: str) -> list[Association]:
    """Return the associations in the lines of `sacctmgr --noheader --parsable2 show assoc`."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    return [
        Association(account, partition, leading_number(most), tuple(filter(None, qos.split(","))))
        for account, partition, most, qos in rows
    ]


def with_environment(site: Site, environment: Mapping[str, str] = os.environ) -> Site:
    """Return the site with SLURM's own variables for sbatch where the file says nothing."""
    names = ("account", "partition", "qos", "constraint")
    found = {name: environment.get(f"SBATCH_{name.upper()}") or None for name in names}
    missing = {name: value for name, value in found.items() if value and getattr(site, name) is None}
    # Not validated: these words go to sbatch as they are, which is what it does with them itself.
    return site.model_copy(update=missing)


ASKED_OF_SLURM = (
    *("slurm_account", "slurm_partition", "qos", "runtime", "mem_mb", "mem_mb_per_cpu", "constraint", "nodes"),
    *("gpu", "gpu_model", "gres", "tasks", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu", "slurm_extra"),
)
"""Resources from which the SLURM plugin makes flags of sbatch."""


@dataclass(frozen=True)
class Submission:
    """What one attempt at a job of a rule asks of sbatch."""

    rule: str
    attempt: int
    on_gpu: bool
    """whether the rule computes on a GPU"""
    cpus: int | None
    """threads of the job; None: not known before the job exists"""
    resources: Mapping[str, str | int]
    """as the SLURM plugin of Snakemake gets them"""
    unknown: Mapping[str, str] = field(default_factory=dict)
    """resources whose value depends on the job, with the text of the profile"""

    @property
    def partition(self) -> str | None:
        """The partition in which the job waits; None: the cluster's default."""
        return str(self.resources.get("slurm_partition") or "") or None

    @property
    def mem_mb(self) -> int | None:
        """Memory in MB; None if not known, or left to the cluster."""
        return _whole(self.resources.get("mem_mb"))

    @property
    def minutes(self) -> int | None:
        """Time limit in minutes; None if not known, or left to the cluster."""
        return _whole(self.resources.get("runtime"))

    @property
    def gpu_flags(self) -> list[str]:
        """The flags by which the job asks for GPUs."""
        asked, model, gres = (self.resources.get(name) for name in ("gpu", "gpu_model", "gres"))
        count = f"{model}:{1 if asked is None else asked}" if model else asked
        return [*([f"--gres={gres}"] if gres else []), *([f"--gpus={count}"] if count else [])]

    def flags(self) -> dict[str, list[str]]:
        """Return the flags that decide where the job can run, by what they ask, as the plugin writes them."""
        value = self.resources.get
        asked: dict[str, list[str]] = {
            "account": ["-A", str(value("slurm_account"))] if value("slurm_account") else [],
            "partition": ["-p", self.partition] if self.partition else [],
            "qos": [] if value("qos") is None else [f"--qos={value('qos')}"],
            "time": ["-t", str(value("runtime"))] if value("runtime") else [],
            "memory": self._memory_flags(),
            "cpus": self._cpu_flags(),
            "gpu": self.gpu_flags,
            "constraint": [] if value("constraint") is None else ["-C", str(value("constraint"))],
            "nodes": [] if value("nodes") is None else [f"--nodes={value('nodes')}"],
            "slurm_extra": split(str(value("slurm_extra") or "")),
        }
        return {name: words for name, words in asked.items() if words}

    def _memory_flags(self) -> list[str]:
        if self.resources.get("mem_mb_per_cpu"):
            return ["--mem-per-cpu", str(self.resources["mem_mb_per_cpu"])]
        return ["--mem", str(self.mem_mb)] if self.mem_mb else []

    def _cpu_flags(self) -> list[str]:
        per_task, per_gpu, tasks = (self.resources.get(name) for name in ("cpus_per_task", "cpus_per_gpu", "tasks"))
        counts_gpus = bool(self.resources.get("gpu")) or "gpu" in str(self.resources.get("gres", ""))
        threads = [] if self.cpus is None else [f"--cpus-per-task={self.cpus}"]
        if per_task:
            threads = [f"--cpus-per-task={per_task}"] if int(per_task) > 0 else []
        elif per_gpu and counts_gpus:
            threads = [f"--cpus-per-gpu={per_gpu}"] if int(per_gpu) > 0 else []
        if not counts_gpus:
            return [*threads, f"--ntasks={tasks or 1}"]
        per = self.resources.get("tasks_per_gpu", tasks)
        return [*threads, *([f"--ntasks-per-gpu={per}"] if per is not None and int(per) >= 1 else [])]


def _whole(value: str | int | None) -> int | None:
    return value if isinstance(value, int) else None


def reason_to_refuse(flags: Mapping[str, Sequence[str]]) -> str | None:
    """Return why SLURM would refuse a job with these flags, in its own words; None if it would take it.

    Nothing is submitted.
    """
    words = [word for group in flags.values() for word in group]
    # --wrap holds a constant: a script is wanted, though none is run.
    answer = call(["sbatch", "--test-only", "--requeue", *words, "--wrap=true"])
    return answer.said if answer.code else None


class ClusterFacts:
    """What the cluster offers, asked once and only when a message needs it; empty where it does not say."""

    @cached_property
    def partitions(self) -> list[Partition]:
        """Every partition."""
        return parse_partitions(_said(SINFO))

    @cached_property
    def associations(self) -> list[Association]:
        """Accounts that this user may submit with."""
        command = ("sacctmgr", "--noheader", "--parsable2", "show", "assoc", f"user={getpass.getuser()}")
        return parse_associations(_said((*command, ASSOCIATIONS)))

    @cached_property
    def config(self) -> dict[str, str]:
        """The controller's configuration."""
        return parse_config(_said(("scontrol", "show", "config")))

    def partition(self, name: str | None) -> Partition | None:
        """Return a partition, or several named with commas as one; the default for None. None if one is missing."""
        if name is None:
            return next((partition for partition in self.partitions if partition.default), None)
        known = {partition.name: partition for partition in self.partitions}
        names = name.split(",")
        return merged(name, [known[part] for part in names]) if set(names) <= known.keys() else None


def _said(command: Sequence[str]) -> str:
    try:
        return ask(command)
    except InputError:
        return ""


def seconds_in_job() -> float | None:
    """Return seconds since SLURM started the job of this process, less those that the process itself has computed.

    None outside a job, and where SLURM does not say. Right to a second.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    try:
        started = parse_start(ask(["scontrol", "show", "job", "--oneliner", job]))
    except InputError:
        return None
    return None if started is None else max(0.0, time.time() - started - time.process_time())


def parse_start(text: str) -> float | None:
    """Return when a job began, in seconds since 1970, from `scontrol show job`; None if it does not say."""
    found = re.search(r"\bStartTime=(\S+)", text)
    try:
        return datetime.fromisoformat(found[1]).timestamp() if found else None
    except ValueError:
        return None
