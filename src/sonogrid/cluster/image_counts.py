"""How many images a study has, before and after its pictures are read. Nothing is guessed: unknown numbers are None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd

from sonogrid.config.cohort import CohortConfig
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.readers import PhantomSource
from sonogrid.config.study import Study
from sonogrid.grid import cohort_seed
from sonogrid.layout import Layout


@dataclass(frozen=True)
class PartCounts:
    """Images in the parts of a fold; means over folds."""

    train: float
    inner: float
    test: float


@dataclass(frozen=True)
class ImageCounts:
    """Images of a cohort: by modality the parts of a fold; and where the numbers come from."""

    parts: Mapping[str, PartCounts]
    patients: int
    images: int
    source: str


def images_of_study(study: Study) -> ImageCounts | None:
    """Return the images of the grid's cells; None where neither a manifest nor a simulation has their number."""
    layout = Layout(study.results)
    counted = _counted(study.cohort, layout.cohort.manifest, cohort_seed(study.seed))
    if counted is None:
        return None
    table, source = counted
    folds, inner = study.splits.folds, study.splits.inner_fraction
    splits = layout.splits
    if splits.is_file():
        rows = table.merge(pd.read_csv(splits, dtype={"patient_id": str}), on="patient_id")
        counts = rows.groupby(["modality", "part"]).size() / folds
        parts: dict[str, PartCounts] = {
            modality: PartCounts(*(float(counts.get((modality, part), 0.0)) for part in ("train", "inner", "test")))
            for modality in study.grid.modalities
        }
        return ImageCounts(parts, table["patient_id"].nunique(), len(table), f"{source} and {splits}")
    totals = table["modality"].value_counts()
    parts = {
        modality: _shares(
            int(totals.get(modality, 0)) * (folds - 1) / folds, inner, int(totals.get(modality, 0)) / folds
        )
        for modality in study.grid.modalities
    }
    return ImageCounts(parts, table["patient_id"].nunique(), len(table), source)


def images_of_corpus(study: Study, init: str) -> ImageCounts | None:
    """Return the images of a pre-training corpus, all modalities together; None where nothing has their number."""
    corpus = study.corpora[init]
    file = Layout(study.results).corpus(init).manifest
    counted = _counted(corpus, file, cohort_seed(study.seed, init))
    if counted is None:
        return None
    table, source = counted
    used = table[table["modality"].isin(corpus.modalities)]
    parts = {"all": _shares(len(used), study.splits.inner_fraction, 0.0)}
    return ImageCounts(parts, used["patient_id"].nunique(), len(used), source)


def _shares(fitted: float, inner: float, test: float) -> PartCounts:
    return PartCounts(fitted * (1 - inner), fitted * inner, test)


def _counted(cohort: CohortConfig, manifest: Path, seed: int) -> tuple[pd.DataFrame, str] | None:
    """Return columns patient_id and modality, one row per image, and where they come from."""
    if manifest.is_file():
        columns = ["patient_id", "modality"]
        return pd.read_csv(manifest, usecols=columns, dtype=str, keep_default_na=False), str(manifest)
    if not cohort.simulated:
        return None
    # Imported here: only simulated studies pay for the simulator's start-up.
    from sonogrid.cohort.phantom.simulate import draw_patients

    wanted = tuple(modality for modality in MODALITIES if modality in cohort.modalities)
    patients = draw_patients(cast(PhantomSource, cohort.source), wanted, seed)
    rows = [
        (patient.patient_id, modality)
        for patient in patients
        for modality, count in patient.images.items()
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["patient_id", "modality"]), "the settings of the simulation"
