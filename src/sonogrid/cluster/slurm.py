"""Asking SLURM: its client commands, run without a shell and with a time limit, and what their answers say."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from shlex import join

from sonogrid.cluster.requests import Request
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
    """Run a command without a shell. Raises InputError where it is not there or takes longer than `seconds`."""
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
    """What a command writes on stdout. Raises InputError with its own words where it fails, hangs or is not there."""
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
    """The partitions in the lines that SINFO writes, one for every kind of node and state, in their order."""
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
        # A + stands for "at least".
        memory_mb=int(memory.rstrip("+")),
        cpus=int(cpus.rstrip("+")),
        minutes=parse_minutes(limit),
    )


def merged(name: str, rows: Sequence[Partition]) -> Partition:
    """Several kinds of nodes, or several partitions in one of which a job may run, as one partition."""
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
    """Whole minutes of a limit as sinfo writes it, `[[DAYS-]HOURS:]MINUTES:SECONDS`; None for `infinite`."""
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", text.strip())
    if found is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def parse_gres(text: str) -> tuple[str, ...]:
    """Generic resources of a node without socket numbers: `gpu:h200:4(S:0-1),shard:16` is gpu:h200:4, shard:16."""
    entries, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            entries.append("")
        elif depth == 0 and character != ")":
            entries[-1] += character
    return tuple(entry for entry in entries if entry)


def gpu_models(partitions: Sequence[Partition]) -> list[str]:
    """Models in the `gpu:MODEL:COUNT` entries of the partitions."""
    entries = (gres.split(":") for one in partitions for gres in one.gpus)
    return sorted({entry[1] for entry in entries if len(entry) == 3 and entry[0] == "gpu"})


def parse_config(text: str) -> dict[str, str]:
    """Keys and values of `scontrol show config`."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def leading_number(text: str) -> int | None:
    """The number that a value such as `300 sec` begins with; None if there is none."""
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
    """The associations in the lines of `sacctmgr --noheader --parsable2 show assoc`."""
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 3]
    return [
        Association(account, partition, leading_number(most), tuple(filter(None, qos.split(","))))
        for account, partition, most, qos in rows
    ]


def with_environment(site: Site, environment: Mapping[str, str] = os.environ) -> Site:
    """The site with SLURM's own variables for sbatch where the file says nothing."""
    names = ("account", "partition", "qos", "constraint")
    found = {name: environment.get(f"SBATCH_{name.upper()}") or None for name in names}
    missing = {name: value for name, value in found.items() if value and getattr(site, name) is None}
    # Not validated: these words go to sbatch as they are, which is what it does with them itself.
    return site.model_copy(update=missing)


def partition_of(site: Site, request: Request) -> str | None:
    """The partition in which a job waits; None: the cluster's default."""
    return site.partition if request.gpus else site.cpu_partition or site.partition


def submit_flags(site: Site, request: Request, attempt: int = 1) -> dict[str, list[str]]:
    """The flags of sbatch that decide where a job can run, by what they ask, as the profile's jobs get them."""
    flags: dict[str, list[str]] = {}
    partition = partition_of(site, request)
    if site.account:
        flags["account"] = ["-A", site.account]
    if partition:
        flags["partition"] = ["-p", partition]
    if site.qos:
        flags["qos"] = [f"--qos={site.qos}"]
    flags["time"] = ["-t", str(request.minutes * attempt)]
    flags["memory"] = ["--mem", str(request.mem_mb * attempt)]
    flags["cpus"] = [f"--cpus-per-task={request.cpus}"]
    if request.gpus:
        flags["gpu"] = [site.gpu_flag]
        if site.constraint:
            flags["constraint"] = ["-C", site.constraint]
    else:
        flags["cpus"].append("--ntasks=1")
    return flags


def refusal(flags: Mapping[str, Sequence[str]]) -> str | None:
    """Why SLURM would refuse a job with these flags, in its own words; None if it would take it. Submits nothing."""
    words = [word for group in flags.values() for word in group]
    # --wrap holds a constant: a script is wanted, though none is run.
    answer = call(["sbatch", "--test-only", "--requeue", *words, "--wrap=true"])
    return answer.said if answer.code else None


def seconds_in_job() -> float | None:
    """Seconds since SLURM started the job of this process, less those that the process itself has computed.

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
    """When a job began, in seconds since 1970, from `scontrol show job`; None if it does not say."""
    found = re.search(r"\bStartTime=(\S+)", text)
    try:
        return datetime.fromisoformat(found[1]).timestamp() if found else None
    except ValueError:
        return None
