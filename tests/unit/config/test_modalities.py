"""A modality is one row of one table: what rows must keep, and a modality that is added through that table alone."""

from __future__ import annotations

from typing import Any

import pytest
from package_copy import PackageCopy

from sonogrid.cohort.phantom.exposure import DRAWINGS
from sonogrid.config.augment_contract import INPUTS, RECOLOURING, RULINGS, TRANSFORMS, ruling
from sonogrid.config.images import Images
from sonogrid.config.modalities import MODALITIES, ModalityRow, title
from sonogrid.images.colour import CHANNELS

CEUS = """
import json, sys
from pathlib import Path
from sonogrid.cohort.manifest import load, save_cohort
from sonogrid.cohort.phantom.simulate import draw_patients
from sonogrid.config.augment_contract import INPUTS, TRANSFORMS, ruling, strength
from sonogrid.config.base import Modality
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas, Images
from sonogrid.config.modalities import MODALITIES, title
from sonogrid.config.readers import PhantomSource
from sonogrid.config.study import json_schema
from sonogrid.images.examine import read_cohort
from sonogrid.images.store import build, open_store

def cohort(out, modalities, patients=12):
    phantom = {"patients": patients, "missing": 0.2}
    named = {"classes": ["benign", "lymphoma", "metastatic"], "modalities": modalities, "reader": "phantom"}
    config = CohortConfig.model_validate(named | {"phantom": phantom})
    save_cohort(read_cohort(config, 5, Path(out)), Path(out))
    found = load(Path(out))
    return found, dict(zip(found.images["image_id"], found.images["sha256"], strict=True))

known = ["bmode", "cdfi", "elastography"]

def numbers(modalities):
    # So much is missing that many patients are left with one image in place of none.
    patients = draw_patients(PhantomSource(patients=300, missing=0.8), modalities, 5)
    return [{name: count for name, count in one.images.items() if name != "ceus"} for one in patients]

_, without = cohort("without", known)
found, with_ceus = cohort("with", [*known, "ceus"])
rows = found.images[found.images["modality"] == "ceus"]
canvas = Images().canvas("ceus", {})
made = build(rows, canvas, Path("ceus.npy"), Path("ceus.csv"))
rulings = {transform: ruling(transform, "ceus") for transform in TRANSFORMS}
schema = json.dumps(json_schema())
print(json.dumps({
    "without": without,
    "with": with_ceus,
    "ceus": len(rows),
    "made": made,
    "canvases": list(open_store(Path("ceus.npy"), Path("ceus.csv")).pixels.shape),
    "channels": canvas.channels,
    "keys": sorted(Images.model_fields),
    "legal": [name for name, one in rulings.items() if one.legal],
    "reasons": sorted({one.reason for one in rulings.values()}),
    "alike": numbers(known) == numbers([*known, "ceus"]),
    "alone": all(one.images == {"ceus": one.images["ceus"]} for one in draw_patients(PhantomSource(), ["ceus"], 5)),
    "strength": [strength("shift", 0.1, modality) for modality in ("bmode", "ceus")],
    "inputs": list(INPUTS),
    "title": title("ceus"),
    "enum": json.dumps(list(MODALITIES)) in schema,
}))
"""


@pytest.fixture(scope="module")
def ceus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the package does whose table has one row more."""
    copy = PackageCopy(tmp_path_factory.mktemp("copy"))
    end = ")\n\nMODALITIES = "
    row = '    ModalityRow(name="ceus", title="CEUS", colours="perfusion"),\n'
    copy.edit("config/modalities.py", end, row + end)
    found: dict[str, Any] = copy.run(CEUS, folder=tmp_path_factory.mktemp("results"))
    return found


def test_an_added_modality_is_known_to_the_config_and_its_schema(ceus: dict[str, Any]) -> None:
    assert ceus["enum"] and ceus["title"] == "CEUS"
    assert set(ceus["inputs"]) == {*INPUTS, "ceus"}
    assert ceus["keys"] == sorted(Images.model_fields)


def test_an_added_modality_is_simulated_and_redraws_nobody(ceus: dict[str, Any]) -> None:
    others = {image: sha256 for image, sha256 in ceus["with"].items() if "-ceus-" not in image}
    assert others == ceus["without"]
    assert ceus["alike"] and ceus["alone"]
    assert ceus["ceus"] == len(ceus["with"]) - len(others) > 0
    assert len(set(ceus["with"].values())) == len(ceus["with"])


def test_an_added_modality_has_a_store(ceus: dict[str, Any]) -> None:
    assert ceus["made"] == ceus["ceus"] and ceus["canvases"] == [ceus["ceus"], 224, 224, 3]
    assert ceus["channels"] == "rgb"


def test_no_transform_is_legal_for_an_added_modality_and_the_reason_says_why(ceus: dict[str, Any]) -> None:
    assert ceus["legal"] == []
    assert ceus["reasons"] == [
        "it changes colours, and the colours of CEUS mean perfusion",
        "no ruling says that it leaves the signs of disease in CEUS as they are",
    ]
    assert ceus["strength"] == [0.1, 0.0]


def test_names_titles_and_streams_are_unique() -> None:
    rows = MODALITIES.values()
    for facts in ([row.title for row in rows], [row.stream_number for row in rows]):
        assert len(set(facts)) == len(facts)
    assert [MODALITIES[name].stream for name in ("bmode", "cdfi", "elastography")] == [0, 1, 2]
    assert title("bmode") == "B-mode" and title("all") == "all"


def test_a_stream_of_its_own_is_no_number_of_another() -> None:
    assert ModalityRow("ceus", "CEUS").stream_number == ModalityRow("ceus", "contrast").stream_number >= 2**31
    assert ModalityRow("ceus", "CEUS").stream_number != ModalityRow("swe", "SWE").stream_number


@pytest.mark.parametrize("row", MODALITIES.values(), ids=lambda row: row.name)
def test_functions_that_a_row_names_are_there(row: ModalityRow) -> None:
    assert row.drawing in DRAWINGS, "cohort/phantom/exposure.py"
    assert row.measurement is None or row.measurement.decode in CHANNELS, "images/colour.py"


@pytest.mark.parametrize("row", MODALITIES.values(), ids=lambda row: row.name)
def test_no_legal_transform_recolours_what_must_not_be_recoloured(row: ModalityRow) -> None:
    shown = [row.name] if row.measurement is None else [row.name, row.measurement.name]
    legal = {name for name in TRANSFORMS for one in shown if ruling(name, one).legal}
    assert row.recolour or not legal & set(RECOLOURING)
    assert not (row.recolour and row.colours)


def test_rulings_are_on_inputs_of_the_table() -> None:
    assert {name for one in RULINGS for name in one.inputs} <= set(INPUTS)
