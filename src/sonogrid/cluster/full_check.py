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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import sonogrid
from sonogrid.cluster import slurm as cluster
from sonogrid.cluster.profile import PROFILE_FILE, Profile
from sonogrid.cluster.refusals import as_problem, refused_jobs, shortened, too_long, without_repeats
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import Association, ClusterFacts, Submission, call
from sonogrid.problems import InputError, Problem

Verdict = Literal["ok", "wrong", "warning", "not checked"]
COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol", "srun")
LEAST_JOB_AGE = 240
"""Seconds. Polls of the head are up to 3 minutes apart; it waits forever for a job that was forgotten in between."""
NODE_SECONDS = 120
"""How long a check waits for a free node."""
FILE_SECONDS = 60.0
"""How long a file of a node may take to be seen here; the profile's latency-wait."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the check: what was looked at, what was found, and what to do about it."""

    check: str
    found: str
    verdict: Verdict
    remedy: str = ""


def check_cluster(
    site: Site,
    profile: Profile,
    requests: Mapping[str, Request],
    folders: Sequence[Path],
    jobs: int,
    file: Path = SITE_FILE,
) -> Iterator[CheckResult]:
    """Yield everything worth knowing before a grid of `jobs` jobs at a time starts, one result after the other.

    `folders`: those that every node must see. Raise InputError where there is no SLURM.
    """
    ping = call(["scontrol", "ping"])
    yield find_commands()
    if " is UP" not in ping.out:
        yield CheckResult("controller", ping.said, "wrong", "Wait, or tell the site's staff")
        return
    yield CheckResult("controller", ping.out.strip().splitlines()[0], "ok")
    site, facts = cluster.with_environment(site), ClusterFacts()
    first = profile.submissions(requests)
    for wants_gpu, kind in ((True, "GPU jobs"), (False, "other jobs")):
        for partition in dict.fromkeys(job.partition for job in first.values() if job.on_gpu == wants_gpu):
            yield find_partition(f"partition of {kind}", partition, facts, wants_gpu)
    yield find_account(site, facts.associations)
    yield from find_unread(profile, first, requests)
    refused = list(find_refusals(site, profile, requests, facts, file))
    yield from refused
    yield find_job_age(facts.config)
    yield find_slurm_conf(os.environ)
    yield find_job_limit(site, facts.associations, jobs)
    if any(result.verdict == "wrong" and result.check == "jobs, attempt 1" for result in refused):
        yield CheckResult("nodes", "jobs would be refused", "not checked", "Correct that first")
    else:
        gpu_job = next(job for job in first.values() if job.on_gpu)
        cpu_job = next(job for job in first.values() if not job.on_gpu)
        yield from find_nodes(site, {"GPU": gpu_job, "other": cpu_job}, folders)


