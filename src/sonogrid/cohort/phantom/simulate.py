"""A simulated cohort: traits are drawn for each patient, pictures are drawn from the traits, and all of it says so."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as Pictures

from sonogrid.arrays import Box
from sonogrid.cohort.manifest import IMAGE_COLUMNS, typed
from sonogrid.cohort.phantom.exposure import EXPOSE, Subject
from sonogrid.cohort.phantom.scanner import SCANNERS, Picture, Scanner, dual_view, single_view
from sonogrid.cohort.phantom.scene import TraitValues, draw_anatomy
from sonogrid.cohort.phantom.traits import (
    NECK,
    ORGANS,
    POPULATION,
    Floats,
    Organ,
    draw_traits,
    macro_auc,
    population_auc,
    posterior,
)
from sonogrid.config.base import Modality
from sonogrid.config.cohort import CohortConfig, PhantomSource
from sonogrid.console import Advance, silent
from sonogrid.files import sha256, whole_file
from sonogrid.images.axes import axes_mm, patient_axes
from sonogrid.images.boxes import crop
from sonogrid.images.framing import Framing, frame_picture, framing_columns
from sonogrid.problems import Problems

MODALITIES: tuple[str, ...] = get_args(Modality)
HOSPITAL_SHARES = (0.40, 0.33, 0.27)
MOST_IMAGES = 3


def make_phantom(
    config: CohortConfig,
    seed: int,
    folder: Path,
    workers: int = 1,
    advance: Advance = silent,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, dict[str, float | int | None]]]:
    """Simulate a cohort: write pictures and masks below `folder`; return patients, manifest and ceiling.

    The tables are those of docs/files.md, with lengths in mm. A patient's pictures depend on the seed, the organ and
    the patient's place in the cohort, not on other patients, the number of workers or the modalities asked for.
    `advance` is called once a patient. Raises InputError when the organ has other classes, or a modality is unknown.
    """
    spec = cast(PhantomSource, config.source)
    organ = ORGANS[spec.organ]
    _check(organ, config.classes, config.modalities)
    wanted = tuple(modality for modality in MODALITIES if modality in config.modalities)
    patients = draw_patients(spec, wanted, seed)
    rows: list[dict[str, Any]] = []
    with _mapper(workers) as mapper:
        for made in mapper(partial(_make_pictures, organ, seed, folder, config), patients):
            rows.extend(made)
            advance()
    table = pd.DataFrame([_patient_row(organ, patient) for patient in patients])
    images = pd.DataFrame(rows).sort_values("image_id", ignore_index=True)
    table = table.merge(patient_axes(images), on="patient_id", how="left", validate="one_to_one")
    manifest = typed(images[list(IMAGE_COLUMNS)])
    return table, manifest, _ceiling(organ, patients, wanted, seed)


def quota_sequence(shares: tuple[float, ...], n: int) -> NDArray[np.int64]:
    """Indices 0..k-1 in an order that keeps every beginning as near to the shares as whole numbers allow."""
    counts = np.zeros(len(shares))
    sequence = np.zeros(n, dtype=np.int64)
    for i in range(n):
        sequence[i] = np.argmax((i + 1) * np.asarray(shares) - counts)
        counts[sequence[i]] += 1
    return sequence


@dataclass(frozen=True)
class Patient:
    """All that is drawn for a patient before any picture."""

    number: int
    patient_id: str
    y: int
    scanner: Scanner
    drawn: dict[str, Floats]
    size_mm: float
    images: dict[str, int]
    age: int
    sex: str
    site: str

    def values(self, organ: Organ) -> TraitValues:
        """The traits in their own units."""
        return {trait.name: trait.value(float(self.drawn[trait.name][0])) for trait in organ.traits}


_TRAITS, _NUISANCE, _ANATOMY, _PICTURE, _POPULATION = range(5)


def _stream(seed: int, organ: Organ, number: int, purpose: int, *more: int) -> np.random.Generator:
    """Independent random numbers for one purpose; a key of fixed length, so that no two keys can coincide."""
    key = (organ.number, number, purpose, *more, *(0,) * (2 - len(more)))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _check(organ: Organ, classes: tuple[str, ...], modalities: tuple[str, ...]) -> None:
    problems = Problems()
    if set(classes) != set(organ.classes):
        problems.add(
            "config key cohort.classes",
            f"{', '.join(classes)}: the simulated organ {organ.name!r} has other classes",
            f"Name exactly these, in any order: {', '.join(organ.classes)}",
        )
    for modality in modalities:
        if modality not in MODALITIES:
            problems.add(
                "config key cohort.modalities",
                f"{modality!r} is not simulated",
                f"Choose from: {', '.join(MODALITIES)}",
            )
    problems.raise_if_any()


def draw_patients(spec: PhantomSource, modalities: tuple[str, ...], seed: int) -> list[Patient]:
    """Draw the cohort's patients without their pictures; classes are as near to the organ's shares as can be."""
    organ = ORGANS[spec.organ]
    labels = quota_sequence(organ.shares, spec.patients)
    return [
        _draw_patient(organ, i + 1, int(y), scanner, spec.missing, modalities, seed)
        for i, (y, scanner) in enumerate(zip(labels, _scanners(labels), strict=True))
    ]


def _scanners(labels: NDArray[np.int64]) -> list[Scanner]:
    """The hospital of each patient: one quota sequence within each class, so that no hospital has its own case mix.

    Classes begin at different places of the sequence, so that even six patients come from three hospitals.
    """
    sequence = quota_sequence(HOSPITAL_SHARES, len(labels) + int(labels.max()))
    earlier = np.zeros_like(labels)
    for y in np.unique(labels):
        earlier[labels == y] = np.arange((labels == y).sum())
    return [SCANNERS[hospital] for hospital in sequence[earlier + labels]]


def _draw_patient(
    organ: Organ, number: int, y: int, scanner: Scanner, missing: float, wanted: tuple[str, ...], seed: int
) -> Patient:
    """Draw one patient; size, missing modalities, numbers of images, sex and site do not look at the class."""
    traits = draw_traits(organ.traits, _stream(seed, organ, number, _TRAITS), np.array([y]))
    rng = _stream(seed, organ, number, _NUISANCE)
    absent = dict(zip(MODALITIES, rng.random(len(MODALITIES)), strict=True))
    counts = dict(zip(MODALITIES, rng.integers(1, MOST_IMAGES + 1, len(MODALITIES)), strict=True))
    kept = [modality for modality in wanted if absent[modality] >= missing]
    kept = kept or [max(wanted, key=lambda modality: absent[modality])]
    return Patient(
        number=number,
        patient_id=f"{organ.prefix}{number:04d}",
        y=y,
        scanner=scanner,
        drawn=traits,
        size_mm=round(10.5 + 9.5 * rng.beta(2.0, 2.0), 1),
        images={modality: int(counts[modality]) for modality in kept},
        age=int(np.clip(round(rng.normal(organ.mean_age[y], 13.0)), 18, 90)),
        sex=str(rng.choice(("female", "male"))),
        site=str(rng.choice(organ.sites)),
    )


def _patient_row(organ: Organ, patient: Patient) -> dict[str, Any]:
    """The patient's line of patients.csv; lengths are those that the pictures show."""
    values = patient.values(organ)
    ratio = float(values["ratio"])
    row = {
        "patient_id": patient.patient_id,
        "label": organ.classes[patient.y],
        "hospital": patient.scanner.hospital,
        "simulated": True,
        "age": patient.age,
        "sex": patient.sex,
        "level" if organ is NECK else "lobe": patient.site,
        "long_axis_mm": patient.size_mm,
        "short_axis_mm": round(patient.size_mm * min(ratio, 1 / ratio), 1),
    }
    if organ is NECK:
        row |= {
            "shape": "oval" if ratio < 0.5 else "round",
            "margin": values["margin"],
            "hilum": values["hilum"],
        }
    else:
        row |= {
            "shape": "taller than wide" if ratio > 1 else "wider than tall",
            "margin": values["margin"],
            "composition": "cystic" if values["necrosis"] == "present" else "solid",
        }
    return row | {
        "cdfi_pattern": values["flow"],
        "elasticity_score": elasticity_score(float(values["stiffness"])),
    }


