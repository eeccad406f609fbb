"""What `sonogrid plan --check` prints; the tables of a plan are in test_plan.py."""

from __future__ import annotations

import io

import pytest
from dummy_study import DEMO, make_study
from rich.console import Console
from unit.cluster.test_plan import cells

from sonogrid.cluster import show_plan
from sonogrid.cluster.full_check import CheckResult
from sonogrid.cluster.profile import site_profile
from sonogrid.cluster.site import Site
from sonogrid.problems import InputError


def test_results_are_in_one_table_and_a_wrong_one_ends_it():
    results = [
        CheckResult("controller", "is UP", "ok"),
        CheckResult("MinJobAge", "2 s", "wrong", "Ask the site for more"),
        CheckResult("node", "none was free", "not checked", "Try again later"),
    ]
    file = io.StringIO()
    console = Console(file=file, width=show_plan.WIDTH)
    with pytest.raises(InputError, match="1 of 3 results are wrong: MinJobAge"):
        show_plan.show_check(results, console)
    assert " ".join(cells(file.getvalue(), "MinJobAge wrong")) == "MinJobAge wrong 2 s. Ask the site for more"
    show_plan.show_check([results[0], results[2]], console)


def test_the_check_looks_at_the_results_and_at_the_scratch_folder(monkeypatch, tmp_path, capsys):
    study = make_study(DEMO, tmp_path / "results")
    asked = []

    def check(site, profile, requests, folders, jobs, file):
        asked.append((set(requests), folders, jobs))
        return [CheckResult("all", "well", "ok")]

    monkeypatch.setattr(show_plan, "check_cluster", check)
    show_plan.check_site(study, Site(scratch=tmp_path), site_profile(Site()), 64)
    ((stages, folders, jobs),) = asked
    assert {"train", "pretrain", "explain", "evaluate"} <= stages
    assert (folders, jobs) == ([study.results, tmp_path], 64)
    assert "well" in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [False, True])
def test_only_rows_for_a_terminal_end_in_blanks(terminal):
    file = io.StringIO()
    console = Console(file=file, width=40, force_terminal=terminal, color_system=None)
    show_plan.show_table(
        console, "[t]", {"name": "left", "what": "left"}, [["a", "[b]"], ["c", "longer"], ["d", "gpu:v:1"]]
    )
    text = file.getvalue()
    assert text.startswith("[t]\n") and "[b]" in text and "gpu:v:1" in text
    assert any(line != line.rstrip() for line in text.splitlines()) == terminal
