"""Start-up and dry runs of two checkouts, alternating in one run: python tests/tools/measure_start_up.py BEFORE AFTER

For `sonogrid --help` and for dry runs of grids of several sizes: seconds of wall clock, CPU seconds and the largest
resident memory of the process, medians over rounds (A B B A ...), and the ratios after / before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml

from sonogrid.config.backbone_names import known_backbones

SIZES = {36: (2, 2, 3), 1200: (8, 10, 5), 12000: (80, 10, 5)}
"""Cells -> number of backbones, of inits, of folds; three modalities."""
COPIED = ("Snakefile", "config.yaml", "rules", "slurm", "workflow")


class Cost(NamedTuple):
    """What one run of a command took."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def study(cells: int) -> dict[str, object]:
    """A configuration above config.yaml whose grid has this many cells."""
    backbones, inits, folds = SIZES[cells]
    named = {f"init{number}": {"source": "random"} for number in range(inits)}
    grid = {"backbones": sorted(known_backbones())[:backbones], "inits": list(named)}
    return {"inits": named, "grid": grid, "splits": {"folds": folds}, "statistics": {"pretraining_effect": None}}


def cost(command: list[str], folder: Path, source: Path) -> Cost:
    """Run a command on the package of a checkout. Raise RuntimeError with what it said if it fails."""
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status != 0:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)}:\n{said.read().decode()[-2000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def measured(name: str, command: list[str], checkouts: list[Path], folders: list[Path], rounds: int) -> str:
    """One line of the table: medians before and after, and their ratios."""
    found: list[list[Cost]] = [[], []]
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found[side].append(cost(command, folders[side], checkouts[side]))
    before, after = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in found)
    numbers = (f"{one:.2f} -> {two:.2f} (x {two / one:.2f})" for one, two in zip(before, after, strict=True))
    return f"| {name} | {rounds} | {' | '.join(numbers)} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--cells", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkouts = [path.resolve() for path in options.checkouts]
    print("| command | rounds | seconds | CPU seconds | MB |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary, side) for side in ("before", "after")]
        for checkout, folder in zip(checkouts, folders, strict=True):
            folder.mkdir()
            for name in COPIED:
                copy = shutil.copytree if (checkout / name).is_dir() else shutil.copy2
                copy(checkout / name, folder / name)
        program = [sys.executable, "-m", "sonogrid.cli", "--help"]
        print(measured("sonogrid --help", program, checkouts, folders, 3 * options.rounds), flush=True)
        for cells in options.cells:
            for folder in folders:
                (folder / "changes.yaml").write_text(yaml.safe_dump(study(cells)), encoding="utf-8")
            program = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--configfile", "changes.yaml"]
            print(measured(f"dry run of {cells:,} cells", program, checkouts, folders, options.rounds), flush=True)


if __name__ == "__main__":
    main()
