"""A study with a key larger than one argument of a command may be: rules write it to standard input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from workspace import Workspace

LARGEST_ARGUMENT = 131_071
"""Bytes of one argument on Linux: MAX_ARG_STRLEN without the zero at its end."""
TARGET = "results/cohort/manifest.csv"
# What a shell would run, or end a quotation at, must reach the stage as it is.
LAYOUTS = {f'the scanner\'s $(exit 3) "{number}"': {"scan": [0, 0, 640, 480]} for number in range(1200)}
LARGE = {"cohort": {"layouts": LAYOUTS}}


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_the_part_of_this_study_cannot_be_an_argument() -> None:
    part = Workspace(Path()).part("cohort", LARGE).encode()
    subprocess.run(["true", part[:LARGEST_ARGUMENT]], check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["true", part], check=True)


def test_a_large_study_runs_and_an_edit_of_it_runs_again(workspace: Workspace) -> None:
    run = workspace.snakemake("--cores", "1", TARGET, changes=LARGE)
    assert run.code == 0, run.shown_in_full()
    assert workspace.dry_run(TARGET, changes=LARGE).jobs == {}
    edited = {"cohort": {"layouts": LAYOUTS | {"Another": {"scan": [0, 0, 640, 480]}}}}
    assert workspace.dry_run(TARGET, changes=edited).jobs == {"cohort": 1}
