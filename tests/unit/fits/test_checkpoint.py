"""A fit that was cut short and continued ends bit-identical to one that was not."""

import errno
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from unit.training.test_fit import CPU, bright_or_dark

from sonogrid.config.training import Training
from sonogrid.files import read_once, remove_leftovers
from sonogrid.fits.checkpoint import LARGEST_SHARE, Checkpoint
from sonogrid.fits.recipe import effective_strengths
from sonogrid.provenance import whereabouts
from sonogrid.training.backbones import build_model, seeded
from sonogrid.training.fit import fit

RECIPE = Training(epochs=5, patience=5, batch_size=8, learning_rate=2e-3, warmup_epochs=1)
SEED = 3
HERE = whereabouts("cpu")
STRENGTHS = effective_strengths(RECIPE.augment, ["bmode"])


class CutShortError(Exception):
    """Stands for a time limit, a preemption or a lost node."""


def fitted(file, backbone="test_resnet", recipe=RECIPE, end_after=None, identity="a", **options):
    """One attempt: from the checkpoint if there is one, and cut short after the epoch `end_after`."""
    checkpoint = Checkpoint(file, {"identity": identity}, HERE)

    def keep(state):
        checkpoint.keep(state)
        if len(state["fit"]["history"]) == end_after and "done" not in state:
            raise CutShortError

    with seeded(SEED):
        model = build_model(backbone, 2, 32, **options)
        start = checkpoint.load()
        parts = bright_or_dark(), bright_or_dark(8, 1)
        result = fit(model, *parts, recipe, STRENGTHS, SEED, CPU, start, keep)
    return model.state_dict(), result, checkpoint.attempts(len(result.history))


def losses(result):
    return [(row["epoch"], row["train_loss"], row["inner_loss"]) for row in result.history]


@pytest.mark.parametrize("ends", [[1], [3], [5], [1, 2, 4]])
@pytest.mark.parametrize(
    ("backbone", "options"),
    # Drop-out and drop-path draw from torch's own random state, batch normalisation keeps running means.
    [("test_resnet", {"drop_rate": 0.3, "drop_path_rate": 0.2}), ("test_vit", {"proj_drop_rate": 0.3, "img_size": 32})],
)
def test_continued_fit_is_bit_identical(tmp_path, monkeypatch, backbone, options, ends):
    monkeypatch.setattr("sonogrid.fits.checkpoint.LARGEST_SHARE", 1e9)
    undisturbed, whole, _ = fitted(tmp_path / "whole.pt", backbone, **options)
    for end in ends:
        with pytest.raises(CutShortError):
            fitted(tmp_path / "cut.pt", backbone, end_after=end, **options)
        # What else a process does in between must not matter.
        torch.rand(7)
    weights, result, attempts = fitted(tmp_path / "cut.pt", backbone, **options)
    assert losses(result) == losses(whole)
    assert (result.chosen_epoch, result.best_loss) == (whole.chosen_epoch, whole.best_loss)
    assert weights.keys() == undisturbed.keys()
    for name, tensor in weights.items():
        assert torch.equal(tensor, undisturbed[name]), name
    epochs = [n for one in attempts for n in range(one["first_epoch"], one["last_epoch"] + 1)]
    assert epochs == [row["epoch"] for row in whole.history]
    assert len(attempts) == len(ends) + (ends[-1] < len(whole.history))


def test_a_finished_fit_runs_no_further_epoch(tmp_path):
    weights, whole, attempts = fitted(tmp_path / "a.pt")
    again, result, same = fitted(tmp_path / "a.pt")
    assert losses(result) == losses(whole)
    assert [one["last_epoch"] for one in same] == [one["last_epoch"] for one in attempts]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_early_stopping_counts_the_epochs_before(tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 30, "patience": 2, "learning_rate": 0.2})
    _, whole, _ = fitted(tmp_path / "whole.pt", recipe=recipe)
    assert len(whole.history) < 30, "the recipe is to stop early"
    with pytest.raises(CutShortError):
        fitted(tmp_path / "cut.pt", recipe=recipe, end_after=len(whole.history) - 1)
    _, result, _ = fitted(tmp_path / "cut.pt", recipe=recipe)
    assert losses(result) == losses(whole)


def test_state_of_another_recipe_is_not_continued(tmp_path):
    with pytest.raises(CutShortError):
        fitted(tmp_path / "a.pt", end_after=3, identity="a")
    _, _, attempts = fitted(tmp_path / "a.pt", identity="b")
    assert [one["first_epoch"] for one in attempts] == [1]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"half"])
def test_damaged_checkpoint_is_told_and_not_used(tmp_path, capsys, content):
    with pytest.raises(CutShortError):
        fitted(tmp_path / "a.pt", end_after=3)
    whole = (tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    _, _, attempts = fitted(tmp_path / "a.pt")
    assert [one["first_epoch"] for one in attempts] == [1]
    assert "is damaged and not used" in capsys.readouterr().err


def test_checkpoint_that_would_run_code_is_not_loaded(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"recipe": Evil()}, tmp_path / "a.pt")
    assert Checkpoint(tmp_path / "a.pt", {}, HERE).load() is None
    assert not (tmp_path / "ran").exists()
    assert "is damaged and not used" in capsys.readouterr().err


def test_writing_takes_its_share_of_the_time_at_most(tmp_path, monkeypatch):
    """Epochs of 1 s and writes of 2 s by a pretended clock: at most one write in 40 s, and the end is always kept."""
    now, writes = [0.0], []
    monkeypatch.setattr("sonogrid.fits.checkpoint.time.perf_counter", lambda: now[0])

    def slow_save(value, file):
        writes.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr("sonogrid.fits.checkpoint.torch.save", slow_save)
    checkpoint = Checkpoint(tmp_path / "a.pt", {}, HERE)
    for epoch in range(1, 101):
        now[0] += 1.0
        checkpoint.keep({"fit": {"history": [{}] * epoch}})
    checkpoint.keep({"fit": {"history": [{}] * 100}, "done": True})
    assert writes[0] == 1.0 and writes[-1] == now[0] - 2.0
    pauses = [after - before - 2.0 for before, after in pairwise(writes[:-1])]
    assert pauses and min(pauses) * LARGEST_SHARE >= 2.0


def test_full_disk_does_not_end_the_fit(tmp_path, capsys, monkeypatch):
    def full(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    _, result, _ = fitted(tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []
    assert len(result.history) == RECIPE.epochs
    assert "the fit goes on, but could not be continued" in capsys.readouterr().err


def test_a_file_is_read_again_only_if_it_changed(tmp_path):
    file, reads = tmp_path / "a.json", []

    def read(path):
        reads.append(path)
        return json.loads(path.read_text())

    look = read_once(read)
    file.write_text("1")
    assert (look(file), look(file)) == (1, 1) and len(reads) == 1
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert look(file) == 2 and len(reads) == 2


def test_leftovers_go_when_nobody_can_be_writing_them(tmp_path):
    old, new, whole = tmp_path / ".run.x.json", tmp_path / ".run.y.json", tmp_path / "run.json"
    for file in (old, new, whole):
        file.touch()
    for file in (old, whole):
        os.utime(file, (1, 1))
    remove_leftovers(tmp_path, tmp_path / "none")
    assert not old.exists() and new.exists() and whole.exists()
