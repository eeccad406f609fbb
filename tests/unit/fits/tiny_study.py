"""A study of noise, small enough to be fitted in a test: its config as far as fits may read it, and its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from sonogrid.config.training import Training
from sonogrid.files import write_csv, write_text
from sonogrid.grid import Cell
from sonogrid.images.store import INDEX_COLUMNS
from sonogrid.layout import CohortLayout, Layout

CLASSES = ("benign", "malignant")
TRAINING = Training(epochs=2, patience=2, batch_size=4, learning_rate=1e-3)
CELLS = [Cell("test_resnet", init, "bmode", 0, fold) for init in ("scratch", "again") for fold in (0, 1)]
SIZE = 32


def tiny_study(results: Path, **changes: Any) -> SimpleNamespace:
    """Return the keys of the config that a fit may read, and no other: reading another is an AttributeError."""
    random = SimpleNamespace(source="random", files={})
    corpus = SimpleNamespace(classes=CLASSES, modalities=("bmode", "cdfi"))
    keys = {
        "results": results,
        "seed": 1,
        "cohort": SimpleNamespace(classes=CLASSES),
        "images": SimpleNamespace(size=SIZE, input_size={}),
        "training": TRAINING,
        "splits": SimpleNamespace(inner_fraction=0.25),
        "inits": {
            "scratch": random,
            "again": random,
            "pretrained": SimpleNamespace(source="corpus", files={}, corpus=corpus, training=TRAINING),
        },
    }
    return SimpleNamespace(**(keys | changes))


def write_inputs(results: Path) -> None:
    """Write what fits read: sixteen patients with an image of noise each in two folds, and a corpus like it."""
    layout = Layout(results)
    patients = pd.DataFrame({"patient_id": [f"p{n:02d}" for n in range(16)]})
    patients = patients.assign(label=[CLASSES[n % 2] for n in range(16)], hospital="north")
    parts = [
        (patient, fold, "test" if n // 2 % 2 == fold else "inner" if n >= 12 else "train")
        for fold in (0, 1)
        for n, patient in enumerate(patients["patient_id"])
    ]
    write_csv(pd.DataFrame(parts, columns=["patient_id", "fold", "part"]), layout.splits)
    for number, cohort in enumerate((layout.cohort, layout.corpus("pretrained"))):
        write_csv(patients, cohort.patients)
        write_text('{"accepted_sha256": "0"}', cohort.certificate)
        for modality in ("bmode", "cdfi"):
            write_store(cohort, modality, patients["patient_id"].tolist(), seed=number)


def write_store(cohort: CohortLayout, modality: str, patients: list[str], seed: int) -> None:
    """Write a store of noise with one image per patient."""
    npy, count = cohort.store(modality), len(patients)
    npy.parent.mkdir(parents=True, exist_ok=True)
    canvases = np.random.default_rng(seed).integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8)
    np.save(npy, canvases)
    hashes = [hashlib.sha256(canvas).hexdigest() for canvas in canvases]
    place = (0, 0, SIZE, SIZE, 1.0, 1.0, 0, 0)
    index = [(n, f"i{n}", patient, "0" * 64, hashes[n], *place) for n, patient in enumerate(patients)]
    write_csv(pd.DataFrame(index, columns=list(INDEX_COLUMNS)), cohort.index(modality))


def contents(results: Path, cell: Cell) -> dict[str, bytes]:
    """Return the bytes of predictions and weights of a cell; nothing where it has no folder."""
    layout = Layout(results)
    files = (layout.cell_predictions(cell), layout.model(cell))
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def same_weights(one: Path, other: Path) -> bool:
    """Return whether two files of weights hold equal tensors."""
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(bool((left[name] == right[name]).all()) for name in left)
