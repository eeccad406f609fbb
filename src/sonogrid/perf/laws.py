"""The laws that Hypothesis tests, on both sides: which of them head breaks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sonogrid.perf.process import Side, failures, last_lines, run_in_tree

FOLDER = Path("tests", "property")
SECONDS = 900.0
WORKERS = 2


@dataclass(frozen=True)
class Laws:
    """Laws that head breaks and base keeps or lacks, laws that both break; `failed`: why none was tested."""

    broken: tuple[str, ...] = ()
    on_both: tuple[str, ...] = ()
    tested: int = 0
    failed: str = ""


def compare_laws(base: Side, head: Side) -> Laws:
    """Test the laws of head, and those of base if head breaks one."""
    tested, broken, failed = _test(head)
    if failed:
        return Laws(failed=f"the laws of head were not tested: {failed}")
    before = _test(base)[1] if broken else frozenset()
    return Laws(tuple(sorted(broken - before)), tuple(sorted(broken & before)), tested)


def _test(side: Side) -> tuple[int, frozenset[str], str]:
    """Return how many laws a side has, which fail, and why none was tested."""
    with tempfile.TemporaryDirectory(prefix="sonogrid-laws-") as name:
        report = Path(name, "tests.xml")
        command = [
            *(str(side.python), "-m", "pytest", "-q", str(FOLDER), "-n", str(WORKERS), "--dist", "worksteal"),
            *("-p", "no:cacheprovider", "--basetemp", str(Path(name, "tmp"))),
            *("--junitxml", str(report), "-o", "junit_logging=no"),
        ]
        code, said = run_in_tree(command, side, {}, SECONDS)
        if code not in (0, 1):
            reason = "they did not end in time" if code is None else f"pytest ended with exit code {code}"
            return 0, frozenset(), f"{reason}: {last_lines(said)}"
        tests, broken = failures(report)
        return tests, frozenset(broken), ""
