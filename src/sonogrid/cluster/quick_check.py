"""The check before every run on a cluster: would SLURM take the first attempt at a job of every rule?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sonogrid.cluster.refusals import as_problem, refused_jobs, without_repeats
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.slurm import ClusterFacts, Submission, with_environment
from sonogrid.problems import InputError


def quick_check(site: Site, submissions: Mapping[str, Submission], file: Path = SITE_FILE) -> None:
    """Ask SLURM whether it would take these jobs, in well under a second; nothing is submitted.

    Raise InputError with every problem. Later attempts, nodes and limits of the account are for `plan --check`.
    """
    site, facts = with_environment(site), ClusterFacts()
    problems = without_repeats([as_problem(refused, site, facts, file) for refused in refused_jobs(submissions)])
    if problems:
        raise InputError(problems)
