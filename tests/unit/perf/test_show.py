"""What a comparison looks like: fits its width, keeps no secret, and shows nothing as markup that came from outside."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sonogrid.files import write_json
from sonogrid.perf.choices import Exit
from sonogrid.perf.compare import Compared, Comparison
from sonogrid.perf.laws import Laws
from sonogrid.perf.limits import Limits, Plan
from sonogrid.perf.show import (
    WIDTH,
    Page,
    headline,
    page_json,
    page_markdown,
    page_notes,
    per_unit,
    ratio,
    refusal_json,
    refusal_markdown,
    show_page,
    write_summary,
)
from sonogrid.perf.verdicts import CouldNotMeasureError, GateVerdict
from sonogrid.problems import Problem

PROFILE = {"base": [{"function": "images/text.py:1(find)", "ms": 1.25, "calls": "3"}], "head": []}
ROWS = (
    Compared("steady", GateVerdict.NOT_SLOWER, Limits(0.0, -0.02, 0.03, 16), unit="image", seconds=(0.0012, 0.0012)),
    Compared(
        "reading[dicom_jpeg_lossless]",
        GateVerdict.SLOWER,
        Limits(math.log(1.2), math.log(1.1), math.log(1.3), 24),
        unit="picture",
        count=4,
        seconds=(2.0, 2.4),
        peak_bytes=(1e8, 2e8),
        numbers="other",
        ratios=(0.1, 0.2),
        witness={"instructions": None, "not_counted": "no counters", "profiles": PROFILE},
    ),
    Compared("loud", GateVerdict.CANNOT_TELL, Limits(0.01, -math.inf, math.inf, 40), unit="cell", seconds=(1e-7, 1e-7)),
    Compared("broken|<b>@all", GateVerdict.COULD_NOT, reason="fails on head: assert [x](http://y) | `z`"),
    Compared(
        "little", GateVerdict.WITHIN, Limits(0.02, 0.01, 0.04, 24), unit="image", seconds=(0.5, 0.5), numbers="vary"
    ),
)
MADE = Comparison(
    ROWS, Compared("control", GateVerdict.NOT_SLOWER), ("gone",), ("new",), ("changed",), 24, ("base", "head"), 600.0
)
PAGE = Page(
    "main (abc1234)",
    "HEAD (def5678)",
    "fast",
    Plan(),
    MADE,
    Laws(("law_one",), ("law_two",), ("law_three",), 101),
    Exit.SLOWER,
    ["A."],
    {},
)


def shown(page: Page, width: int = WIDTH) -> str:
    output = io.StringIO()
    show_page(page, Console(file=output, width=width))
    return output.getvalue()


def test_what_needs_action_comes_first_and_every_verdict_is_there() -> None:
    lines = shown(PAGE).splitlines()
    names = [line.split()[0] for line in lines[1:6]]
    assert names == ["reading[dicom_jpeg_lossless]", "broken|<b>@all", "loud", "little", "steady"]
    assert "1.200 [1.100, 1.300]" in lines[1] and "slower" in lines[1] and "500 ms/picture" in lines[1]
    assert max(map(len, lines)) <= WIDTH


def test_the_last_line_is_the_verdict_with_its_exit_code() -> None:
    last = " ".join(shown(PAGE, 400).splitlines()[-1:])
    assert last == headline(PAGE)
    assert "slower (exit code 3); 1 slower, 1 could not measure, 1 cannot tell, 1 slower, within the margin" in last


@pytest.mark.parametrize(
    ("seconds", "count", "expected"),
    [
        (0.5, 1, "500 ms/cell"),
        (3.0, 2, "1.5 s/cell"),
        (2e-6, 1, "2 us/cell"),
        (2e-12, 1, "0.002 ns/cell"),
        (math.nan, 1, ""),
    ],
)
def test_times_per_unit(seconds: float, count: int, expected: str) -> None:
    assert per_unit(Compared("a", GateVerdict.SLOWER, unit="cell", count=count, seconds=(seconds, 1.0))) == expected


def test_ratios_with_limits_that_are_absent() -> None:
    assert ratio(Limits(0.0, -math.inf, math.inf, 3)) == "1.000 [-, -]"
    assert ratio(Limits(math.nan, -math.inf, math.inf, 0)) == ""


def test_notes_tell_all_that_the_table_does_not() -> None:
    said = "\n".join(page_notes(PAGE))
    for text in (
        "A.",
        "Could not measure broken|<b>@all: fails on head",
        "No longer the same numbers: reading[dicom_jpeg_lossless].",
        "vary from process to process: little.",
        "Peak memory of reading[dicom_jpeg_lossless]: 100 -> 200 MB.",
        "New, not compared: new.",
        "Gone, not compared: gone.",
        "not compared: changed.",
        "101 laws of tests/property tested, 1 no longer hold.",
        "Laws that head breaks: law_one.",
        "Laws that both sides break: law_two.",
        "Laws that head no longer tests: law_three.",
        "Instructions of reading[dicom_jpeg_lossless]: not counted (no counters).",
        "on base: images/text.py:1(find) 1.25 ms.",
    ):
        assert text in said
    assert "--no-laws" in "\n".join(page_notes(replace(PAGE, laws=None)))


def test_counted_instructions_are_a_ratio() -> None:
    row = replace(
        ROWS[1], witness={"instructions": {"base": 2e9, "head": 2.2e9}, "counted_by": "perf", "profiles": PROFILE}
    )
    page = replace(PAGE, comparison=replace(MADE, rows=(row,)))
    assert "2e+09 -> 2.2e+09 per call (x 1.100), by perf" in "\n".join(page_notes(page))


HOSTILE = "a|<b>@all [x](http://y) `z` #1 *b* _i_ ~s~ !c \\|\x1b[31m ::stop-commands::x ##[y] :::a::: www.a.example"


def with_name(name: str) -> Page:
    row = replace(ROWS[1], name=name, reason=name)
    return replace(PAGE, head=name, comparison=replace(MADE, rows=(row,), only_head=(name,)))


def test_names_from_a_contributor_are_no_markup() -> None:
    text = page_markdown(with_name(HOSTILE))
    assert (
        "://" not in text
        and "www." not in text
        and not set("<>@[]`*_~!\\\x1b")
        & set(re.sub(r"&#\d+;|</?(details|summary)>|^\|[-:|]+\|$", "", text, flags=re.M))
    )
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in table[:2]} == {6}


def test_names_from_a_contributor_do_nothing_to_a_terminal_or_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    said = shown(with_name(HOSTILE), 60)
    assert "\x1b" not in said and "::" not in said and "##[" not in said
    assert "[x](http" in said


def test_what_could_not_be_compared_is_a_page_too() -> None:
    error = CouldNotMeasureError([Problem("main", "is no <commit>", "Run: git fetch")])
    assert "is no &#60;commit&#62;. Run" in refusal_markdown("main", "HEAD", error).replace("&#58;", ":")
    read = refusal_json("main", "HEAD", error)
    assert read["exit"] == {"code": 5, "said": "could not measure"} and "git fetch" in read["problems"][0]


def test_json_holds_everything_and_no_nan(tmp_path: Path) -> None:
    file = tmp_path / "compare.json"
    write_json(page_json(PAGE), file)
    read = json.loads(file.read_text())
    assert read["exit"] == {"code": 3, "said": "slower"}
    by_name = {row["name"]: row for row in read["benchmarks"]}
    assert by_name["loud"]["ratio"] == {"estimate": pytest.approx(1.01005), "low": 0.0, "high": None, "pairs": 40}
    assert by_name["reading[dicom_jpeg_lossless]"]["log_ratios"] == [0.1, 0.2]
    assert by_name["broken|<b>@all"]["seconds"] == {"base": None, "head": None}


def test_the_summary_of_a_job_is_added_to_what_others_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    write_summary(page_markdown(PAGE), tmp_path / "out" / "compare.md")
    assert summary.read_text() == "before\n" + (tmp_path / "out" / "compare.md").read_text()
