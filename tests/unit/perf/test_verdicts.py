"""Which limits give which verdict, and which verdicts give which exit code."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from sonogrid.cli import main
from sonogrid.perf.choices import SAID, Exit
from sonogrid.perf.limits import Limits, Plan
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict, exit_of, verdict_of
from sonogrid.problems import Problem

SLOWER, WITHIN, NOT_SLOWER, CANNOT_TELL, COULD_NOT = GateVerdict


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.01, 1.20, SLOWER),
        (1.01, 1.051, SLOWER),
        (1.01, 1.049, WITHIN),
        (0.99, 1.049, NOT_SLOWER),
        (0.80, 0.90, NOT_SLOWER),
        (0.99, 1.051, CANNOT_TELL),
        (1.00, 1.051, CANNOT_TELL),
        (0.0, math.inf, CANNOT_TELL),
        # Looks that exclude each other.
        (1.20, 1.10, CANNOT_TELL),
        (1.03, 1.01, CANNOT_TELL),
    ],
)
def test_verdicts_of_limits_with_a_margin_of_5_percent(low: float, high: float, expected: GateVerdict) -> None:
    limits = Limits(0.0, math.log(low) if low else -math.inf, math.log(high), 40)
    assert verdict_of(limits, Plan(margin=0.05)) is expected


@pytest.mark.parametrize(
    ("verdicts", "broken", "numbers", "expected"),
    [
        ([NOT_SLOWER, WITHIN], False, False, Exit.NOT_SLOWER),
        ([NOT_SLOWER], False, True, Exit.OTHER_NUMBERS),
        ([NOT_SLOWER, CANNOT_TELL], False, False, Exit.CANNOT_TELL),
        # A result that changed is not hidden behind noise.
        ([NOT_SLOWER, CANNOT_TELL], False, True, Exit.OTHER_NUMBERS),
        ([COULD_NOT, CANNOT_TELL], False, True, Exit.COULD_NOT),
        ([], False, False, Exit.COULD_NOT),
        ([COULD_NOT], True, True, Exit.BROKEN_LAW),
        ([SLOWER, COULD_NOT, CANNOT_TELL], True, True, Exit.SLOWER),
    ],
)
def test_exit_codes(verdicts: list[GateVerdict], broken: bool, numbers: bool, expected: Exit) -> None:
    assert exit_of(verdicts, broken, numbers) is expected


def test_each_has_a_code_of_its_own_that_no_other_command_uses() -> None:
    assert sorted(one.value for one in Exit) == [0, 3, 4, 5, 6, 7]
    assert CouldNotMeasureError([Problem("base", "is gone", "Find it")]).exit_code == 5


def test_help_and_docs_name_every_code_in_the_order_in_which_the_first_applies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["perf", "compare", "--help"])
    assert "\n".join(f"  {code.value}  {SAID[code]}" for code in Exit) in capsys.readouterr().out
    page = (Path(__file__).parents[3] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"order: {', '.join(str(code.value) for code in Exit)}." in page
    in_table = re.findall(r"^\| [^|]+ \| [^|]+ \| (\d) \|$", page, re.MULTILINE)
    assert set(map(int, in_table)) == {code.value for code in Exit}
