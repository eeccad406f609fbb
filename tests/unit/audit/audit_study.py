"""Small simulated cohorts for tests of the audit: pictures of noise that look like nothing but themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from sonogrid.arrays import Picture
from sonogrid.audit.album import Album, Corpus, make_album
from sonogrid.cohort.manifest import Cohort
from sonogrid.stored import Store

SIZE = 96


def scene(seed: int, size: int = SIZE) -> Picture:
    """Noise with structure from 3 to 12 pixels: another one for every seed."""
    return _shown(_noise(seed, size))


def mixture(seed: int, other: int, correlation: float) -> Picture:
    """A scene as noisy as `scene(seed)`, whose noise has this correlation with its: the rest is that of another."""
    rest = float(np.sqrt(1 - correlation**2))
    return _shown(correlation * _noise(seed, SIZE) + rest * _noise(other, SIZE))


def _noise(seed: int, size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.sum([gaussian_filter(rng.standard_normal((size, size)), sigma) * sigma for sigma in (1.5, 3.0, 6.0)], 0)


def _shown(noise: np.ndarray[Any, np.dtype[np.float64]]) -> Picture:
    return np.repeat(np.clip(110 + 90 * noise, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@dataclass(frozen=True)
class Shot:
    """One picture of a cohort; files with the same `file` have the same bytes, '' stands for its own pixels."""

    image_id: str
    patient_id: str
    label: str
    picture: Picture
    modality: str = "bmode"
    file: str = ""
    device: str = ""
    mm_per_pixel: float = float("nan")
    width: int = 400
    height: int = 400


def cohort_of(shots: Sequence[Shot], hospitals: Mapping[str, str] | None = None, **more: Any) -> Cohort:
    """The cohort of some shots."""
    labels = {shot.patient_id: shot.label for shot in shots}
    patients = pd.DataFrame(
        {
            "patient_id": list(labels),
            "label": list(labels.values()),
            "hospital": [(hospitals or {}).get(patient, "unknown") for patient in labels],
            "simulated": True,
        }
    )
    columns = ("image_id", "patient_id", "modality", "device", "width", "height")
    images = pd.DataFrame([{name: getattr(shot, name) for name in columns} for shot in shots])
    return Cohort(
        patients,
        images.assign(
            sha256=[_sha(shot) for shot in shots],
            mm_per_pixel_x=[shot.mm_per_pixel for shot in shots],
            mm_per_pixel_y=[shot.mm_per_pixel for shot in shots],
        ),
        **more,
    )


def stores_of(shots: Sequence[Shot]) -> dict[str, Store]:
    """The stores of some shots by modality, without letterbox."""
    stores = {}
    for modality in sorted({shot.modality for shot in shots}):
        seen = [shot for shot in shots if shot.modality == modality]
        index = pd.DataFrame(
            [
                {
                    "row": row,
                    "image_id": shot.image_id,
                    "patient_id": shot.patient_id,
                    "sha256": _sha(shot),
                    "canvas_sha256": hashlib.sha256(shot.picture.tobytes()).hexdigest(),
                    **{"scan_x0": 0, "scan_y0": 0, "scan_x1": SIZE, "scan_y1": SIZE},
                    **{"scale_x": 1.0, "scale_y": 1.0, "left": 0, "top": 0},
                }
                for row, shot in enumerate(seen)
            ]
        )
        stores[modality] = Store(np.stack([shot.picture for shot in seen]), index)
    return stores


def album_of(shots: Sequence[Shot], decoded: Collection[str] = (), **corpora: Sequence[Shot]) -> Album:
    """The album of a cohort and of corpora; `decoded`: modalities whose channels are measurements."""
    others = {name: Corpus(cohort_of(their), stores_of(their)) for name, their in corpora.items()}
    return make_album(cohort_of(shots), stores_of(shots), others, decoded)


def splits_of(shots: Sequence[Shot], folds: int = 2) -> pd.DataFrame:
    """Patients in sorted order dealt to test folds; half of the others is the inner part, in turn."""
    patients = sorted({shot.patient_id for shot in shots})
    rows = []
    for fold in range(folds):
        others = [patient for place, patient in enumerate(patients) if place % folds != fold]
        parts = {patient: ("train", "inner")[place % 2] for place, patient in enumerate(others)}
        rows += [(patient, fold, parts.get(patient, "test")) for patient in patients]
    return pd.DataFrame(rows, columns=["patient_id", "fold", "part"])


def _sha(shot: Shot) -> str:
    return hashlib.sha256((shot.file or f"file of {shot.image_id}").encode()).hexdigest()
