"""`sonogrid plan --check`: every way in which a cluster would refuse a grid's jobs, keep them waiting or lose them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sonogrid
from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.preflight import LAST_ATTEMPT, Facts, as_problem, refusals, shortened, too_long, unique
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import Association, call, submit_flags
from sonogrid.problems import InputError, Problem

State = Literal["ok", "wrong", "warning", "not checked"]
COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun")
LEAST_JOB_AGE = 240
"""Seconds; the head asks squeue at most 3 minutes apart, and waits for ever for a job that was forgotten meanwhile."""
NODE_SECONDS = 120
"""How long a check waits for a free node."""
FILE_SECONDS = 60.0
"""How long a file of a node may take to be seen here; the profile's latency-wait."""


@dataclass(frozen=True)
class Finding:
    """One line of the check: what was looked at, what was found, and what to do about it."""

    check: str
    found: str
    state: State
    remedy: str = ""


def check_cluster(
    site: Site, requests: Mapping[str, Request], folders: Sequence[Path], jobs: int, file: Path = SITE_FILE
) -> Iterator[Finding]:
    """Everything worth knowing before a grid of `jobs` jobs at a time starts, one finding after the other.

    `folders`: those that every node must see. Raises InputError where there is no SLURM.
    """
    ping = call(["scontrol", "ping"])
    yield find_commands()
    if " is UP" not in ping.out:
        yield Finding("controller", ping.said, "wrong", "Wait, or tell the site's staff")
        return
    yield Finding("controller", ping.out.strip().splitlines()[0], "ok")
    site, facts = cluster.with_environment(site), Facts()
    gpu_job = next(request for request in requests.values() if request.gpus)
    cpu_job = next(request for request in requests.values() if not request.gpus)
    for kind, job in (("GPU jobs", gpu_job), ("other jobs", cpu_job)):
        yield find_partition(f"partition of {kind}", cluster.partition_of(site, job), facts, bool(job.gpus))
    yield find_account(site, facts.associations)
    refused = list(find_refusals(site, requests, facts, file))
    yield from refused
    yield find_job_age(facts.config)
    yield find_slurm_conf(os.environ)
    yield find_job_limit(site, facts.associations, jobs)
    if any(one.state == "wrong" and one.check == "jobs, attempt 1" for one in refused):
        yield Finding("nodes", "jobs would be refused", "not checked", "Correct that first")
    else:
        yield from find_nodes(site, {"GPU": gpu_job, "other": cpu_job}, folders)


def find_commands() -> Finding:
    """Whether the client commands that the head process calls are here."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        return Finding("commands", f"not here: {', '.join(missing)}", "wrong", cluster.NO_SLURM)
    return Finding("commands", ", ".join(COMMANDS), "ok")


def find_partition(check: str, name: str | None, facts: Facts, wants_gpu: bool) -> Finding:
    """Whether a partition (None: the default one) is there, open, has working nodes and, if wanted, GPUs."""
    shown = facts.partition(name)
    choices = "; ".join(one.described for one in facts.partitions)
    remedy = f"Choose in slurm/site.yaml from: {choices}"
    if shown is None:
        found = f"there is no partition {name}" if name else "no partition is the default"
        return Finding(check, found, "wrong", remedy)
    if not shown.up or not shown.working:
        return Finding(check, shown.described, "wrong", f"Wait. {remedy}")
    if wants_gpu and not shown.gpus:
        return Finding(check, shown.described, "wrong", remedy)
    return Finding(check, shown.described, "ok")


def find_account(site: Site, associations: Sequence[Association]) -> Finding:
    """Whether the user may submit with the account and QOS of the site."""
    if not associations:
        remedy = "The lines on jobs show what sbatch says of it"
        return Finding("account", "no accounting database answers", "not checked", remedy)
    accounts = sorted({one.account for one in associations})
    if site.account and site.account not in accounts:
        remedy = f"Choose in slurm/site.yaml from: {', '.join(accounts)}"
        return Finding("account", f"{site.account} is not yours", "wrong", remedy)
    allowed = sorted({name for one in _own(site, associations) for name in one.qos})
    if site.qos and site.qos not in allowed:
        return Finding("account", f"QOS {site.qos} is not yours", "wrong", f"Choose from: {', '.join(allowed)}")
    return Finding("account", site.account or f"the default one; yours are {', '.join(accounts)}", "ok")


def _own(site: Site, associations: Sequence[Association]) -> list[Association]:
    return [one for one in associations if site.account in (None, one.account)]


def find_refusals(site: Site, requests: Mapping[str, Request], facts: Facts, file: Path) -> Iterator[Finding]:
    """What sbatch says to the first and to the last attempt of a job of every stage; what is wrong with both once.

    Too much memory, time or CPUs is a warning: the profile may ask for less than the rules, which is not seen here.
    """
    told: list[Problem] = []
    for attempt, growth in ((1, "1"), (LAST_ATTEMPT, f"{LAST_ATTEMPT}, with {LAST_ATTEMPT} x memory and time")):
        refused = {as_problem(one, site, facts, file): one.group for one in refusals(site, requests, attempt)}
        problems = unique([*told, *refused, *too_long(site, requests, attempt, facts)])[len(told) :]
        check = f"jobs, attempt {attempt}"
        for problem in problems:
            wrong = refused.get(problem) in ("partition", "account", "qos", "gpu", "constraint", "controller")
            found = f"{problem.where}: {problem.what}"
            yield Finding(check, found, "wrong" if wrong else "warning", problem.remedy)
        if not problems and not told:
            yield Finding(check, f"sbatch would take a job of each of {len(requests)} stages at attempt {growth}", "ok")
        told += problems


def find_job_age(config: Mapping[str, str]) -> Finding:
    """Whether the controller remembers finished jobs long enough for the head to learn of them."""
    age = cluster.leading_number(config.get("MinJobAge", ""))
    if age is None:
        remedy = f"It should be {LEAST_JOB_AGE} s or more"
        return Finding("MinJobAge", "scontrol does not show it", "not checked", remedy)
    found = f"finished jobs are remembered for {age} s"
    if age >= LEAST_JOB_AGE:
        return Finding("MinJobAge", found, "ok")
    why = "Snakemake asks at most 3 minutes apart and waits for ever for a job that was forgotten in between"
    remedy = (
        f"{why}. Ask the site for {LEAST_JOB_AGE} s or more; or run with --slurm-status-command sacct, and never "
        "scancel a job of a running grid, as that is then not noticed"
    )
    return Finding("MinJobAge", found, "wrong", remedy)


def find_slurm_conf(environment: Mapping[str, str]) -> Finding:
    """Whether SLURM's commands work without SLURM_CONF, which the srun inside a job does not get."""
    if not environment.get("SLURM_CONF"):
        return Finding("SLURM_CONF", "not set, not needed", "ok")
    without = {name: value for name, value in environment.items() if name != "SLURM_CONF"}
    if " is UP" in call(["scontrol", "ping"], environment=without).out:
        return Finding("SLURM_CONF", "set, but commands work without it", "ok")
    remedy = "The srun inside each job does not get this variable: ask the site for a link in /etc/slurm on every node"
    return Finding("SLURM_CONF", f"{environment['SLURM_CONF']}; commands fail without it", "wrong", remedy)


