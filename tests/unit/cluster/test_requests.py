"""What a job asks for: how memory and time grow with the attempts, which is decided in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sonogrid.cluster.profile import site_profile
from sonogrid.cluster.requests import Request
from sonogrid.cluster.site import Site

RULES = sorted(Path("rules").glob("*.smk"))
OF_A_REQUEST = re.compile(r"lambda wildcards, attempt: REQUESTS\[\"\w+\"\]\.(mem_mb|minutes)_at\(attempt\),")


def own_growth(text: str) -> list[str]:
    """The lines of a rule file that use the attempt otherwise than by asking the request."""
    return [line.strip() for line in text.splitlines() if "attempt" in OF_A_REQUEST.sub("", line)]


@pytest.mark.parametrize(("attempt", "mem_mb", "minutes"), [(1, 6000, 90), (2, 12000, 180), (3, 18000, 270)])
def test_a_later_attempt_asks_for_as_many_times_the_memory_and_the_time(
    attempt: int, mem_mb: int, minutes: int
) -> None:
    request = Request(gpus=1, cpus=2, mem_mb=6000, minutes=90)
    assert (request.mem_mb_at(attempt), request.minutes_at(attempt)) == (mem_mb, minutes)
    asked = site_profile(Site()).submission("train", request, attempt)
    assert (asked.mem_mb, asked.minutes, asked.cpus) == (mem_mb, minutes, 2)


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_no_rule_types_a_growth_of_its_own(file: Path) -> None:
    assert own_growth(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("growth", ['REQUESTS["train"].mem_mb * attempt', "attempt * 60", "2000 + 500 * (attempt - 1)"])
def test_a_growth_in_a_rule_would_be_found(growth: str) -> None:
    assert own_growth(f"        mem_mb=lambda wildcards, attempt: {growth},\n")
