"""What exhibits are made from: a file that is missing is named with the stage that makes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from dummy_study import DEMO, make_study

from sonogrid.problems import InputError
from sonogrid.reporting.gathered import Gathered


@pytest.mark.parametrize(
    ("attribute", "file", "stage"),
    [
        ("metrics", "metrics.csv", "evaluate"),
        ("effects", "effects.csv", "evaluate"),
        ("predictions", "predictions.csv", "evaluate"),
        ("scored", "predictions.csv", "evaluate"),
        ("patients", "cohort/patients.csv", "cohort"),
        ("simulated", "cohort/patients.csv", "cohort"),
        ("manifest", "cohort/manifest.csv", "cohort"),
        ("ceiling", "cohort/ceiling.json", "cohort"),
    ],
)
def test_a_missing_file_is_named_with_the_stage_that_makes_it(
    attribute: str, file: str, stage: str, tmp_path: Path
) -> None:
    gathered = Gathered(make_study(DEMO, tmp_path))
    told = rf"{re.escape(str(tmp_path / file))}: there is no such file\. .* \(sonogrid {stage}\)\."
    with pytest.raises(InputError, match=told):
        getattr(gathered, attribute)
