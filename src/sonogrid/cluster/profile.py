"""What a job asks of SLURM: the resources of its rule, changed by slurm/profile.yaml as Snakemake changes them.

The profile is read by Snakemake's own parser and its values have Snakemake's own meaning, so that `sonogrid plan`, its
check and the quick check before a run see what the jobs will get. Tested with Snakemake 9.27.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from snakemake.common.tbdstring import TBDString
from snakemake.profiles import ConfigFileParserException, ProfileConfigFileParser
from snakemake.resources import Resource, Resources
from snakemake_interface_common.exceptions import WorkflowError

from sonogrid.cluster.requests import LOCAL_RULES, Request
from sonogrid.cluster.site import Site, chosen_file
from sonogrid.cluster.slurm import ASKED_OF_SLURM, Submission

PROFILE_FILE = Path("slurm/profile.yaml")
DEFAULT_JOBS = 64
"""Jobs in the queue at a time, where the profile does not say."""
DEFAULT_RETRIES = 2


@dataclass(frozen=True)
class Override:
    """A value of the profile for one rule, as it is written there."""

    rule: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule} {self.name}: {self.text}"


@dataclass(frozen=True)
class Profile:
    """What a profile adds to the resources of all rules, and replaces in those of some."""

    defaults: Resources
    overrides: Mapping[str, Resources] = field(default_factory=dict)
    """by rule"""
    threads: Mapping[str, Resource] = field(default_factory=dict)
    """by rule"""
    jobs: int = DEFAULT_JOBS
    """in the queue at a time"""
    retries: int = DEFAULT_RETRIES
    unread: str = ""
    """why the file could not be read; then these are the facts of the site alone"""

    @property
    def last_attempt(self) -> int:
        """Number of the last attempt at a job that fails again and again."""
        return 1 + self.retries

    def submission(self, rule: str, request: Request, attempt: int = 1) -> Submission:
        """Return what an attempt at a job of a rule asks, given what the rule itself asks."""
        own = {"mem_mb": request.mem_mb_at(attempt), "runtime": request.minutes_at(attempt)}
        own |= {"gpu": request.gpus} if request.gpus else {}
        every = {**self.defaults, **Resources.from_mapping(own), **self.overrides.get(rule, {})}
        asked = {name: resource for name, resource in every.items() if name in ASKED_OF_SLURM}
        context = _Context(rule, attempt)
        cpus = context.value(self.threads[rule]) if rule in self.threads else request.cpus
        values = {name: context.value(resource, cpus) for name, resource in asked.items()}
        unknown = {name: _text(asked[name]) for name, value in values.items() if value is None}
        if cpus is None:
            unknown["threads"] = _text(self.threads[rule])
        known = {name: value for name, value in values.items() if value is not None}
        return Submission(rule, attempt, bool(request.gpus), cpus, known, unknown)

    def submissions(self, requests: Mapping[str, Request], attempt: int = 1) -> dict[str, Submission]:
        """Return what an attempt at a job of every rule asks, by rule."""
        return {rule: self.submission(rule, request, attempt) for rule, request in requests.items()}

    def changes(self, site: Site) -> Iterator[Override]:
        """Yield the values for single rules that do not follow from the facts of the site."""
        of_site = site_profile(site)
        for rule, resources in self.overrides.items():
            for name, resource in sorted(resources.items()):
                if _text(of_site.overrides.get(rule, {}).get(name)) != _text(resource):
                    yield Override(rule, name, _text(resource))
        for rule, threads in self.threads.items():
            yield Override(rule, "threads", _text(threads))

    def unknown_rules(self, requests: Mapping[str, Request]) -> list[str]:
        """Return the names in the profile that no rule has; Snakemake passes over them in silence."""
        named = dict.fromkeys([*self.overrides, *self.threads])
        return [rule for rule in named if rule not in requests and rule not in LOCAL_RULES]


class Settings(Protocol):
    """The part of Snakemake's settings in which profiles and the command line are merged."""

    default_resources: Any
    overwrite_resources: Mapping[str, Any]
    overwrite_threads: Mapping[str, Any]