def find_job_limit(site: Site, associations: Sequence[Association], jobs: int) -> Finding:
    """Whether the user may have as many jobs in the queue as the head submits."""
    partitions = ("", site.partition, site.cpu_partition)
    limits = [one.most_jobs for one in _own(site, associations) if one.partition in partitions and one.most_jobs]
    if not associations:
        return Finding("jobs at a time", f"{jobs}; no accounting database answers", "not checked")
    if limits and min(limits) < jobs:
        found = f"{jobs}, but your account may have {min(limits)} in the queue"
        remedy = f"Set jobs: {min(limits)} in slurm/profile.yaml, or add --jobs {min(limits)}"
        return Finding("jobs at a time", found, "wrong", remedy)
    allowed = f"allowed: {min(limits)}" if limits else "no limit is set for you"
    return Finding("jobs at a time", f"{jobs}; {allowed}", "ok")


# ---- nodes


NODE_SCRIPT = """
nonce=$1 count=$2; shift 2
echo "node=$(hostname)"
echo "gpus=${CUDA_VISIBLE_DEVICES-}"
for folder in "${@:1:count}"; do
    [ "$(cat "$folder/asked" 2>&1)" = "$nonce" ] || echo "unseen=$folder"
    echo "$nonce" > "$folder/answered" || echo "unwritten=$folder"
done
shift "$count"
if [ $# -gt 0 ]; then
    command -v module >/dev/null || . /etc/profile.d/modules.sh || . /etc/profile.d/lmod.sh
    module load "$@" || echo "modules=failed"
fi 2>/dev/null
echo "version=$(sonogrid --version 2>&1 | tail -n 1)"
if [ -n "${CUDA_VISIBLE_DEVICES-}" ]; then
    python=$(dirname "$(command -v sonogrid)")/python
    echo "torch=$("$python" -c 'import torch; print(torch.__version__, torch.cuda.is_available())' 2>&1 | tail -n 1)"
fi
"""
"""What a node is asked; folders and modules are arguments of it, never part of its text."""


@contextmanager
def nonces(folders: Sequence[Path], nonce: str) -> Iterator[list[Path]]:
    """New folders, each below one of `folders` or the part of it that exists, with the nonce in a file `asked`."""
    with ExitStack() as stack:
        made = []
        for folder in folders:
            there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
            made.append(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".check_", dir=there))))
            (made[-1] / "asked").write_text(nonce, encoding="utf-8")
        yield made


def node_command(site: Site, request: Request, seconds: int, name: str) -> list[str]:
    """The srun that asks one node, or gives up after `seconds` without a free one."""
    small = Request(gpus=request.gpus, cpus=1, mem_mb=2000, minutes=5)
    flags = [word for words in submit_flags(site, small).values() for word in words]
    flags = [flag for flag in flags if flag != "--ntasks=1"]
    return ["srun", f"--immediate={seconds}", f"--job-name={name}", "--ntasks=1", "--export=ALL", *flags, "bash", "-c"]


