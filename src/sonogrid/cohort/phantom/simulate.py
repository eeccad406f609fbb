"""A simulated cohort: traits are drawn for each patient, pictures are drawn from the traits, and all of it says so."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from sonogrid.cohort.phantom.exposure import Exposure, Subject, expose
from sonogrid.cohort.phantom.scanner import SCANNERS, Scanner
from sonogrid.cohort.phantom.scene import TraitValues, draw_anatomy
from sonogrid.cohort.phantom.traits import (
    NECK,
    ORGANS,
    POPULATION,
    Numbers,
    Organ,
    draw_traits,
    macro_auc,
    population_auc,
    posterior,
)
from sonogrid.cohort.sources import Reading, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.readers import PhantomSource
from sonogrid.console import Advance, silent
from sonogrid.files import whole_file
from sonogrid.layout import CohortLayout
from sonogrid.problems import Problems

HOSPITAL_SHARES = (0.40, 0.33, 0.27)
MOST_IMAGES = 3


def simulate(
    config: CohortConfig,
    seed: int,
    folder: Path,
    workers: int = 1,
    advance: Advance = silent,
) -> Reading:
    """Simulate a cohort: write pictures and masks below `folder`; return their sources and the ceiling.

    Lengths are in mm. A patient's pictures depend on the seed, the organ and the patient's place in the cohort, not on
    other patients, the number of workers or the modalities asked for. `advance` is called once a patient.
    Raises InputError when the organ has other classes, or a modality is unknown.
    """
    spec = cast(PhantomSource, config.source)
    organ = ORGANS[spec.organ]
    _check(organ, config.classes, config.modalities)
    wanted = tuple(modality for modality in MODALITIES if modality in config.modalities)
    patients = draw_patients(spec, wanted, seed)
    sources: list[Source] = []
    with _mapper(workers) as mapper:
        for made in mapper(partial(_make_pictures, organ, seed, folder), patients):
            sources.extend(made)
            advance()
    return Reading(sources, ceiling=_ceiling(organ, patients, wanted, seed))


def quota_sequence(shares: tuple[float, ...], n: int) -> NDArray[np.int64]:
    """Indices 0..k-1 in an order that keeps every beginning as near to the shares as whole numbers allow."""
    counts = np.zeros(len(shares))
    sequence = np.zeros(n, dtype=np.int64)
    for i in range(n):
        sequence[i] = np.argmax((i + 1) * np.asarray(shares) - counts)
        counts[sequence[i]] += 1
    return sequence


@dataclass(frozen=True)
class SimulatedPatient:
    """All that is drawn for a patient before any picture."""

    number: int
    patient_id: str
    y: int
    scanner: Scanner
    drawn: dict[str, Numbers]
    size_mm: float
    images: dict[str, int]
    age: int
    sex: str
    site: str

    def values(self, organ: Organ) -> TraitValues:
        """The traits in their own units."""
        return {trait.name: trait.value(float(self.drawn[trait.name][0])) for trait in organ.traits}


_TRAITS, _NUISANCE, _ANATOMY, _PICTURE, _POPULATION, _ADDED = range(6)


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


def draw_patients(spec: PhantomSource, modalities: tuple[str, ...], seed: int) -> list[SimulatedPatient]:
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
) -> SimulatedPatient:
    """Draw one patient; size, missing modalities, numbers of images, sex and site do not look at the class."""
    traits = draw_traits(organ.traits, _stream(seed, organ, number, _TRAITS), np.array([y]))
    rng = _stream(seed, organ, number, _NUISANCE)
    images = _numbers_of_images(organ, number, missing, wanted, seed, rng)
    return SimulatedPatient(
        number=number,
        patient_id=f"{organ.prefix}{number:04d}",
        y=y,
        scanner=scanner,
        drawn=traits,
        size_mm=round(10.5 + 9.5 * rng.beta(2.0, 2.0), 1),
        images=images,
        age=int(np.clip(round(rng.normal(organ.mean_age[y], 13.0)), 18, 90)),
        sex=str(rng.choice(("female", "male"))),
        site=str(rng.choice(organ.sites)),
    )


def _numbers_of_images(
    organ: Organ, number: int, missing: float, wanted: Sequence[str], seed: int, rng: np.random.Generator
) -> dict[str, int]:
    """How many images a patient has of each modality that is wanted and not missing; of at least one modality.

    Modalities with a number of their own share `rng`, whose length of draws must stay; an added one has a stream of its
    own, and takes the place of a missing one only where no other is wanted, so that it changes nobody's images.
    """
    numbered = [row.name for row in MODALITIES.values() if row.stream is not None]
    present = dict(zip(numbered, rng.random(len(numbered)), strict=True))
    counts = dict(zip(numbered, rng.integers(1, MOST_IMAGES + 1, len(numbered)), strict=True))
    for row in MODALITIES.values():
        if row.stream is None:
            own = _stream(seed, organ, number, _ADDED, row.stream_number)
            present[row.name], counts[row.name] = own.random(), own.integers(1, MOST_IMAGES + 1)
    lasting = [modality for modality in wanted if modality in numbered] or wanted
    kept = {modality for modality in wanted if present[modality] >= missing}
    if not kept & set(lasting):
        kept.add(max(lasting, key=lambda modality: present[modality]))
    return {modality: int(counts[modality]) for modality in wanted if modality in kept}


def _clinical(organ: Organ, patient: SimulatedPatient) -> dict[str, str]:
    """The patient's clinical columns; lengths are those that the pictures show."""
    values = patient.values(organ)
    ratio = float(values["ratio"])
    row: dict[str, object] = {
        "age": patient.age,
        "sex": patient.sex,
        "level" if organ.name == NECK.name else "lobe": patient.site,
        "long_axis_mm": patient.size_mm,
        "short_axis_mm": round(patient.size_mm * min(ratio, 1 / ratio), 1),
    }
    if organ.name == NECK.name:
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
    row |= {
        "cdfi_pattern": values["flow"],
        "elasticity_score": elasticity_score(float(values["stiffness"])),
    }
    return {name: str(value) for name, value in row.items()}


