"""Stages that need no model do not load torch or timm, which takes seconds a process."""

from __future__ import annotations

import json
import sys

from workspace import Workspace

HEAVY = {"torch", "timm", "torchvision", "snakemake", "pytorch_grad_cam"}
# Runs stages one after another in one process and tells which of the heavy modules are loaded after each.
PROGRAM = """
import json, sys
from sonogrid.cli import main
heavy = set(json.loads(sys.argv[1]))
loaded = {"import": sorted(heavy & set(sys.modules))}
for arguments in json.loads(sys.argv[2]):
    assert main(arguments) == 0, arguments
    loaded[arguments[0]] = sorted(heavy & set(sys.modules))
print(json.dumps(loaded))
"""


def test_cheap_stages_load_nothing_heavy(finished_copy: Workspace) -> None:
    study = finished_copy.study()
    cheap = ("cohort", "images", "splits", "evaluate", "tables", "figures", "report")
    axes = {"backbone": study.grid.backbones, "init": study.grid.inits, "modality": ["bmode"]}
    stages = [[stage, "--study", finished_copy.part(stage, **axes)] for stage in cheap]
    stages[1] += ["--modality", "bmode"]
    run = finished_copy.run([sys.executable, "-c", PROGRAM, json.dumps(sorted(HEAVY)), json.dumps(stages)])
    assert run.code == 0, run.shown_in_full()
    loaded = json.loads(run.text.splitlines()[-1])
    assert loaded == {name: [] for name in ("import", *(stage[0] for stage in stages))}
