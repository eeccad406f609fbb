"""A job that fails or is stopped says why, leaves nothing half-written, and the next run goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from workspace import SCORED, TIMEOUT, Run, Workspace, environ, wait_for, without_cell

CELL = ("test_vit", "scratch", "bmode", 0, 1)
SIBLING = ("test_vit", "scratch", "bmode", 0, 0)
TARGET = "results/metrics.csv"


def interrupted(workspace: Workspace, stand_in: Path, moment: str) -> Run:
    """Run to the moment in the life of CELL, press Ctrl-C (a SIGINT for the whole process group), wait for the end."""
    mark, said = stand_in / "mark", stand_in / "said.txt"
    environment = {"STAND_IN_MOMENT": moment, "STAND_IN_FOLD": str(CELL[4]), "STAND_IN_MARK": str(mark)}
    with said.open("w") as output:
        process = subprocess.Popen(
            workspace.command("--cores", "1", TARGET),
            cwd=workspace.folder,
            env=environ([stand_in]) | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that starts this suite in the background lets it ignore SIGINT, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            wait_for(mark, process)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(TIMEOUT)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return Run(code, said.read_text(encoding="utf-8"))


@pytest.mark.parametrize("moment", ["epoch", "saving"])
def test_interrupted_cell_leaves_nothing_and_the_next_run_goes_on(
    finished: Workspace, finished_copy: Workspace, stand_in: Path, moment: str
) -> None:
    without_cell(finished_copy, CELL)
    cell = finished_copy.folder / finished_copy.cell(*CELL)
    run = interrupted(finished_copy, stand_in, moment)
    assert run.code != 0, run.shown_in_full()
    assert "Interrupted; nothing half-written was left." in run.text
    assert not cell.exists() or list(cell.iterdir()) == []
    assert finished_copy.temporary_files() == []

    again = finished_copy.snakemake("--cores", "1", TARGET)
    assert again.code == 0, again.shown_in_full()
    assert again.jobs == {"train": 1, "evaluate": 1}
    undisturbed = finished.folder / finished.cell(*CELL)
    for name in ("predictions.csv", "model.safetensors"):
        assert (cell / name).read_bytes() == (undisturbed / name).read_bytes()
    attempts = json.loads((cell / "run.json").read_text(encoding="utf-8"))["attempts"]
    epochs = [(one["first_epoch"], one["last_epoch"]) for one in attempts]
    assert epochs == ([(1, 1), (2, 2)] if moment == "epoch" else [(1, 2)])
    assert (finished_copy.folder / TARGET).read_bytes() == (finished.folder / TARGET).read_bytes()


def test_failed_cell_leaves_no_table_and_is_named(finished_copy: Workspace, stand_in: Path) -> None:
    """The other cells are made; nothing is scored from those that are there."""
    without_cell(finished_copy, CELL, SIBLING)
    moment = {"STAND_IN_MOMENT": "failure", "STAND_IN_FOLD": str(CELL[4])}
    run = finished_copy.snakemake("--cores", "2", "--keep-going", path=[stand_in], **moment)
    assert run.code != 0
    assert "the inner loss was never finite" in run.text
    _, error = run.text.split("Error in rule train:", maxsplit=1)
    assert f"{finished_copy.cell(*CELL)}/predictions.csv" in error.split("shell:")[0]
    cell = finished_copy.folder / finished_copy.cell(*CELL)
    assert not cell.exists() or list(cell.iterdir()) == []
    assert (finished_copy.folder / finished_copy.cell(*SIBLING) / "predictions.csv").is_file()
    assert not any((finished_copy.results / name).exists() for name in (*SCORED, "tables"))
    log = finished_copy.results.joinpath("logs", "train", *CELL[:3], "seed0", f"fold{CELL[4]}.log")
    assert "the inner loss was never finite" in log.read_text(encoding="utf-8")


def test_full_disk_gives_a_message_and_no_part_of_a_cell(finished_copy: Workspace) -> None:
    """A limit on the size of files stands for a disk that is full: predictions fit, the model does not."""
    without_cell(finished_copy, CELL)
    cell = finished_copy.cell(*CELL)
    command = finished_copy.command("--cores", "1", f"{cell}/predictions.csv")
    run = finished_copy.run(["bash", "-c", 'ulimit -f 200 && exec "$0" "$@"', *command])
    assert run.code != 0
    assert f"{cell}/model.safetensors: File too large. Check that it exists, is writable and has space." in run.text
    assert "Traceback" not in run.text
    folder = finished_copy.folder / cell
    assert not folder.exists() or list(folder.iterdir()) == []
    assert finished_copy.temporary_files() == []


def test_full_disk_leaves_no_half_store(finished_copy: Workspace) -> None:
    shutil.rmtree(finished_copy.results / "images")
    arguments = ["--study", finished_copy.part("images", modality=["bmode"]), "--modality", "bmode"]
    run = finished_copy.run(["bash", "-c", 'ulimit -f 200 && exec "$0" "$@"', "sonogrid", "images", *arguments])
    assert run.code == 2
    store = Path("results/images/bmode.npy")
    assert run.text.strip() == f"{store}: File too large. Check that it exists, is writable and has space."
    assert list((finished_copy.folder / store.parent).iterdir()) == []


def test_results_below_a_file_are_refused_before_anything_runs(workspace: Workspace) -> None:
    (workspace.folder / "occupied").write_text("not a folder", encoding="utf-8")
    run = workspace.snakemake("--cores", "1", changes={"results": "occupied/results"})
    assert run.code != 0
    assert "config key results: " in run.text
    assert "occupied" in run.text
    assert "Traceback" not in run.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into a read-only folder")
def test_read_only_results_are_refused_before_anything_runs(workspace: Workspace) -> None:
    workspace.results.mkdir()
    workspace.results.chmod(0o555)
    run = workspace.snakemake("--cores", "1")
    assert run.code != 0
    assert "config key results: " in run.text
    assert "Traceback" not in run.text
    assert list(workspace.results.iterdir()) == []


def test_log_that_cannot_be_written_gives_a_message(finished: Workspace, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.touch()
    log, splits = occupied / "splits.log", finished.results / "splits.csv"
    before = splits.stat().st_mtime_ns
    run = finished.run(["sonogrid", "--log", str(log), "splits", "--study", finished.part("splits")])
    assert run.code == 2
    assert run.text.startswith(str(occupied))
    assert "Traceback" not in run.text
    assert splits.stat().st_mtime_ns == before


def test_fewer_patients_than_folds_are_told_by_class(finished_copy: Workspace) -> None:
    counts = finished_copy.class_counts()
    assert max(counts.values()) < 12
    run = finished_copy.snakemake("--cores", "1", "results/splits.csv", changes={"splits": {"folds": 12}})
    assert run.code != 0
    for label, count in counts.items():
        assert f"class '{label}': has {count} patients, fewer than 12 folds" in run.text
    assert f"Set splits.folds to {min(counts.values())} or less" in run.text
    assert "Traceback" not in run.text
    assert not (finished_copy.results / "splits.csv").exists()
    assert finished_copy.temporary_files() == []