def elasticity_score(stiffness: float) -> int:
    """Score 1 (soft) to 5 (hard): the fifth of the elastogram's scale into which the lesion's stiffness falls."""
    return int(np.clip(np.floor(5 * stiffness), 0, 4)) + 1


def _ceiling(
    organ: Organ, patients: list[Patient], modalities: tuple[str, ...], seed: int
) -> dict[str, dict[str, float | int | None]]:
    """The best reachable macro one-vs-one AUC of each modality; null where this cohort lacks a class."""
    ceiling: dict[str, dict[str, float | int | None]] = {}
    for modality in modalities:
        traits, classes = organ.shown(modality), len(organ.classes)
        seen = [patient for patient in patients if modality in patient.images]
        cohort = float("nan")
        if seen:
            drawn = {trait.name: np.concatenate([p.drawn[trait.name] for p in seen]) for trait in traits}
            cohort = macro_auc(np.array([patient.y for patient in seen]), posterior(traits, drawn, classes))
        ceiling[modality] = {
            "population_auc": population_auc(
                traits, classes, POPULATION, _stream(seed, organ, 0, _POPULATION, MODALITIES.index(modality))
            ),
            "population_n": POPULATION,
            "cohort_auc": None if np.isnan(cohort) else cohort,
            "cohort_n": len(seen),
        }
    return ceiling