def find_commands() -> CheckResult:
    """Return whether the client commands that the head process calls are here."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        return CheckResult("commands", f"not here: {', '.join(missing)}", "wrong", cluster.NO_SLURM)
    return CheckResult("commands", ", ".join(COMMANDS), "ok")


def find_partition(check: str, name: str | None, facts: ClusterFacts, wants_gpu: bool) -> CheckResult:
    """Return whether a partition (None: the default one) is there, open, has working nodes and, if wanted, GPUs."""
    shown = facts.partition(name)
    choices = "; ".join(one.described for one in facts.partitions)
    remedy = f"Choose in slurm/site.yaml from: {choices}"
    if shown is None:
        found = f"there is no partition {name}" if name else "no partition is the default"
        return CheckResult(check, found, "wrong", remedy)
    if not shown.up or not shown.working:
        return CheckResult(check, shown.described, "wrong", f"Wait. {remedy}")
    if wants_gpu and not shown.gpus:
        return CheckResult(check, shown.described, "wrong", remedy)
    return CheckResult(check, shown.described, "ok")


def find_account(site: Site, associations: Sequence[Association]) -> CheckResult:
    """Return whether the user may submit with the account and QOS of the site."""
    if not associations:
        remedy = "The lines on jobs show what sbatch says of it"
        return CheckResult("account", "no accounting database answers", "not checked", remedy)
    accounts = sorted({one.account for one in associations})
    if site.account and site.account not in accounts:
        remedy = f"Choose in slurm/site.yaml from: {', '.join(accounts)}"
        return CheckResult("account", f"{site.account} is not yours", "wrong", remedy)
    allowed = sorted({name for one in _own(site, associations) for name in one.qos})
    if site.qos and site.qos not in allowed:
        return CheckResult("account", f"QOS {site.qos} is not yours", "wrong", f"Choose from: {', '.join(allowed)}")
    return CheckResult("account", site.account or f"the default one; yours are {', '.join(accounts)}", "ok")


def _own(site: Site, associations: Sequence[Association]) -> list[Association]:
    return [one for one in associations if site.account in (None, one.account)]


def find_unread(
    profile: Profile, submissions: Mapping[str, Submission], requests: Mapping[str, Request]
) -> Iterator[CheckResult]:
    """Yield what the check cannot see of the profile, or what Snakemake would not see."""
    if profile.unread:
        found = f"{PROFILE_FILE} cannot be read ({profile.unread})"
        yield CheckResult("profile", found, "wrong", "Correct it; the lines below are without it")
    for job in submissions.values():
        for name, text in job.unknown.items():
            found = f"{name} of {job.rule} is {text}, which cannot be evaluated without a job"
            yield CheckResult("profile", found, "not checked", "Jobs are asked about without it")
    unknown = profile.unknown_rules(requests)
    if unknown:
        found = f"{PROFILE_FILE} names what is no rule: {', '.join(unknown)}"
        yield CheckResult("profile", found, "wrong", f"Rules with jobs of their own: {', '.join(requests)}")


CERTAIN = ("partition", "account", "qos", "gpu", "constraint", "controller")
"""Groups of flags for which a refusal concerns every attempt."""


def find_refusals(
    site: Site, profile: Profile, requests: Mapping[str, Request], facts: ClusterFacts, file: Path
) -> Iterator[CheckResult]:
    """Yield what sbatch says to the first and to the last attempt at a job of every rule; what both share once.

    Too much memory, time or CPUs is wrong in a first attempt, and a warning in a later one, which may never be needed.
    """
    told: list[Problem] = []
    last = profile.last_attempt
    for attempt in dict.fromkeys((1, last)):
        submissions = profile.submissions(requests, attempt)
        refused = {as_problem(job, site, facts, file): job.group for job in refused_jobs(submissions)}
        long = too_long(submissions, facts, last)
        problems = without_repeats([*told, *refused, *long])[len(told) :]
        check = f"jobs, attempt {attempt}"
        for problem in problems:
            wrong = attempt == 1 or refused.get(problem) in CERTAIN
            found = f"{problem.where}: {problem.what}"
            yield CheckResult(check, found, "wrong" if wrong else "warning", problem.remedy)
        if not problems and not told:
            yield CheckResult(check, f"sbatch would take a job of each of {len(requests)} rules", "ok")
        told += problems


def find_job_age(config: Mapping[str, str]) -> CheckResult:
    """Return whether the controller remembers finished jobs long enough for the head to learn of them."""
    age = cluster.leading_number(config.get("MinJobAge", ""))
    if age is None:
        remedy = f"It should be {LEAST_JOB_AGE} s or more"
        return CheckResult("MinJobAge", "scontrol does not show it", "not checked", remedy)
    found = f"finished jobs are remembered for {age} s"
    if age >= LEAST_JOB_AGE:
        return CheckResult("MinJobAge", found, "ok")
    why = "Snakemake asks at most 3 minutes apart and waits forever for a job that was forgotten in between"
    remedy = (
        f"{why}. Ask the site for {LEAST_JOB_AGE} s or more; or run with --slurm-status-command sacct, and never "
        "scancel a job of a running grid, as that is then not noticed"
    )
    return CheckResult("MinJobAge", found, "wrong", remedy)


def find_slurm_conf(environment: Mapping[str, str]) -> CheckResult:
    """Return whether SLURM's commands work without SLURM_CONF, which the srun inside a job does not get."""
    if not environment.get("SLURM_CONF"):
        return CheckResult("SLURM_CONF", "not set, not needed", "ok")
    without = {name: value for name, value in environment.items() if name != "SLURM_CONF"}
    if " is UP" in call(["scontrol", "ping"], environment=without).out:
        return CheckResult("SLURM_CONF", "set, but commands work without it", "ok")
    remedy = "The srun inside each job does not get this variable: ask the site for a link in /etc/slurm on every node"
    return CheckResult("SLURM_CONF", f"{environment['SLURM_CONF']}; commands fail without it", "wrong", remedy)


