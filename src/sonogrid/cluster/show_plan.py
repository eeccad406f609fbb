"""`sonogrid plan` as it is printed: what a grid asks and costs, and what the cluster says of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sonogrid.cluster.full_check import NODE_SECONDS, CheckResult, check_cluster
from sonogrid.cluster.plan import cost_rows, job_rows, notes, queue_rows
from sonogrid.cluster.profile import Profile
from sonogrid.cluster.requests import requests
from sonogrid.cluster.site import SITE_FILE, Site
from sonogrid.cluster.workload import workload
from sonogrid.config.study import Study
from sonogrid.grid import Grid
from sonogrid.problems import InputError, Problem

WIDTH = 100


def output() -> Console:
    """Return a console for tables: at most WIDTH columns, without colours or frames unless it is a terminal."""
    console = Console(highlight=False)
    console.width = min(WIDTH, console.width) if console.is_terminal else WIDTH
    return console


def show_plain(console: Console, content: Table | Text) -> None:
    """Print a table or a paragraph; lines end without blanks unless the console is a terminal."""
    if console.is_terminal:
        console.print(content)
        return
    with console.capture() as captured:
        console.print(content)
    lines = (line.rstrip() for line in captured.get().splitlines())
    # As Text, since rich reads `:100:` in a word of a site as the name of a picture.
    console.print(Text("\n".join(lines)), soft_wrap=True)


def show_table(console: Console, title: str, columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> None:
    """Print a title and a table; `columns`: heading -> `left` or `right`."""
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=frame, pad_edge=False, padding=(0, 2, 0, 0))
    for name, side in columns.items():
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(Text(title, style="bold"))
    show_plain(console, table)
    console.print()


JOB_COLUMNS = {
    **{"rule": "left", "jobs": "right", "GPU": "left", "CPUs": "right", "MB": "right", "minutes": "right"},
    **{"last MB": "right", "last minutes": "right", "partition": "left"},
}
COST_COLUMNS = {
    **{"rule": "left", "backbone": "left", "runs": "right", "done": "right", "each": "right"},
    **{"at most": "right", "expected": "right", "rate from": "left", "device": "left"},
}
QUEUE_COLUMNS = {"GPUs": "right", "at most": "right", "expected": "right"}


def show_plan(
    study: Study,
    site: Site,
    profile: Profile,
    jobs_at_once: int,
    configs: Sequence[Path],
    console: Console | None = None,
) -> None:
    """Print what a study will ask and cost. Raise InputError for a damaged rates.csv."""
    console, work = console or output(), workload(study)
    grid = Grid.of(study).describe()
    console.print(Text(f"Study {study.study}: {grid}; {work.cells_in_a_job} in a job"))
    console.print()
    asks = f"What each job asks for: first attempt, and last attempt ({profile.last_attempt})"
    show_table(console, asks, JOB_COLUMNS, job_rows(work, profile))
    show_table(console, "Cost in GPU-hours", COST_COLUMNS, cost_rows(work))
    rest = f"Time until all is done, by GPUs at a time; at most {jobs_at_once} jobs are in the queue at a time"
    show_table(console, rest, QUEUE_COLUMNS, queue_rows(work, jobs_at_once))
    for note in notes(work, site, profile, configs):
        show_plain(console, Text(f"- {note.text}"))
        if note.command:
            console.print(Text(f"    {note.command}"), soft_wrap=True)


def show_check(results: Sequence[CheckResult], console: Console | None = None) -> None:
    """Print the results of `plan --check`. Raise InputError if one is wrong."""
    console = console or output()
    rows = [[one.check, one.verdict, f"{one.found}{'. ' if one.remedy else ''}{one.remedy}"] for one in results]
    columns = {"check": "left", "state": "left", "found, and what to do": "left"}
    show_table(console, "What the cluster says", columns, rows)
    wrong = [result for result in results if result.verdict == "wrong"]
    if wrong:
        names = ", ".join(dict.fromkeys(result.check for result in wrong))
        what = f"{len(wrong)} of {len(results)} results are wrong: {names}"
        raise InputError([Problem("sonogrid plan --check", what, "Do what the table says, then check again")])


def check_site(study: Study, site: Site, profile: Profile, jobs_at_once: int, file: Path = SITE_FILE) -> None:
    """Ask the cluster everything before a grid starts, and print it. Raise InputError if anything is wrong."""
    print(f"Asking SLURM, and nodes: waits at most {NODE_SECONDS} s for a free one.", file=sys.stderr)
    folders = [study.results, *([site.scratch] if site.scratch else [])]
    show_check(list(check_cluster(site, profile, requests(study), folders, jobs_at_once, file)))
