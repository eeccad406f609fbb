"""The laws that Hypothesis tests, on both sides: which of them head breaks, and which it no longer tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sonogrid.perf.process import Side, Tested, last_lines, run_in_tree, temporary_tree, tests_of
from sonogrid.perf.verdicts import CouldNotMeasureError
from sonogrid.problems import Problem

FOLDER = Path("tests", "property")
SECONDS = 600.0
WORKERS = 2


@dataclass(frozen=True)
class Laws:
    """Laws that head breaks and base keeps or lacks, that both break, and that base alone tests; how many head has."""

    broken: tuple[str, ...] = ()
    on_both: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    tested: int = 0


def compare_laws(base: Side, head: Side) -> Laws:
    """Test the laws of both sides. Raise CouldNotMeasureError if a side's were not tested."""
    before, after = _test(base), _test(head)
    broken_before, broken = (_named(one for one in side if one.failed) for side in (before, after))
    kept, tested = (_named(one for one in side if not one.skipped) for side in (before, after))
    return Laws(
        broken=tuple(sorted(broken - broken_before)),
        on_both=tuple(sorted(broken & broken_before)),
        gone=tuple(sorted(kept - tested)),
        tested=len(tested),
    )


def _named(tests: Iterable[Tested]) -> set[str]:
    return {f"{test.module.removeprefix('tests.property.')}.{test.name}" for test in tests}


def _test(side: Side) -> list[Tested]:
    """Return the laws of a side with what became of them."""
    with temporary_tree() as folder:
        report = folder / "tests.xml"
        command = [
            *(str(side.python), "-m", "pytest", "-q", str(FOLDER), "-n", str(WORKERS), "--dist", "worksteal"),
            *("-p", "no:cacheprovider", "--basetemp", str(folder / "tmp")),
            *("--junitxml", str(report), "-o", "junit_logging=no"),
        ]
        code, said = run_in_tree(command, side, {}, SECONDS)
        try:
            tests = tests_of(report) if code in (0, 1) else []
        except (OSError, ElementTree.ParseError):
            tests = []
    unread = [f"{test.name}: {test.reason}" for test in tests if test.failed and not test.module]
    if unread:
        code, said, tests = 2, unread[0], []
    if not tests:
        reason = "did not end in time" if code is None else f"pytest ended with exit code {code}: {last_lines(said)}"
        remedy = f"Run: pytest {FOLDER} (or leave the laws out: --no-laws)"
        raise CouldNotMeasureError([Problem(side.name, f"its laws were not tested: {reason}", remedy)])
    return tests
