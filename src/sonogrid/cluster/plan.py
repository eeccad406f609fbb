"""What a grid will ask of a cluster and what it will cost: the rows of a plan, and the notes below them."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sonogrid.cluster.profile import PROFILE_FILE, Profile
from sonogrid.cluster.requests import requests
from sonogrid.cluster.site import Site
from sonogrid.cluster.workload import JobName, PlannedFit, PlannedJob, Workload
from sonogrid.layout import Layout

DEFAULT_CONFIG = Path("config.yaml")
GPUS = (1, 4, 16)
START_SHARE = 0.1
"""A job that spends a larger share of its time on starting is worth packing."""
LONG_ENOUGH = 600
"""Seconds of a job after which its start does not matter."""
UNKNOWN = "?"


@dataclass(frozen=True)
class Note:
    """A remark below the tables, and the command that it refers to."""

    text: str
    command: str = ""


def snakemake_command(target: Path, configs: Sequence[Path]) -> str:
    """Return the command that makes a file of a study on the cluster."""
    others = [str(path) for path in configs if path != DEFAULT_CONFIG]
    return " ".join(["snakemake --profile slurm", str(target), *(["--configfile", *others] if others else [])])


def clock(seconds: float) -> str:
    """Return a time for people: `45 s`, `12 min`, `3 h 20 min`, `4 d 3 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def as_hours(seconds: float | None) -> str:
    """Return seconds as hours, with the digits that matter."""
    if seconds is None:
        return UNKNOWN
    hours = seconds / 3600
    return f"{hours:.3f}" if hours < 0.1 else f"{hours:.2f}" if hours < 10 else f"{hours:,.0f}"


def each(seconds: float | None, count: int) -> str:
    """Return the mean of a sum of seconds over runs."""
    return UNKNOWN if seconds is None else clock(seconds / count)


# ---- rows


def job_rows(work: Workload, profile: Profile) -> list[list[str]]:
    """Return one row per rule: jobs, and what the first and the last attempt at one ask, the profile included."""
    first, last = (profile.submissions(work.requests, attempt) for attempt in (1, profile.last_attempt))
    return [
        [
            rule,
            f"{work.requests[rule].jobs:,}",
            " ".join(job.gpu_flags) or "-",
            as_count(job.cpus),
            as_count(job.mem_mb),
            as_count(job.minutes),
            as_count(last[rule].mem_mb),
            as_count(last[rule].minutes),
            job.partition or "the default",
        ]
        for rule, job in first.items()
    ]


def as_count(number: int | None) -> str:
    """Return a number with its thousands apart; UNKNOWN where it depends on the job."""
    return UNKNOWN if number is None else f"{number:,}"


def fit_seconds(work: Workload, expected: bool, left: bool = False) -> dict[tuple[str, str], list[float | None]]:
    """Return seconds of each fit with its share of the job's start, by rule and backbone; `left`: if unfinished."""
    found: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for job in work.gpu_jobs:
        for fit in job.fits:
            seconds = fit.expected if expected else fit.most
            if not (left and fit.done):
                started = (work.start or 0.0) / len(job.fits)
                found[fit.rule, fit.backbone].append(None if seconds is None else seconds + started)
    return found


def total(seconds: Sequence[float | None]) -> float | None:
    """Return the sum; None if a part of it is not known."""
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None


def cost_rows(work: Workload) -> list[list[str]]:
    """Return one row per rule and backbone, and their sum."""
    fits: dict[tuple[str, str], list[PlannedFit]] = defaultdict(list)
    for job in work.gpu_jobs:
        for fit in job.fits:
            fits[fit.rule, fit.backbone].append(fit)
    most, expected = fit_seconds(work, expected=False), fit_seconds(work, expected=True)
    rows = [
        [
            *key,
            f"{len(own):,}",
            f"{sum(fit.done for fit in own):,}",
            each(total(most[key]), len(own)),
            as_hours(total(most[key])),
            as_hours(total(expected[key])) if _known(expected[key]) else "-",
            _joined(fit.speed.source if fit.speed else "no rate" for fit in own),
            _joined(fit.speed.device for fit in own if fit.speed),
        ]
        for key, own in fits.items()
    ]
    every = [fit for own in fits.values() for fit in own]
    sums = [[value for part in by_key.values() for value in part] for by_key in (most, expected)]
    hours = [as_hours(total(sums[0])), as_hours(total(sums[1])) if _known(sums[1]) else "-"]
    return [*rows, ["all", "", f"{len(every):,}", f"{sum(fit.done for fit in every):,}", "", *hours, "", ""]]


def _known(seconds: Sequence[float | None]) -> bool:
    return None not in seconds


def _joined(words: Iterator[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def queue_rows(work: Workload, jobs_at_once: int) -> list[list[str]]:
    """Return one row per number of GPUs: wall-clock time until everything that is left is done."""
    rows = []
    most = min(jobs_at_once, len(work.gpu_jobs))
    for gpus in sorted({min(count, most) for count in (*GPUS, most)}):
        times = [_wall(work, gpus, expected) for expected in (False, True)]
        rows.append([str(gpus), *(UNKNOWN if time is None else clock(time) for time in times)])
        if not _has_expected(work):
            rows[-1][2] = "-"
    return rows


def _has_expected(work: Workload) -> bool:
    return all(fit.expected is not None for job in work.gpu_jobs for fit in job.fits)


def _wall(work: Workload, gpus: int, expected: bool) -> float | None:
    """Return seconds until everything left is done on `gpus` GPUs; None if a part is not known."""
    left: list[tuple[float, PlannedJob]] = []
    for job in work.gpu_jobs:
        rest = PlannedJob(tuple(fit for fit in job.fits if not fit.done), job.name, job.needs)
        seconds = rest.seconds(work.start or 0.0, expected) if rest.fits else 0.0
        if seconds is None:
            return None
        left.append((seconds, job))
    return wall_seconds(left, gpus)


def wall_seconds(jobs: Sequence[tuple[float, PlannedJob]], gpus: int) -> float:
    """Return seconds until `gpus` GPUs have done all jobs, in their order, each begun when what it needs is made."""
    waiting = {job.name: len(job.needs) for _, job in jobs}
    seconds = {job.name: length for length, job in jobs}
    unlocks: dict[JobName, list[JobName]] = defaultdict(list)
    for _, job in jobs:
        for needed in job.needs:
            unlocks[needed].append(job.name)
    ready = deque(name for name, count in waiting.items() if count == 0)
    running: list[tuple[float, JobName]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < gpus:
            name = ready.popleft()
            heapq.heappush(running, (now + seconds[name], name))
        now, ended = heapq.heappop(running)
        for name in unlocks[ended]:
            waiting[name] -= 1
            if waiting[name] == 0:
                ready.append(name)
    return now


# ---- notes


def notes(work: Workload, site: Site, profile: Profile, configs: Sequence[Path]) -> Iterator[Note]:
    """Yield what a reader must know of the numbers, and what would make them known or better."""
    yield from _profile(work, site, profile)
    yield from _missing_images(work, configs)
    yield from _missing_rates(work, configs)
    yield from _meaning(work)
    yield from _short_jobs(work)
    yield from _long_jobs(work, profile)


def _profile(work: Workload, site: Site, profile: Profile) -> Iterator[Note]:
    """Yield what the profile changes, and what of it cannot be shown."""
    if profile.unread:
        yield Note(f"{PROFILE_FILE} cannot be read ({profile.unread}). The first table is without it.")
    changes = "; ".join(map(str, profile.changes(site)))
    if changes:
        yield Note(f"The first table includes what {PROFILE_FILE} changes: {changes}.")
    for job in profile.submissions(work.requests).values():
        for name, text in job.unknown.items():
            yield Note(f"{PROFILE_FILE}: {name} of {job.rule} is {text}, which cannot be evaluated without a job.")
    unknown = profile.unknown_rules(requests(work.study))
    if unknown:
        yield Note(f"{PROFILE_FILE} names what is no rule: {', '.join(unknown)}. Snakemake passes over it in silence.")


def _missing_images(work: Workload, configs: Sequence[Path]) -> Iterator[Note]:
    for name, images in work.images.items():
        manifest = Layout(work.study.results).cohort_of(None if name == "cohort" else name).manifest
        whose = "the cohort" if name == "cohort" else f"the corpus of init {name}"
        if images is None:
            command = snakemake_command(manifest, configs)
            yield Note(f"The number of images of {whose} is not known yet. This reads the pictures:", command)
        else:
            numbers = f"{images.images:,} images of {images.patients:,} patients"
            yield Note(f"Images of {whose}: {numbers}, from {images.source}.")


def _missing_rates(work: Workload, configs: Sequence[Path]) -> Iterator[Note]:
    fits = [fit for job in work.gpu_jobs for fit in job.fits]
    missing = dict.fromkeys(fit.backbone for fit in fits if fit.speed is None)
    if missing:
        command = snakemake_command(Layout(work.study.results).rates, configs)
        what = "at the input size and batch size of this study. This measures all, as one job:"
        yield Note(f"No rate is known of {', '.join(missing)} {what}", command)
    elif work.start is None:
        command = snakemake_command(Layout(work.study.results).rates, configs)
        yield Note("How long a job takes to start was not measured and is not counted. This measures it:", command)
    if any(fit.speed.device == "cpu" for fit in fits if fit.speed):
        yield Note("A rate was measured on a CPU: its hours are those of a CPU, and say nothing of a GPU.")


def _meaning(work: Workload) -> Iterator[Note]:
    recipe = work.study.training
    text = f"At most: a cell takes all of its {recipe.epochs} epochs; it ends after {recipe.patience} without progress."
    epochs = {
        fit.backbone: fit.speed.epochs
        for job in work.gpu_jobs
        for fit in job.fits
        if fit.rule == "train" and fit.speed and fit.speed.epochs
    }
    if epochs:
        means = ", ".join(f"{backbone} {mean:.1f}" for backbone, mean in epochs.items())
        text += f" Expected: as many as in finished cells, on average {means}."
    yield Note(text)
    fits = [fit for job in work.gpu_jobs for fit in job.fits]
    left = total([value for part in fit_seconds(work, expected=False, left=True).values() for value in part])
    done = sum(fit.done for fit in fits)
    if done:
        yield Note(f"Left: {len(fits) - done:,} of {len(fits):,} runs, {as_hours(left)} hours at most.")
    if work.study.cells_per_gpu > work.cells_in_a_job:
        yield Note(
            f"cells_per_gpu: {work.study.cells_per_gpu} has no effect above the {work.cells_in_a_job} in a job; "
            "raise cells_per_job."
        )
    elif work.study.cells_per_gpu > 1:
        yield Note("Cells that share a GPU are counted as if each had it alone, unless finished cells show the gain.")
    yield Note("Not counted: waiting in the queue, stages without a GPU, reading pictures, checkpoints (5% at most).")


def _short_jobs(work: Workload) -> Iterator[Note]:
    """Yield whether packing more cells into a job is worth it, and the sizes that a job can have."""
    cells = [fit.expected or fit.most for job in work.gpu_jobs for fit in job.fits if fit.rule == "train"]
    known = [seconds for seconds in cells if seconds is not None]
    if not known or not work.start:
        return
    cell = sum(known) / len(known)
    share = work.start / (work.start + work.cells_in_a_job * cell)
    if share <= START_SHARE or work.sizes[-1] == work.cells_in_a_job:
        return
    long = [size for size in work.sizes if work.start + size * cell >= LONG_ENOUGH]
    best = long[0] if long else work.sizes[-1]
    sizes = ", ".join(map(str, work.sizes)) if len(work.sizes) <= 12 else f"{len(work.sizes)}, up to {work.sizes[-1]}"
    now, then = (work.start + cells * cell for cells in (work.cells_in_a_job, best))
    yield Note(
        f"A train job takes {clock(now)}, {work.start / now:.0%} of it to start. With cells_per_job: {best} it takes "
        f"{clock(then)}, {work.start / then:.0%} of it to start. Numbers of cells that fit this grid: {sizes}."
    )


def _long_jobs(work: Workload, profile: Profile) -> Iterator[Note]:
    """Yield rules whose jobs may need more time than the first attempt asks for."""
    attempts = [profile.submissions(work.requests, attempt) for attempt in range(1, profile.last_attempt + 1)]
    for rule in work.requests:
        times = [job.seconds(work.start or 0.0, expected=False) for job in work.gpu_jobs if job.fits[0].rule == rule]
        longest = max((time for time in times if time is not None), default=0.0)
        limits = [submissions[rule].minutes for submissions in attempts]
        if limits[0] is not None and longest > limits[0] * 60:
            given = sum(limit or 0 for limit in limits) * 60
            enough = (
                "a later attempt goes on from there"
                if longest <= given
                else f"{len(limits)} attempts are too short as well"
            )
            yield Note(
                f"A {rule} job may take {clock(longest)}, more than the {limits[0]:,} minutes that its first "
                f"attempt asks for; {enough}. To ask for more: runtime: {int(longest / 60 * 1.2)} * attempt, below "
                f"set-resources, {rule} in {PROFILE_FILE}."
            )