def find_job_limit(site: Site, associations: Sequence[Association], jobs: int) -> CheckResult:
    """Return whether the user may have as many jobs in the queue as the head submits."""
    partitions = ("", site.partition, site.cpu_partition)
    limits = [one.most_jobs for one in _own(site, associations) if one.partition in partitions and one.most_jobs]
    if not associations:
        return CheckResult("jobs at a time", f"{jobs}; no accounting database answers", "not checked")
    if limits and min(limits) < jobs:
        found = f"{jobs}, but your account may have {min(limits)} in the queue"
        remedy = f"Set jobs: {min(limits)} in slurm/profile.yaml, or add --jobs {min(limits)}"
        return CheckResult("jobs at a time", found, "wrong", remedy)
    allowed = f"allowed: {min(limits)}" if limits else "no limit is set for you"
    return CheckResult("jobs at a time", f"{jobs}; {allowed}", "ok")


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


SIZES = ("mem_mb", "mem_mb_per_cpu", "runtime", "nodes", "tasks", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu")
"""Resources of which a job of seconds asks for less."""


@contextmanager
def nonces(folders: Sequence[Path], nonce: str) -> Iterator[list[Path]]:
    """Give new folders, each below one of `folders` or the part of it that exists, with the nonce in a file `asked`."""
    with ExitStack() as stack:
        made = []
        for folder in folders:
            there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
            made.append(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".check_", dir=there))))
            (made[-1] / "asked").write_text(nonce, encoding="utf-8")
        yield made


def node_command(job: Submission, seconds: int, name: str) -> list[str]:
    """Return the srun that asks one node, or gives up after `seconds` without a free one."""
    kept = {key: value for key, value in job.resources.items() if key not in SIZES}
    small = replace(job, cpus=1, resources=kept | {"mem_mb": 2000, "runtime": 5})
    flags = [word for words in small.flags().values() for word in words]
    flags = [flag for flag in flags if flag != "--ntasks=1"]
    return ["srun", f"--immediate={seconds}", f"--job-name={name}", "--ntasks=1", "--export=ALL", *flags, "bash", "-c"]


def find_nodes(site: Site, kinds: Mapping[str, Submission], folders: Sequence[Path]) -> Iterator[CheckResult]:
    """Ask a node of each kind, all at once, whether it sees this machine's files, this package and its GPU."""
    with ThreadPoolExecutor(len(kinds)) as pool:
        asked = {kind: pool.submit(find_node, kind, site, job, folders) for kind, job in kinds.items()}
        for answer in asked.values():
            yield from answer.result()


def find_node(kind: str, site: Site, submission: Submission, folders: Sequence[Path]) -> list[CheckResult]:
    """Ask one node; a job of a few seconds, the only one that the check starts."""
    check, nonce, limit = f"node of {kind} jobs", secrets.token_hex(8), NODE_SECONDS + 60
    job = f"sonogrid_check_{nonce}"
    # An allocation that this process may run in is not the one to ask.
    kept = {name for name in os.environ if name == "SLURM_CONF" or not name.startswith("SLURM_")}
    with nonces(folders, nonce) as made:
        arguments = [NODE_SCRIPT, "sonogrid_check", nonce, str(len(made)), *map(str, made), *site.modules]
        command = [*node_command(submission, NODE_SECONDS, job), *arguments]
        try:
            answer = call(command, limit, {name: os.environ[name] for name in kept})
        except InputError:
            call(["scancel", "--name", job])
            return [CheckResult(check, f"no answer of a job within {limit} s", "not checked", "Try again later")]
        if "node=" not in answer.out:
            return [_no_node(check, answer.said)]
        seconds = seconds_until_seen([folder / "answered" for folder in made], nonce)
    return read_node(check, parse_node(answer.out), submission.on_gpu, seconds, dict(zip(made, folders, strict=True)))