Mapper = Callable[[Callable[[Patient], list[dict[str, Any]]], list[Patient]], Iterator[list[dict[str, Any]]]]


@contextmanager
def _mapper(workers: int) -> Iterator[Mapper]:
    """`map` in this process, or over processes that are started afresh and so inherit no threads or locks."""
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _make_pictures(
    organ: Organ, seed: int, folder: Path, config: CohortConfig, patient: Patient
) -> list[dict[str, Any]]:
    """Draw and write all pictures and masks of one patient; their lines of the manifest."""
    anatomy = draw_anatomy(organ.name, _stream(seed, organ, patient.number, _ANATOMY))
    subject = Subject(patient.values(organ), patient.size_mm, anatomy, patient.scanner)
    rows = []
    for modality, count in patient.images.items():
        for n in range(1, count + 1):
            rng = _stream(seed, organ, patient.number, _PICTURE, MODALITIES.index(modality), n)
            picture, mask, scan = EXPOSE[modality](subject, rng)
            framing = frame_picture(picture, modality, patient.scanner.device, Box(*scan), config)
            image_id = f"{patient.patient_id}-{modality}-{n}"
            rows.append(_write(image_id, modality, patient, picture, mask, framing, folder))
    return rows


def _write(
    image_id: str, modality: str, patient: Patient, picture: Picture, mask: Picture, framing: Framing, folder: Path
) -> dict[str, Any]:
    """Write one picture and its mask; its line of the manifest."""
    path = folder / "pictures" / modality / f"{image_id}.png"
    mask_path = folder / "masks" / modality / f"{image_id}.png"
    for array, target in ((picture, path), (mask, mask_path)):
        with whole_file(target) as temporary:
            Pictures.fromarray(array).save(temporary, compress_level=1)
    view = dual_view(patient.scanner) if modality == "elastography" else single_view(patient.scanner)
    long_mm, short_mm = axes_mm(crop(mask, framing.scan) > 0, view.mm_per_pixel, view.mm_per_pixel)
    return {
        "image_id": image_id,
        "patient_id": patient.patient_id,
        "modality": modality,
        "path": str(path),
        "frame": None,
        "sha256": sha256(path),
        "width": picture.shape[1],
        "height": picture.shape[0],
        "mask_path": str(mask_path),
        **framing_columns(framing),
        "mm_per_pixel_x": view.mm_per_pixel,
        "mm_per_pixel_y": view.mm_per_pixel,
        "device": patient.scanner.device,
        "simulated": True,
        "long_axis_mm": long_mm,
        "short_axis_mm": short_mm,
    }
