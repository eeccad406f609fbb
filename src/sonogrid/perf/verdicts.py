"""What is said of a benchmark, and the exit code that follows from all of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum

from sonogrid.perf.choices import Exit
from sonogrid.perf.limits import Limits, Plan
from sonogrid.problems import InputError


class GateVerdict(Enum):
    """What is said of one benchmark; COULD_NOT always comes with a reason."""

    SLOWER = "slower"
    WITHIN = "slower, within the margin"
    NOT_SLOWER = "not slower"
    CANNOT_TELL = "cannot tell"
    COULD_NOT = "could not measure"


class CouldNotMeasureError(InputError):
    """Nothing was compared: why, and what to do."""

    exit_code = Exit.COULD_NOT.value


def verdict_of(limits: Limits, plan: Plan) -> GateVerdict:
    """Return the verdict that limits allow."""
    slower, within = limits.low > 0, limits.high < math.log1p(plan.margin)
    if slower and limits.low > limits.high:
        # Limits of different looks that exclude each other: the machine changed between them.
        return GateVerdict.CANNOT_TELL
    if slower:
        return GateVerdict.WITHIN if within else GateVerdict.SLOWER
    return GateVerdict.NOT_SLOWER if within else GateVerdict.CANNOT_TELL


def exit_of(verdicts: Collection[GateVerdict], broken_law: bool, other_numbers: bool) -> Exit:
    """Return the exit code of the whole gate: the first in the order of Exit whose condition holds."""
    holds = {
        Exit.SLOWER: GateVerdict.SLOWER in verdicts,
        Exit.BROKEN_LAW: broken_law,
        # Also if nothing was compared.
        Exit.COULD_NOT: not verdicts or GateVerdict.COULD_NOT in verdicts,
        Exit.OTHER_NUMBERS: other_numbers,
        Exit.CANNOT_TELL: GateVerdict.CANNOT_TELL in verdicts,
        Exit.NOT_SLOWER: True,
    }
    return next(code for code in Exit if holds[code])
