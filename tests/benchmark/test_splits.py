"""Time to divide patients into folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pytest_benchmark.fixture import BenchmarkFixture

from sonogrid.config.splits import Splits
from sonogrid.perf.measuring import measure_speed
from sonogrid.splits import make_splits

PATIENTS, FOLDS = 586, 5
"""Of the study that this project makes again."""


def test_splits(benchmark: BenchmarkFixture) -> None:
    """Five folds with inner parts of 586 patients of three classes and hospitals, verified."""
    number = np.arange(PATIENTS)
    patients = pd.DataFrame(
        {
            "patient_id": [f"P{one:04d}" for one in number],
            "label": np.array(["benign", "lymphoma", "metastatic"])[number % 3],
            "hospital": np.array(["A", "B", "C"])[number // 3 % 3],
        }
    )
    images = patients.assign(image_id=patients["patient_id"], modality="bmode")

    def check(table: pd.DataFrame) -> None:
        tested = table[table["part"] == "test"]
        assert sorted(tested["patient_id"]) == sorted(patients["patient_id"])
        assert tested["fold"].value_counts().between(117, 118).all()

    splits = Splits(folds=FOLDS)
    measure_speed(
        benchmark,
        lambda: make_splits(patients, images, splits, seed=1),
        check=check,
        unit="patient",
        count=PATIENTS,
        inputs=[patients, splits.model_dump(mode="json")],
    )
