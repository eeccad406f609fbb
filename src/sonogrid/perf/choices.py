"""Choices and exit codes of `sonogrid perf compare`. No heavy imports: the parser of every command reads this."""

from __future__ import annotations

from enum import Enum

SUITES = {"fast": "not full", "full": ""}
"""Name of a suite -> the expression by which pytest selects its benchmarks."""
MARGIN = 0.05
"""Largest loss that is tolerated, as a share."""
MINUTES = 13.0
"""Minutes after the first process at which the last pair should have ended; with checkouts and laws about 15."""
INSTRUCTIONS = ("auto", "valgrind", "none")
"""How instructions are counted: by perf if it works, by valgrind (about an hour per benchmark), or not at all."""


class Exit(Enum):
    """Exit codes of `sonogrid perf compare`, the most important first; 1 and 2 are those of every command."""

    SLOWER = 3
    BROKEN_LAW = 7
    COULD_NOT = 5
    OTHER_NUMBERS = 6
    CANNOT_TELL = 4
    NOT_SLOWER = 0


SAID = {
    Exit.SLOWER: "slower",
    Exit.BROKEN_LAW: "a law no longer holds",
    Exit.COULD_NOT: "could not measure",
    Exit.OTHER_NUMBERS: "no longer the same numbers",
    Exit.CANNOT_TELL: "cannot tell",
    Exit.NOT_SLOWER: "not slower",
}
