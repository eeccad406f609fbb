"""What a person sees while a stage runs: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called once for every unit of work done; `note` is shown beside the bar."""

    def __call__(self, note: str = "", steps: int = 1) -> None: ...


def silent(note: str = "", steps: int = 1) -> None:
    """Progress that nobody watches: for library use and tests."""


PLAIN_SECONDS = 10.0


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show progress over `total` units on stderr: a bar on a terminal, else a line at most every 10 s."""
    # Imported here: `sonogrid --help` and the head of a run show no bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total, note="")

            def advance_bar(note: str = "", steps: int = 1) -> None:
                bar.update(task, advance=steps, note=note)

            yield advance_bar
        return

    done, started, told = 0, time.monotonic(), time.monotonic()

    def tell(note: str) -> None:
        passed = time.monotonic() - started
        line = f"{description}: {done}/{total} after {passed:.0f} s {note}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    def advance_lines(note: str = "", steps: int = 1) -> None:
        nonlocal done, told
        done += steps
        if time.monotonic() - told >= PLAIN_SECONDS:
            told = time.monotonic()
            tell(note)

    yield advance_lines
    tell("done")