def profile_of_run(settings: Settings) -> Profile:
    """Return the profile that a running Snakemake has: those named on the command line, with its own flags."""
    return Profile(
        defaults=Resources.from_mapping(settings.default_resources or {}),
        overrides={rule: Resources.from_mapping(named) for rule, named in settings.overwrite_resources.items()},
        threads={
            rule: value if isinstance(value, Resource) else Resource("_cores", value)
            for rule, value in settings.overwrite_threads.items()
        },
    )


def site_profile(site: Site, unread: str = "") -> Profile:
    """Return what the facts of a site say without any profile; `unread`: why there is none."""
    fits = site.gpu_resources | site.fit_resources
    by_rule = {"train": fits, "pretrain": fits, "explain": site.gpu_resources, "rates": site.gpu_resources}
    return Profile(
        _parsed(site.job_resources), {rule: _parsed(named) for rule, named in by_rule.items()}, unread=unread
    )


def read_profile(site: Site, site_file: Path, path: Path = PROFILE_FILE) -> Profile:
    """Return a profile as Snakemake reads it, with the facts of `site_file`, which are those of `site`.

    Where it cannot be read, return what the site says, with the reason in `unread`.
    """
    token = chosen_file.set(site_file)
    try:
        with path.open(encoding="utf-8") as file:
            content = ProfileConfigFileParser().parse(file)
        return Profile(
            defaults=Resources.parse(content.get("default-resources", []), allow_expressions=True, defaults="full"),
            overrides=_by_rule(content.get("set-resources", [])),
            threads=dict(map(_threads, content.get("set-threads", []))),
            jobs=int(content.get("jobs", DEFAULT_JOBS)),
            retries=int(content.get("retries", 0)),
        )
    except OSError as error:
        return site_profile(site, str(error.strerror))
    except (ConfigFileParserException, WorkflowError, LookupError, TypeError, ValueError) as error:
        return site_profile(site, " ".join(str(error).split()))
    finally:
        chosen_file.reset(token)


def _by_rule(entries: list[str]) -> dict[str, Resources]:
    """Return `RULE:NAME=VALUE` entries as resources by rule."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        rule, assignment = entry.split(":", maxsplit=1)
        found.setdefault(rule, []).append(assignment)
    return {rule: Resources.parse(named, allow_expressions=True) for rule, named in found.items()}


def _threads(entry: str) -> tuple[str, Resource]:
    """Return a `RULE=VALUE` entry as rule and threads."""
    rule, value = entry.split("=", maxsplit=1)
    known = Resource("_cores", int(value)) if value.isdecimal() else None
    return rule, known or Resource.from_cli_expression("_cores", value, with_threads_arg=False)


def _parsed(values: Mapping[str, str | int]) -> Resources:
    return Resources.parse([f"{name}={value}" for name, value in values.items()], allow_expressions=True)


def _text(resource: Resource | None) -> str:
    """Return a value as the profile has it; Snakemake forgets the text of a few, as of `mem` with an expression."""
    if resource is None:
        return ""
    return "an expression" if resource.raw is None else str(resource.raw)


class _NotYet:
    """Stands for the input and the wildcards of a job: nothing can be asked of them before the job is there."""


@dataclass(frozen=True)
class _Context:
    """In which values are evaluated: an attempt at any job of a rule."""

    rule: str
    attempt: int

    def value(self, resource: Resource, threads: int | None = None) -> Any:
        """Return the value of a resource; None if it depends on the job."""
        given = {"attempt": self.attempt, "threads": threads, "rulename": self.rule, "async_run": None}
        try:
            value = resource.evaluate(_NotYet(), input=_NotYet(), **given).value
        except (WorkflowError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None
        return None if isinstance(value, TBDString) else value
