"""The recipe of a fit: everything that decides it. Equal recipe, code and versions: equal result.

What a recipe holds of a file is a hash, under a name and not under a path, so results may be moved to another folder.
Nothing here imports torch: a stage that only compares recipes starts quickly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sonogrid.config.augment_contract import strength
from sonogrid.config.study import Study
from sonogrid.config.training import Augment, Training
from sonogrid.files import digest, read_json
from sonogrid.fits.inputs import (
    CORPUS_WEIGHTS,
    PATIENTS,
    SPLITS,
    STORE,
    accepted_findings,
    file_sha256,
    patients_sha256,
    read_corpus_inner,
)
from sonogrid.grid import Cell, derive_seed, named, seed_identity
from sonogrid.layout import RUN, Layout, first_weights
from sonogrid.problems import InputError, Problem
from sonogrid.provenance import FOLDER, code_digest, package_versions

Recipe = dict[str, Any]
"""Everything that decides a fit besides code and versions, as in run.json."""

DIGESTED = ("training/**/[!.]*.py", "stored.py")
"""Code that decides a fit, below src/sonogrid/: how it is made, and how its files are read."""
CARRIED_BY = {"sonogrid.config.training.Training": "training"}
"""What the digested code imports from other rooms -> the key of a recipe that carries its effect.

`training`: the values of the section are in the recipe; strengths of transforms as they are used, legality resolved.
What is not in this list may not be imported there: it moves into the digested code, or comes as an argument from fits/,
and then a key of the recipe has to carry it.
"""
DECIDING_PACKAGES = ("torch", "timm", "numpy")
"""Packages whose version decides the numbers of a fit; versions are hashed with the recipe."""
OTHER_PACKAGES = {
    "pandas": "reads tables, selects rows and joins labels; it computes nothing",
    "safetensors": "reads tensors as they were stored",
}
"""Packages that the digested code imports and whose version decides nothing -> why."""


def settings_of(training: Training, modalities: Iterable[str]) -> dict[str, Any]:
    """Return the section `training` as a fit on images of `modalities` uses it; it is a valid section too."""
    strengths = effective_strengths(training.augment, modalities)
    return training.model_dump(mode="json") | {"augment": strengths}


def effective_strengths(augment: Augment, modalities: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return how strong each random transform is: transform -> modality -> strength, 0 where it is illegal."""
    shown: list[Any] = list(modalities)
    return {
        transform: {modality: strength(transform, getattr(augment, transform), modality) for modality in shown}
        for transform in Augment.model_fields
    }


def input_size_of(study: Study, backbone: str) -> int:
    """Return the side in pixels at which a backbone sees the canvas."""
    return study.images.input_size.get(backbone, study.images.size)


def cell_recipe(cell: Cell, study: Study, threads: int) -> Recipe:
    """Return the recipe of a cell. Raise InputError if a file that it depends on is missing or damaged."""
    cohort, source = Layout(study.results).cohort, study.inits[cell.init].source
    inputs = {
        "patients": file_sha256(cohort.patients, PATIENTS),
        "splits": file_sha256(Layout(study.results).splits, SPLITS),
        f"images of {cell.modality}": file_sha256(cohort.index(cell.modality), STORE),
    }
    weights = first_weights(study, cell.init, cell.backbone, cell.seed)
    if weights is not None:
        correct = f"Correct config key inits.{cell.init}.files.{cell.backbone}"
        inputs["first weights"] = file_sha256(weights, CORPUS_WEIGHTS if source == "corpus" else correct)
    return _recipe(
        dict(named(cell)) | {"init_source": source},
        study.cohort.classes,
        input_size_of(study, cell.backbone),
        settings_of(study.training, [cell.modality]),
        study.seed,
        cell.random_seed(study.seed),
        threads,
        cohort.certificate,
        inputs,
    )


def pretraining_recipe(init: str, backbone: str, seed: int, study: Study, threads: int) -> Recipe:
    """Return the recipe of a pre-training. Raise InputError if a file that it depends on is missing or damaged."""
    cohort, training = Layout(study.results).corpus(init), pretraining_settings(init, study)
    modalities, classes = corpus_of(init, study)
    inputs = {"patients": file_sha256(cohort.patients, PATIENTS)}
    inputs |= {f"images of {modality}": file_sha256(cohort.index(modality), STORE) for modality in modalities}
    identity = {"backbone": backbone, "init": init, "seed": seed, "init_source": "random"}
    identity |= {"modalities": list(modalities), "inner_part": patients_sha256(corpus_inner(init, study))}
    return _recipe(
        identity,
        classes,
        input_size_of(study, backbone),
        settings_of(training, modalities),
        study.seed,
        derive_seed(study.seed, "pretrain", init, backbone, *seed_identity(seed)),
        threads,
        cohort.certificate,
        inputs,
    )


def corpus_inner(init: str, study: Study) -> frozenset[str]:
    """Return the patients of a corpus that choose the epoch: the same for every backbone and seed."""
    patients = Layout(study.results).corpus(init).patients
    return read_corpus_inner(patients, study.splits.inner_fraction, derive_seed(study.seed, "pretrain", init))


def corpus_of(init: str, study: Study) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the modalities and classes of the corpus of an init. Raise InputError if it has none."""
    corpus = study.inits[init].corpus
    if corpus is None:
        raise _lacks(init, "corpus")
    return corpus.modalities, corpus.classes


def pretraining_settings(init: str, study: Study) -> Training:
    """Return how an init is pre-trained. Raise InputError if the config does not say."""
    training = study.inits[init].training
    if training is None:
        raise _lacks(init, "training")
    return training


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe, the code that decides a fit and the versions that decide numbers."""
    versions = package_versions()
    return digest(**recipe, code=training_code(), versions={name: versions[name] for name in DECIDING_PACKAGES})


@functools.cache
def training_code() -> str:
    """Return the SHA-256 of the code that decides a fit; see provenance.code_digest."""
    return code_digest(training_files())


def training_files() -> list[Path]:
    """Return the files of the code that decides a fit (DIGESTED)."""
    return [file for pattern in DIGESTED for file in FOLDER.glob(pattern)]


def is_done(folder: Path, names: Sequence[str], recipe: Recipe) -> bool:
    """Return whether the folder holds every file of a finished fit of exactly this recipe."""
    if not all((folder / name).is_file() for name in names):
        return False
    try:
        return bool(read_json(folder / RUN).get("recipe_sha256") == recipe_sha256(recipe))
    except (ValueError, AttributeError):
        return False


def _recipe(
    identity: Mapping[str, Any],
    classes: Sequence[str],
    input_size: int,
    training: Mapping[str, Any],
    study_seed: int,
    random_seed: int,
    threads: int,
    certificate: Path,
    inputs: Mapping[str, str],
) -> Recipe:
    return {
        **identity,
        "classes": list(classes),
        "input_size": input_size,
        "training": dict(training),
        "study_seed": study_seed,
        "random_seed": random_seed,
        "threads": threads,
        "accepted_findings": accepted_findings(certificate),
        "inputs": dict(inputs),
    }


def _lacks(init: str, key: str) -> InputError:
    what = "is missing, and the init is pre-trained on a corpus"
    return InputError([Problem(f"config key inits.{init}.{key}", what, "Add it, or choose another init")])
