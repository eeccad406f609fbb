"""The pre-training of one backbone on the corpus of an init, from random weights."""

from __future__ import annotations

from pathlib import Path

from sonogrid.config.study import Study
from sonogrid.fits.inputs import read_labels, read_store
from sonogrid.fits.life import FitSpec, run_fit
from sonogrid.fits.recipe import Recipe, corpus_inner, pretraining_recipe
from sonogrid.layout import PRETRAINED_FILES, Layout
from sonogrid.training.examples import FitParts, corpus_parts


def pretrain(init: str, backbone: str, seed: int, study: Study, checkpoints: Path, threads: int) -> None:
    """Pre-train a backbone unless it is done with the same recipe; then remove its checkpoint.

    Raise InputError for inputs that cannot be used, and what torch raises.
    """
    spec = pretraining_spec(init, backbone, seed, study, checkpoints, threads)
    run_fit(spec)
    spec.checkpoint.unlink(missing_ok=True)


def pretraining_spec(init: str, backbone: str, seed: int, study: Study, checkpoints: Path, threads: int) -> FitSpec:
    """Return the fit of a pre-training. Raise InputError for a file that is missing or damaged."""
    layout = Layout(study.results)
    folder, recipe = layout.pretrained(init, backbone, seed), pretraining_recipe(init, backbone, seed, study, threads)
    return FitSpec(
        name=f"pretrain {init} {backbone} seed {seed}",
        recipe=recipe,
        training_key=f"inits.{init}.training",
        first_weights=None,
        parts=lambda: _parts(recipe, study),
        certificate=layout.corpus(init).certificate,
        folder=folder,
        files=PRETRAINED_FILES,
        checkpoint=layout.checkpoint(folder, checkpoints),
        noted={"inner_fraction": study.splits.inner_fraction},
    )


def _parts(recipe: Recipe, study: Study) -> FitParts:
    """Read a corpus, all its modalities together. Raise InputError."""
    init = recipe["init"]
    corpus = Layout(study.results).corpus(init)
    labels = read_labels(corpus.patients, recipe["classes"])
    stores = {name: read_store(corpus.store(name), corpus.index(name)) for name in recipe["modalities"]}
    return corpus_parts(recipe, stores, labels, corpus_inner(init, study))
