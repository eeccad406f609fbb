"""What is said of a benchmark, and the exit code that follows from all of them."""

from __future__ import annotations

import math
from collections.abc import Collection
from enum import Enum

from sonogrid.perf.limits import Limits, Plan
from sonogrid.problems import InputError


class GateVerdict(Enum):
    """What is said of one benchmark; COULD_NOT always comes with a reason."""

    SLOWER = "slower"
    WITHIN = "slower, within the margin"
    NOT_SLOWER = "not slower"
    CANNOT_TELL = "cannot tell"
    COULD_NOT = "could not measure"


class Exit(Enum):
    """Exit codes of `sonogrid perf compare`; 1 and 2 are those of every command."""

    NOT_SLOWER = 0
    SLOWER = 3
    CANNOT_TELL = 4
    COULD_NOT = 5
    OTHER_NUMBERS = 6
    BROKEN_LAW = 7


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
    """Return what the gate as a whole says: the first of these that is the case.

    Slower; a law is broken; could not measure (nothing compared is that too); other numbers; cannot tell; not slower.
    """
    if GateVerdict.SLOWER in verdicts:
        return Exit.SLOWER
    if broken_law:
        return Exit.BROKEN_LAW
    if not verdicts or GateVerdict.COULD_NOT in verdicts:
        return Exit.COULD_NOT
    if other_numbers:
        return Exit.OTHER_NUMBERS
    return Exit.CANNOT_TELL if GateVerdict.CANNOT_TELL in verdicts else Exit.NOT_SLOWER
