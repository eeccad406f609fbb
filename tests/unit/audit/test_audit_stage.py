"""An audit from the files of a study."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from sonogrid.audit.run import run_audit
from sonogrid.cohort.manifest import load, save_cohort
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas
from sonogrid.config.study import AuditRequest
from sonogrid.console import silent
from sonogrid.images.examine import read_cohort
from sonogrid.images.store import build

CLASSES = ("benign", "lymphoma", "metastatic")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with a simulated cohort of elastograms, decoded to stiffness."""
    results = tmp_path_factory.mktemp("study")
    config = CohortConfig.model_validate(
        {
            "classes": CLASSES,
            "modalities": ["elastography"],
            "reader": "phantom",
            "phantom": {"patients": 6, "missing": 0.0},
            "burned_in_text": "keep",
        }
    )
    save_cohort(read_cohort(config, 1, results / "cohort", 1, silent), results / "cohort")
    cohort = load(results / "cohort")
    patients = sorted(cohort.patients["patient_id"])
    parts = [(name, fold, "test" if k % 2 == fold else "train") for fold in (0, 1) for k, name in enumerate(patients)]
    pd.DataFrame(parts, columns=["patient_id", "fold", "part"]).to_csv(results / "splits.csv", index=False)
    images = results / "images"
    build(
        cohort.images, Canvas(size=128, channels="stiffness"), images / "elastography.npy", images / "elastography.csv"
    )
    return results


def test_decoded_channels_are_not_compared_as_colours(study: Path) -> None:
    request = AuditRequest(
        results=study, classes=CLASSES, modalities=("elastography",), patients_known=True, seed=1, accept=()
    )

    def near(request: AuditRequest) -> int:
        run_audit(request, 1, Console(file=io.StringIO()))
        found = pd.read_csv(study / "audit" / "findings.csv")
        return int(found["kind"].str.startswith("near_duplicate").sum())

    assert near(request.model_copy(update={"decoded": ("elastography",)})) == 0
    # The test can tell: read as colours, the colour boxes of different patients are alike.
    assert near(request) > 0
