"""What can be wrong with an input, said all at once: the place, the reason and the remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (file, row or key), what, and what to do about it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}. {self.remedy}."
        # Names and keys come from outside: what they could do to a terminal or a log is shown, not done.
        return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class InputError(Exception):
    """An input cannot be used; carries every problem that was found, not only the first."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class CellError(InputError):
    """Some cells of a job failed, each for its own reason; the others are done."""

    exit_code = 1

    def __init__(self, failures: Mapping[Any, Problem], cells: int) -> None:
        super().__init__(list(failures.values()))
        self.args = (f"{len(failures)} of {cells} cells failed:\n{self.args[0]}",)


class Problems:
    """Collects problems while an input is read, so that a user meets all of them in one run."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, where: str, what: str, remedy: str) -> None:
        """Note one problem. The three parts are phrases without a full stop at the end."""
        self.found.append(Problem(where, what, remedy))

    def raise_if_any(self) -> None:
        """Raise InputError with everything noted so far; return when nothing was."""
        if self.found:
            raise InputError(self.found)
