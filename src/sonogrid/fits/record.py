"""What a finished fit leaves beside its weights: run.json, from which anyone can redo it, and history.csv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sonogrid.files import write_csv
from sonogrid.fits.recipe import Recipe, recipe_sha256, training_code
from sonogrid.provenance import circumstances
from sonogrid.training.fit import Fit


def run_record(recipe: Recipe, result: Fit, attempts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the content of run.json: enough for anyone to redo the fit and to see where it ran."""
    return {
        **recipe,
        "recipe_sha256": recipe_sha256(recipe),
        "code": training_code(),
        "attempts": attempts,
        "device": attempts[-1]["device"],
        "seconds": round(sum(attempt["seconds"] for attempt in attempts), 3),
        "epochs_run": len(result.history),
        "chosen_epoch": result.chosen_epoch,
        **more,
        **circumstances(),
    }


def device_name(device: torch.device) -> str:
    """Return what run.json calls a device: the GPU's name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def write_history(result: Fit, file: Path) -> None:
    """Write one row per epoch."""
    write_csv(pd.DataFrame(result.history), file)


def read_history(file: Path) -> list[dict[str, float]]:
    """Return what write_history wrote, every digit of it; epochs are whole numbers."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [
            {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
            for row in csv.DictReader(rows)
        ]
