"""The cells of a job: done ones are kept, failed ones are named, and the others do not notice."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from unit.fits.tiny_study import CELLS, contents, tiny_study, write_inputs

from sonogrid.fits import life
from sonogrid.grid import Cell
from sonogrid.jobs import train_cells
from sonogrid.layout import CELL_FILES, Layout
from sonogrid.problems import CellError, InputError, Problem
from sonogrid.training.fit import Fitting

SAME = {"predictions.csv", "model.safetensors"}


@pytest.fixture
def study(tmp_path):
    """A study of noise with its files, and only the keys of the config that a fit may read."""
    write_inputs(tmp_path / "results")
    return tiny_study(tmp_path / "results")


def run(cells, study, together=1):
    train_cells(cells, study, study.results / "checkpoints", threads=1, together=together)


def done(study, cell):
    return contents(study.results, cell)


def checkpoints(study):
    return [file for file in (study.results / "checkpoints").rglob("*") if file.is_file()]


def remove(study, cell):
    for name in CELL_FILES:
        (Layout(study.results).cell(cell) / name).unlink()


def fail_in(monkeypatch, cell, failure):
    """Every fit of this cell ends with the failure, after its first epoch."""
    fit_recipe, seed = life.fit_recipe, cell.random_seed(1)

    def changed(recipe, *arguments):
        if recipe["random_seed"] == seed:
            failure()
        return fit_recipe(recipe, *arguments)

    monkeypatch.setattr(life, "fit_recipe", changed)


def crash():
    raise FloatingPointError("something in the libraries")


def refuse():
    raise InputError([Problem("weights", "do not fit", "Pre-train again")])


def test_cells_of_one_job_are_those_of_jobs_of_their_own(study, tmp_path):
    run(CELLS, study)
    for name in ("alone", "together"):
        write_inputs(tmp_path / name)
    alone, together = tiny_study(tmp_path / "alone"), tiny_study(tmp_path / "together")
    for cell in reversed(CELLS):
        run([cell], alone)
    run(CELLS, together, together=2)
    for cell in CELLS:
        assert done(study, cell).keys() == SAME
        assert done(study, cell) == done(alone, cell) == done(together, cell)
    assert done(study, CELLS[0]) != done(study, CELLS[1])
    assert checkpoints(study) == checkpoints(together) == []


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("failure", [crash, refuse])
def test_failed_cell_is_named_and_the_others_are_done(study, monkeypatch, capfd, failure, together):
    with monkeypatch.context() as patch:
        fail_in(patch, CELLS[1], failure)
        with pytest.raises(CellError) as caught:
            run(CELLS, study, together)
    assert str(caught.value).startswith("1 of 4 cells failed:\ncell test_resnet scratch bmode seed 0 fold 1: failed")
    assert len(caught.value.problems) == 1
    assert ("something in the libraries" if failure is crash else "Pre-train again") in capfd.readouterr().err
    assert [cell for cell in CELLS if done(study, cell)] == [CELLS[0], *CELLS[2:]]

    # Even where the workflow removes the outputs of a failed job, nothing is fitted again but the failed cell.
    before = done(study, CELLS[2])
    remove(study, CELLS[2])
    epochs = counted_epochs(monkeypatch)
    run(CELLS, study)
    assert len(epochs) == 2
    assert done(study, CELLS[2]) == before
    assert checkpoints(study) == []


def counted_epochs(monkeypatch):
    """A list that grows by one with every epoch that is run from now on."""
    run_epoch, epochs = Fitting.run_epoch, []

    def counting(self):
        epochs.append(self.step)
        return run_epoch(self)

    monkeypatch.setattr(Fitting, "run_epoch", counting)
    return epochs


def test_single_cell_fails_with_its_own_error(study, monkeypatch):
    fail_in(monkeypatch, CELLS[0], crash)
    with pytest.raises(FloatingPointError):
        run(CELLS[:1], study)


def test_worker_that_is_killed_is_noticed_and_nothing_is_called_done(study, monkeypatch):
    """As for want of memory: the kernel ends one process, and the job must not wait for it for ever."""
    fail_in(monkeypatch, CELLS[0], lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(CellError) as caught:
        run(CELLS, study, together=2)
    named = {problem.where for problem in caught.value.problems}
    lost = {str(cell) for cell in CELLS if not done(study, cell)}
    assert "cell test_resnet scratch bmode seed 0 fold 0" in lost <= named
    assert "want of memory" in str(caught.value)


def test_signal_ends_all_workers_and_no_further_cell_begins(study, tmp_path):
    """SIGTERM to the job's process, two cells under way, four to come; as a cluster does it before it kills."""
    cells = [Cell("test_resnet", "scratch", "bmode", seed, 0) for seed in range(6)]
    script = tmp_path / "job.py"
    script.write_text(
        "import pickle, sys, time\n"
        "from pathlib import Path\n"
        "from sonogrid import cli, jobs\nfrom sonogrid.fits import life\n"
        "study, cells, mark = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "def wait(recipe, *rest): mark.joinpath(str(recipe['random_seed'])).touch(); time.sleep(120)\n"
        "life.fit_recipe = wait\n"
        "cli.stages.schema = lambda _: jobs.train_cells(cells, study, study.results, 1, 2)\n"
        "cli.stages.schema.__name__ = 'schema'\n"
        "sys.exit(cli.main(['schema']))\n",
        encoding="utf-8",
    )
    mark = tmp_path / "marks"
    mark.mkdir()
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((study, cells, mark)))
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


def test_kept_cell_survives_the_failure_of_another(study, monkeypatch):
    """The workflow removes all outputs of a failed job, those of a cell too that was done by an earlier one."""
    run(CELLS[:1], study)
    before = done(study, CELLS[0])
    with monkeypatch.context() as patch:
        fail_in(patch, CELLS[1], crash)
        with pytest.raises(CellError):
            run(CELLS[:2], study)
    remove(study, CELLS[0])
    epochs = counted_epochs(monkeypatch)
    run(CELLS[:1], study)
    assert epochs == [] and done(study, CELLS[0]) == before


def test_workers_need_no_study_that_can_be_pickled(study):
    """A study that lets a stage read its own keys alone need not be of a class that pickle finds."""
    study.unpicklable = lambda: None
    run(CELLS[:2], study, together=2)
    assert all(done(study, cell) for cell in CELLS[:2])


def test_cell_with_a_missing_input_is_named_and_the_others_are_done(study, capfd):
    cells = [CELLS[0], Cell("test_resnet", "pretrained", "bmode", 0, 0)]
    with pytest.raises(CellError) as caught:
        run(cells, study)
    (problem,) = caught.value.problems
    assert problem.where == str(cells[1]) and "weights.safetensors: cannot be read" in str(problem)
    assert done(study, CELLS[0]) and not done(study, cells[1])