def elasticity_score(stiffness: float) -> int:
    """Score 1 (soft) to 5 (hard): the fifth of the elastogram's scale into which the lesion's stiffness falls."""
    return int(np.clip(np.floor(5 * stiffness), 0, 4)) + 1


def _ceiling(
    organ: Organ, patients: list[SimulatedPatient], modalities: tuple[str, ...], seed: int
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
                traits, classes, POPULATION, _stream(seed, organ, 0, _POPULATION, MODALITIES[modality].stream_number)
            ),
            "population_n": POPULATION,
            "cohort_auc": None if np.isnan(cohort) else cohort,
            "cohort_n": len(seen),
        }
    return ceiling


Mapper = Callable[[Callable[[SimulatedPatient], list[Source]], list[SimulatedPatient]], Iterator[list[Source]]]


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


def _make_pictures(organ: Organ, seed: int, folder: Path, patient: SimulatedPatient) -> list[Source]:
    """Draw and write all pictures and masks of one patient."""
    anatomy = draw_anatomy(organ.name, _stream(seed, organ, patient.number, _ANATOMY))
    subject = Subject(patient.values(organ), patient.size_mm, anatomy, patient.scanner)
    clinical = _clinical(organ, patient)
    sources = []
    for modality, count in patient.images.items():
        for n in range(1, count + 1):
            rng = _stream(seed, organ, patient.number, _PICTURE, MODALITIES[modality].stream_number, n)
            exposure = expose(modality, subject, rng)
            image_id = f"{patient.patient_id}-{modality}-{n}"
            path, mask = _write(image_id, modality, exposure, folder)
            sources.append(
                Source(
                    origin=str(path),
                    image_id=image_id,
                    patient_id=patient.patient_id,
                    label=organ.classes[patient.y],
                    modality=modality,
                    path=path,
                    masks=(mask,),
                    hospital=patient.scanner.hospital,
                    device=patient.scanner.device,
                    clinical=clinical,
                    scan=exposure.scan,
                    mm_per_pixel=(exposure.mm_per_pixel, exposure.mm_per_pixel),
                    simulated=True,
                )
            )
    return sources


def _write(image_id: str, modality: str, exposure: Exposure, folder: Path) -> tuple[Path, Path]:
    """Write one picture and its mask; return their paths."""
    places = CohortLayout(folder, folder)
    path, mask_path = (made / modality / f"{image_id}.png" for made in (places.pictures, places.masks))
    for array, target in ((exposure.picture, path), (exposure.mask, mask_path)):
        with whole_file(target) as temporary:
            Pictures.fromarray(array).save(temporary, compress_level=1)
    return path, mask_path
