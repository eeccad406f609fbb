"""The files that a fit reads: each read once per process, and named with a remedy where it is missing or damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from sonogrid.files import digest, read_json, read_once, sha256
from sonogrid.images.store import open_store
from sonogrid.problems import InputError, Problem
from sonogrid.splits import draw_corpus_inner, load_splits
from sonogrid.stored import Store, stored_labels, stored_texts

Value = TypeVar("Value")
PATIENTS = "Read the cohort again (sonogrid cohort)"
SPLITS = "Make the splits again (sonogrid splits)"
STORE = "Remove the store and its index, and build them again (sonogrid images)"
CERTIFICATE = "Audit again (sonogrid audit)"
CORPUS_WEIGHTS = "Pre-train first (sonogrid pretrain)"
"""Remedies, by what is missing or damaged."""

_sha256, _labels_of, _read_json = read_once(sha256), read_once(stored_labels), read_once(read_json)
_load_splits, _open_store = read_once(load_splits), read_once(open_store)


def file_sha256(path: Path, remedy: str) -> str:
    """Return the SHA-256 of a file that a fit depends on. Raise InputError if it cannot be read."""
    return _readable(path, remedy, _sha256)


def accepted_findings(certificate: Path) -> str:
    """Return the SHA-256 over the findings of an audit that would stop a study and were accepted.

    This part of a certificate decides a fit; the whole of it also changes with other modalities and with notes, for
    which nothing need be trained again. Raise InputError for a file that is no certificate.
    """
    return _readable(certificate, CERTIFICATE, lambda path: str(_read_json(path)["accepted_sha256"]))


def read_labels(patients: Path, classes: Sequence[str]) -> pd.Series[str]:
    """Return the class name of every patient of a patients.csv, by patient_id.

    Raise InputError if it cannot be read, or has a class that is not one of `classes`.
    """
    labels = _readable(patients, PATIENTS, _labels_of)
    unknown = int((~labels.isin(classes)).sum())
    if unknown:
        # The text stays unsaid: in a row that lacks a cell it is what another column says of a patient.
        what = f"has patients of no class of the study, {unknown} in all; the classes are {', '.join(classes)}"
        raise InputError([Problem(str(patients), what, PATIENTS)])
    return labels


def read_splits(splits: Path) -> pd.DataFrame:
    """Return splits.csv, as splits.load_splits. Raise InputError."""
    return _readable(splits, SPLITS, _load_splits)


def read_store(npy: Path, csv: Path) -> Store:
    """Return the store of a modality, as images.store.open_store. Raise InputError."""
    return _readable(csv, STORE, lambda index: _open_store(npy, index))


def read_corpus_inner(patients: Path, inner_fraction: float, seed: int) -> frozenset[str]:
    """Return the patients of a corpus that choose the epoch. Raise InputError."""
    table = _readable(patients, PATIENTS, stored_texts)
    lacking = {"patient_id", "label", "hospital"} - set(table.columns)
    if lacking:
        raise InputError([Problem(str(patients), f"lacks the columns {', '.join(sorted(lacking))}", PATIENTS)])
    return draw_corpus_inner(table, inner_fraction, seed)


def patients_sha256(patients: frozenset[str]) -> str:
    """Return the SHA-256 over a set of patient ids."""
    return digest(patients=sorted(patients))


def _readable(path: Path, remedy: str, read: Callable[[Path], Value]) -> Value:
    try:
        return read(path)
    except OSError as error:
        raise InputError([Problem(str(path), f"cannot be read ({error.strerror})", remedy)]) from error
    except (ValueError, LookupError, TypeError) as error:
        raise InputError([Problem(str(path), f"is damaged ({type(error).__name__})", remedy)]) from error