def _no_node(check: str, said: str) -> CheckResult:
    if re.search(r"busy|immediate|revoked", said, re.IGNORECASE):
        return CheckResult(check, f"no node was free within {NODE_SECONDS} s", "not checked", "Try again later")
    remedy = "See what the lines above say of partition, account and jobs"
    return CheckResult(check, shortened(said), "wrong", remedy)


def seconds_until_seen(files: Sequence[Path], nonce: str) -> float | None:
    """Return seconds until every file that a node wrote is seen here with its content; None after FILE_SECONDS."""
    started = time.monotonic()
    while time.monotonic() - started < FILE_SECONDS:
        if all(file.is_file() and file.read_text(encoding="utf-8").strip() == nonce for file in files):
            return time.monotonic() - started
        time.sleep(0.2)
    return None


def parse_node(text: str) -> dict[str, list[str]]:
    """Return what NODE_SCRIPT wrote: key -> its values."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            said.setdefault(key, []).append(value)
    return said


def read_node(
    check: str, said: Mapping[str, list[str]], wants_gpu: bool, seconds: float | None, folders: Mapping[Path, Path]
) -> list[CheckResult]:
    """Return the results in a node's answer; `folders`: the folder that was tried -> the one that jobs need."""
    node = said["node"][0]
    results = []
    tried = [*said.get("unseen", []), *said.get("unwritten", [])]
    hidden = sorted({str(folders.get(Path(path), path)) for path in tried})
    if hidden or seconds is None:
        found = f"{node} does not share {', '.join(hidden) or 'its files'} with this machine"
        remedy = "Work in a folder of the shared file system, and set scratch in slurm/site.yaml to one"
        results.append(CheckResult(f"{check}: files", found, "wrong", remedy))
    else:
        results.append(
            CheckResult(f"{check}: files", f"{node} shares them; a new one is seen after {seconds:.1f} s", "ok")
        )
    if "modules" in said:
        remedy = "Correct the key modules of slurm/site.yaml: module avail"
        results.append(CheckResult(f"{check}: modules", f"not loaded on {node}", "wrong", remedy))
    version = said.get("version", [""])[0]
    if version == f"sonogrid {sonogrid.__version__}":
        results.append(CheckResult(f"{check}: sonogrid", version, "ok"))
    else:
        remedy = "Activate the environment, in a folder that nodes see, before you type snakemake or this command"
        results.append(CheckResult(f"{check}: sonogrid", f"{node} says: {version or 'nothing'}", "wrong", remedy))
    return [*results, *([_read_gpu(check, said, node)] if wants_gpu else [])]


def _read_gpu(check: str, said: Mapping[str, list[str]], node: str) -> CheckResult:
    visible, torch = said.get("gpus", [""])[0], said.get("torch", [""])[0]
    if not visible:
        remedy = "Set gpu_model or gres in slurm/site.yaml as the site's manual says"
        return CheckResult(f"{check}: GPU", f"{node} gave none: CUDA_VISIBLE_DEVICES is empty", "wrong", remedy)
    if not torch.endswith(" True"):
        remedy = "Cells would be trained on its CPU: install torch for its driver, unless its GPUs are pretended ones"
        found = f"{node} gave GPU {visible}, but torch cannot use it ({torch or 'no answer'})"
        return CheckResult(f"{check}: GPU", found, "warning", remedy)
    return CheckResult(
        f"{check}: GPU", f"{node} gave GPU {visible}; torch {torch.removesuffix(' True')} can use it", "ok"
    )
