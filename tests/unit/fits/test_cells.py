"""The cells of a job: done ones are kept, failed ones are named, and the others do not notice."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonogrid.config.training import Training
from sonogrid.fits import cells as module
from sonogrid.fits.cells import FILES, Job, train_cells
from sonogrid.grid import Cell, cell_folder
from sonogrid.images.store import INDEX_COLUMNS
from sonogrid.problems import CellError, InputError, Problem
from sonogrid.training.fit import Fitting

CLASSES = ("benign", "malignant")
CELLS = [Cell("test_resnet", init, "bmode", fold) for init in ("scratch", "again") for fold in (0, 1)]
SAME = ("predictions.csv", "model.safetensors")


@pytest.fixture
def job(tmp_path):
    """Sixteen patients with an image of noise each, in two folds."""
    rows = [(f"p{n:02d}", CLASSES[n % 2]) for n in range(16)]
    pd.DataFrame(rows, columns=["patient_id", "label"]).to_csv(tmp_path / "patients.csv", index=False)
    parts = [
        (patient, fold, "test" if n // 2 % 2 == fold else "inner" if n >= 12 else "train")
        for fold in (0, 1)
        for n, (patient, _) in enumerate(rows)
    ]
    pd.DataFrame(parts, columns=["patient_id", "fold", "part"]).to_csv(tmp_path / "splits.csv", index=False)
    np.save(tmp_path / "bmode.npy", np.random.default_rng(0).integers(0, 255, (16, 32, 32, 3), dtype=np.uint8))
    place = (0, 0, 32, 32, 1.0, 1.0, 0, 0)
    index = [(n, f"i{n}", patient, "0" * 64, f"{n:064x}", *place) for n, (patient, _) in enumerate(rows)]
    pd.DataFrame(index, columns=list(INDEX_COLUMNS)).to_csv(tmp_path / "bmode.csv", index=False)
    (tmp_path / "certificate.json").write_text('{"accepted_sha256": "0"}')
    return Job(
        classes=CLASSES,
        training=Training(epochs=2, patience=2, batch_size=4, learning_rate=1e-3),
        study_seed=1,
        threads=1,
        patients=tmp_path / "patients.csv",
        splits=tmp_path / "splits.csv",
        certificate=tmp_path / "certificate.json",
        stores={"bmode": (tmp_path / "bmode.npy", tmp_path / "bmode.csv")},
        init_sources={"scratch": "random", "again": "random"},
        weights={},
        input_sizes={"test_resnet": 32},
        results=tmp_path / "results",
        checkpoints=tmp_path / "checkpoints",
    )


def contents(job, cell):
    folder = cell_folder(job.results, cell)
    return {name: (folder / name).read_bytes() for name in SAME} if folder.is_dir() else {}


def checkpoints(job):
    return [file for file in job.checkpoints.rglob("*") if file.is_file()]


def fail_in(monkeypatch, cell, failure):
    """Every fit of this cell ends with the failure, after its first epoch."""
    fit, seed = module.fit, cell.seed(1)

    def changed(model, train, inner, recipe, fit_seed, *rest):
        if fit_seed == seed:
            failure()
        return fit(model, train, inner, recipe, fit_seed, *rest)

    monkeypatch.setattr(module, "fit", changed)


def crash():
    raise FloatingPointError("something in the libraries")


def refuse():
    raise InputError([Problem("weights", "do not fit", "Pre-train again")])


def test_cells_of_one_job_are_those_of_jobs_of_their_own(job, tmp_path):
    train_cells(CELLS, job)
    alone = replace(job, results=tmp_path / "alone")
    for cell in reversed(CELLS):
        train_cells([cell], alone)
    together = replace(job, results=tmp_path / "together", together=2)
    train_cells(CELLS, together)
    for cell in CELLS:
        assert contents(job, cell).keys() == set(SAME)
        assert contents(job, cell) == contents(alone, cell) == contents(together, cell)
    assert contents(job, CELLS[0]) != contents(job, CELLS[1])
    assert checkpoints(job) == []


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("failure", [crash, refuse])
def test_failed_cell_is_named_and_the_others_are_done(job, monkeypatch, capfd, failure, together):
    with monkeypatch.context() as patch:
        fail_in(patch, CELLS[1], failure)
        with pytest.raises(CellError) as caught:
            train_cells(CELLS, replace(job, together=together))
    assert str(caught.value).startswith("1 of 4 cells failed:\ncell test_resnet scratch bmode fold 1: failed")
    assert len(caught.value.problems) == 1
    assert ("something in the libraries" if failure is crash else "Pre-train again") in capfd.readouterr().err
    done = [cell for cell in CELLS if contents(job, cell)]
    assert done == [CELLS[0], *CELLS[2:]]

    # Even where Snakemake takes away the outputs of a failed job, nothing is fitted again but the failed cell.
    removed = cell_folder(job.results, CELLS[2])
    before = contents(job, CELLS[2])
    for name in FILES:
        (removed / name).unlink()
    epochs = counted_epochs(monkeypatch)
    train_cells(CELLS, job)
    assert len(epochs) == 2
    assert contents(job, CELLS[2]) == before
    assert checkpoints(job) == []


def counted_epochs(monkeypatch):
    """A list that grows by one with every epoch that is run from now on."""
    run_epoch, epochs = Fitting.run_epoch, []

    def counting(self):
        epochs.append(self.step)
        return run_epoch(self)

    monkeypatch.setattr(Fitting, "run_epoch", counting)
    return epochs


def test_single_cell_fails_with_its_own_error(job, monkeypatch):
    fail_in(monkeypatch, CELLS[0], crash)
    with pytest.raises(FloatingPointError):
        train_cells(CELLS[:1], job)


def test_worker_that_is_killed_is_noticed_and_nothing_is_called_done(job, monkeypatch):
    """As for want of memory: the kernel ends one process, and the job must not wait for it for ever."""
    fail_in(monkeypatch, CELLS[0], lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CellError) as caught:
        train_cells(CELLS, replace(job, together=2))
    named = {problem.where for problem in caught.value.problems}
    lost = {f"cell {c.backbone} {c.init} {c.modality} fold {c.fold}" for c in CELLS if not contents(job, c)}
    assert "cell test_resnet scratch bmode fold 0" in lost <= named
    assert "want of memory" in str(caught.value)


def test_signal_ends_all_workers_and_no_further_cell_begins(job, tmp_path):
    """SIGTERM to the job's process, two cells under way, four to come; as a cluster does it before it kills."""
    cells = [Cell("test_resnet", f"init{n}", "bmode", 0) for n in range(6)]
    script = tmp_path / "job.py"
    script.write_text(
        "import pickle, sys, time\n"
        "from pathlib import Path\n"
        "from sonogrid import cli\nfrom sonogrid.fits import cells as module\n"
        "job, cells, mark = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "def wait(*rest): mark.joinpath(str(rest[4])).touch(); time.sleep(120)\n"
        "module.fit = wait\n"
        "cli.stages.schema = lambda _: module.train_cells(cells, job)\n"
        "cli.stages.schema.__name__ = 'schema'\n"
        "sys.exit(cli.main(['schema']))\n",
        encoding="utf-8",
    )
    mark = tmp_path / "marks"
    mark.mkdir()
    sources = {cell.init: "random" for cell in cells}
    state = pickle.dumps((replace(job, together=2, init_sources=sources), cells, mark))
    (tmp_path / "job.pickle").write_bytes(state)
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "job.pickle")])
    try:
        while len(list(mark.iterdir())) < 2:
            assert process.poll() is None
            time.sleep(0.1)
        workers = [int(one) for one in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.terminate()
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.wait()
    assert len(list(mark.iterdir())) == 2
    assert len(workers) >= 2 and not any(alive(worker) for worker in workers)


def alive(pid):
    """Whether a process runs, and is no zombie that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_kept_cell_survives_the_failure_of_another(job, monkeypatch):
    """Snakemake takes away all outputs of a failed job, those of a cell too that was done by an earlier one."""
    train_cells(CELLS[:1], job)
    before = contents(job, CELLS[0])
    with monkeypatch.context() as patch:
        fail_in(patch, CELLS[1], crash)
        with pytest.raises(CellError):
            train_cells(CELLS[:2], job)
    for name in FILES:
        (cell_folder(job.results, CELLS[0]) / name).unlink()
    epochs = counted_epochs(monkeypatch)
    train_cells(CELLS[:1], job)
    assert epochs == [] and contents(job, CELLS[0]) == before


def test_done_cell_is_kept_until_what_decides_it_changes(job, capsys):
    cell = CELLS[0]
    folder = cell_folder(job.results, cell)

    def trained(changed):
        before = (folder / "run.json").read_bytes() if folder.exists() else b""
        train_cells([cell], changed)
        return (folder / "run.json").read_bytes() != before

    assert trained(job)
    assert not trained(job)
    assert "done before with the same recipe, kept" in capsys.readouterr().err
    longer = replace(job, training=job.training.model_copy(update={"epochs": 3}))
    assert trained(longer) and not trained(longer)
    assert trained(replace(longer, study_seed=2))
    (folder / "model.safetensors").unlink()
    assert trained(replace(longer, study_seed=2))
    (folder / "run.json").write_text("{half", encoding="utf-8")
    assert trained(replace(longer, study_seed=2))
    table = pd.read_csv(job.patients, dtype=str)
    table.assign(label=table["label"].iloc[::-1].to_numpy()).to_csv(job.patients, index=False)
    assert trained(replace(longer, study_seed=2)), "the labels are other ones"
    index = pd.read_csv(job.stores["bmode"][1], dtype=str)
    index.assign(canvas_sha256="f" * 64).to_csv(job.stores["bmode"][1], index=False)
    assert trained(replace(longer, study_seed=2)), "the pixels are other ones"


def test_record_says_where_every_epoch_ran(job, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "gpu2")
    train_cells(CELLS[:1], job)
    run = json.loads((cell_folder(job.results, CELLS[0]) / "run.json").read_text(encoding="utf-8"))
    (attempt,) = run["attempts"]
    where = {"device": "cpu", "node": "gpu2", "slurm_job_id": "17", "cuda_visible_devices": "", "cells_at_once": 1}
    assert attempt.items() >= (where | {"first_epoch": 1, "last_epoch": 2}).items()
    assert run["seconds"] == attempt["seconds"] > 0