def find_nodes(site: Site, kinds: Mapping[str, Request], folders: Sequence[Path]) -> Iterator[Finding]:
    """Ask a node of each kind, all at once, whether it sees this machine's files, this package and its GPU."""
    with ThreadPoolExecutor(len(kinds)) as pool:
        asked = {kind: pool.submit(find_node, kind, site, request, folders) for kind, request in kinds.items()}
        for answer in asked.values():
            yield from answer.result()


def find_node(kind: str, site: Site, request: Request, folders: Sequence[Path]) -> list[Finding]:
    """Ask one node; a job of a few seconds, the only one that the check starts."""
    check, nonce, limit = f"node of {kind} jobs", secrets.token_hex(8), NODE_SECONDS + 60
    job = f"sonogrid_check_{nonce}"
    # An allocation that this process may run in is not the one to ask.
    kept = {name for name in os.environ if name == "SLURM_CONF" or not name.startswith("SLURM_")}
    with nonces(folders, nonce) as made:
        arguments = [NODE_SCRIPT, "sonogrid_check", nonce, str(len(made)), *map(str, made), *site.modules]
        command = [*node_command(site, request, NODE_SECONDS, job), *arguments]
        try:
            answer = call(command, limit, {name: os.environ[name] for name in kept})
        except InputError:
            call(["scancel", "--name", job])
            return [Finding(check, f"no answer of a job within {limit} s", "not checked", "Try again later")]
        if "node=" not in answer.out:
            return [_no_node(check, answer.said)]
        seconds = seconds_until_seen([folder / "answered" for folder in made], nonce)
    return read_node(check, parse_node(answer.out), bool(request.gpus), seconds, dict(zip(made, folders, strict=True)))


def _no_node(check: str, said: str) -> Finding:
    if re.search(r"busy|immediate|revoked", said, re.IGNORECASE):
        return Finding(check, f"no node was free within {NODE_SECONDS} s", "not checked", "Try again later")
    remedy = "See what the lines above say of partition, account and jobs"
    return Finding(check, shortened(said), "wrong", remedy)


def seconds_until_seen(files: Sequence[Path], nonce: str) -> float | None:
    """Seconds until every file that a node wrote is seen here with its content; None after FILE_SECONDS."""
    started = time.monotonic()
    while time.monotonic() - started < FILE_SECONDS:
        if all(file.is_file() and file.read_text(encoding="utf-8").strip() == nonce for file in files):
            return time.monotonic() - started
        time.sleep(0.2)
    return None


def parse_node(text: str) -> dict[str, list[str]]:
    """What NODE_SCRIPT wrote: key -> its values."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            said.setdefault(key, []).append(value)
    return said


def read_node(
    check: str, said: Mapping[str, list[str]], wants_gpu: bool, seconds: float | None, folders: Mapping[Path, Path]
) -> list[Finding]:
    """The findings in a node's answer; `folders`: the folder that was tried -> the one that jobs need."""
    node = said["node"][0]
    findings = []
    tried = [*said.get("unseen", []), *said.get("unwritten", [])]
    hidden = sorted({str(folders.get(Path(path), path)) for path in tried})
    if hidden or seconds is None:
        found = f"{node} does not share {', '.join(hidden) or 'its files'} with this machine"
        remedy = "Work in a folder of the shared file system, and set scratch in slurm/site.yaml to one"
        findings.append(Finding(f"{check}: files", found, "wrong", remedy))
    else:
        findings.append(
            Finding(f"{check}: files", f"{node} shares them; a new one is seen after {seconds:.1f} s", "ok")
        )
    if "modules" in said:
        remedy = "Correct the key modules of slurm/site.yaml: module avail"
        findings.append(Finding(f"{check}: modules", f"not loaded on {node}", "wrong", remedy))
    version = said.get("version", [""])[0]
    if version == f"sonogrid {sonogrid.__version__}":
        findings.append(Finding(f"{check}: sonogrid", version, "ok"))
    else:
        remedy = "Activate the environment, in a folder that nodes see, before you type snakemake or this command"
        findings.append(Finding(f"{check}: sonogrid", f"{node} says: {version or 'nothing'}", "wrong", remedy))
    return [*findings, *([_read_gpu(check, said, node)] if wants_gpu else [])]


def _read_gpu(check: str, said: Mapping[str, list[str]], node: str) -> Finding:
    visible, torch = said.get("gpus", [""])[0], said.get("torch", [""])[0]
    if not visible:
        remedy = "Set gpu_model or gres in slurm/site.yaml as the site's manual says"
        return Finding(f"{check}: GPU", f"{node} gave none: CUDA_VISIBLE_DEVICES is empty", "wrong", remedy)
    if not torch.endswith(" True"):
        remedy = "Cells would be trained on its CPU: install torch for its driver, unless its GPUs are pretended ones"
        found = f"{node} gave GPU {visible}, but torch cannot use it ({torch or 'no answer'})"
        return Finding(f"{check}: GPU", found, "warning", remedy)
    return Finding(f"{check}: GPU", f"{node} gave GPU {visible}; torch {torch.removesuffix(' True')} can use it", "ok")
