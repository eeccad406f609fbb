"""A run: one fit with everything that decides it (its recipe) and everything that it leaves behind."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sonogrid.config.training import Training
from sonogrid.files import read_json, read_once, sha256, write_csv, write_json
from sonogrid.problems import InputError, Problem
from sonogrid.provenance import circumstances, fit_code, package_versions
from sonogrid.training.fit import Fit

DECIDING = ("torch", "timm", "numpy")
"""Packages whose version decides the numbers of a fit."""


def recipe_of(
    identity: dict[str, Any],
    classes: Sequence[str],
    input_size: int,
    training: Training,
    study_seed: int,
    seed: int,
    threads: int,
    inputs: Sequence[Path],
) -> dict[str, Any]:
    """What decides a fit, as it stands in run.json: identity, settings, seeds, and the SHA-256 of each input."""
    return identity | {
        "classes": list(classes),
        "input_size": input_size,
        "training": training.model_dump(mode="json"),
        "study_seed": study_seed,
        "seed": seed,
        "threads": threads,
        "inputs": {str(path): _sha256(path) for path in inputs},
    }


_sha256 = read_once(sha256)


@read_once
def accepted_findings(certificate: Path) -> str:
    """SHA-256 over the findings of an audit that would stop a study and were accepted.

    This part of a certificate decides a fit; the whole of it also changes with other modalities and with notes, for
    which nothing need be trained again. Raises InputError for a file that is no certificate.
    """
    try:
        return str(read_json(certificate)["accepted_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "is no certificate of an audit"
        raise InputError([Problem(str(certificate), what, "Make it again: snakemake --forcerun audit")]) from error


def recipe_sha256(recipe: dict[str, Any]) -> str:
    """SHA-256 of a recipe, the code that fits and the versions that decide numbers: equal hash, equal result."""
    versions = package_versions()
    whole = recipe | {"code": fit_code(), "versions": {name: versions[name] for name in DECIDING}}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_done(folder: Path, names: Sequence[str], recipe: dict[str, Any]) -> bool:
    """Whether the folder holds every file of a finished run of exactly this recipe."""
    if not all((folder / name).is_file() for name in names):
        return False
    try:
        return bool(read_json(folder / "run.json").get("recipe_sha256") == recipe_sha256(recipe))
    except (ValueError, AttributeError):
        return False


def run_record(recipe: dict[str, Any], result: Fit, attempts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The content of run.json: enough for anyone to redo the run and to see where it ran."""
    return {
        **recipe,
        "recipe_sha256": recipe_sha256(recipe),
        "attempts": attempts,
        "device": attempts[-1]["device"],
        "seconds": round(sum(attempt["seconds"] for attempt in attempts), 3),
        "epochs_run": len(result.history),
        "chosen_epoch": result.chosen_epoch,
        **more,
        **circumstances(),
    }


def write_history(result: Fit, file: Path) -> None:
    """Write one row an epoch."""
    write_csv(pd.DataFrame(result.history), file)


def read_history(file: Path) -> list[dict[str, float]]:
    """What write_history wrote, every digit of it; epochs are whole numbers."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [
            {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
            for row in csv.DictReader(rows)
        ]


def write_record(record: dict[str, Any], file: Path) -> None:
    """Write run.json."""
    write_json(record, file)
