"""The recipe: what training/ may import, and what the recipe holds of it."""

import ast
import json
import sys
from pathlib import Path

import pytest
from unit.fits.tiny_study import CELLS, tiny_study

from sonogrid.config.augment_contract import MODALITIES, ruling
from sonogrid.config.training import Augment, Training
from sonogrid.fits import recipe as module
from sonogrid.fits.recipe import (
    CARRIED_BY,
    DECIDING_PACKAGES,
    OTHER_PACKAGES,
    cell_recipe,
    effective_strengths,
    pretraining_recipe,
    recipe_sha256,
    settings_of,
    training_files,
)
from sonogrid.provenance import FOLDER, PACKAGES

LOADS_CODE = {"builtins", "importlib", "pkgutil", "runpy", "subprocess", "sys"}
"""Modules of the standard library by which code could be had without an import."""


def imported(source: str, package: str = "sonogrid.training") -> set[str]:
    """Return every name that code imports, also inside functions: `module.name`, or the module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            place = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{place}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Name) and node.id in ("__import__", "exec", "eval"):
            found.add(node.id)
    return found


def imports_of_training() -> set[str]:
    files = training_files()
    assert set((FOLDER / "training").rglob("*.py")) < set(files) and len(files) >= 7
    return set().union(*(imported(file.read_text(encoding="utf-8")) for file in files))


def unlisted(names: set[str]) -> set[str]:
    """Return the names that are neither digested themselves nor in a list with what carries their effect."""
    outside = {
        name for name in names if not name.startswith(("sonogrid.training.", "sonogrid.stored."))
    } - CARRIED_BY.keys()
    packages = {*DECIDING_PACKAGES, *OTHER_PACKAGES, *sys.stdlib_module_names} - LOADS_CODE
    return {name for name in outside if name.split(".")[0] not in packages}


def test_what_training_imports_is_listed_with_the_key_that_carries_its_effect(study):
    """Fails for a new import: move that code into training/, or pass the value in and let the recipe carry it."""
    assert unlisted(imports_of_training()) == set()


def test_the_lists_hold_nothing_that_is_not_imported(study):
    names = imports_of_training()
    packages = {name.split(".")[0] for name in names}
    assert CARRIED_BY.keys() <= names
    assert {*DECIDING_PACKAGES, *OTHER_PACKAGES} <= packages
    assert set(DECIDING_PACKAGES) <= set(PACKAGES)
    for recipe in (cell_recipe(CELLS[0], study, 1), pretraining_recipe("pretrained", "test_resnet", 0, study, 1)):
        assert set(CARRIED_BY.values()) <= recipe.keys()


@pytest.mark.parametrize(
    "source",
    [
        "from sonogrid.evaluation.metrics import log_softmax",
        "import sonogrid.splits",
        "def f():\n    from sonogrid.grid import derive_seed\n",
        "from .. import grid",
        "from ..fits.recipe import Recipe",
        "from sonogrid.config.training import Augment",
        "from sonogrid.images.store import open_store",
        "import scipy.ndimage",
        "import importlib",
        "def f():\n    return __import__('sonogrid.grid')\n",
    ],
)
def test_an_import_without_such_a_key_is_found(source):
    assert len(unlisted(imported(source))) == 1


@pytest.mark.parametrize(
    "source",
    ["from .fit import fit", "from . import fit", "import numpy as np", "from sonogrid.stored import Store"],
)
def test_an_import_with_a_key_or_of_the_room_itself_is_not(source):
    assert unlisted(imported(source)) == set()


def test_the_recipe_holds_the_whole_section_and_the_strengths_of_its_modalities(study):
    section = settings_of(study.training, ["cdfi"])
    assert section.keys() == Training.model_fields.keys() and section["augment"].keys() == Augment.model_fields.keys()
    assert section["augment"]["gain"] == {"cdfi": 0.0} and section["augment"]["shift"] == {"cdfi": 0.05}
    assert Training.model_validate(section), "anyone can fit again by this section"
    assert cell_recipe(CELLS[0], study, 1)["training"] == settings_of(study.training, ["bmode"])
    assert pretraining_recipe("pretrained", "test_resnet", 0, study, 1)["training"]["augment"]["gain"] == {
        "bmode": 0.15,
        "cdfi": 0.0,
    }


def test_a_number_is_for_every_modality_for_which_it_is_legal_and_a_mapping_for_those_it_names():
    found = effective_strengths(Augment(gain=0.3, zoom={"cdfi": 0.2}), MODALITIES)
    assert found["zoom"] == {modality: 0.2 if modality == "cdfi" else 0.0 for modality in MODALITIES}
    assert found["gain"] == {modality: 0.3 if ruling("gain", modality).legal else 0.0 for modality in MODALITIES}
    assert found["gain"]["bmode"] == 0.3 and found["gain"]["cdfi"] == 0.0


def test_a_recipe_has_no_path_of_the_machine(study):
    for recipe in (cell_recipe(CELLS[0], study, 1), pretraining_recipe("pretrained", "test_resnet", 0, study, 1)):
        assert str(study.results) not in json.dumps(recipe)


@pytest.mark.parametrize("package", DECIDING_PACKAGES)
def test_versions_that_decide_change_the_hash_and_others_do_not(study, monkeypatch, package):
    recipe = cell_recipe(CELLS[0], study, 1)
    versions, before = module.package_versions(), recipe_sha256(recipe)
    monkeypatch.setattr(module, "package_versions", lambda: versions | {"pandas": "0", "snakemake": "0"})
    assert recipe_sha256(recipe) == before
    monkeypatch.setattr(module, "package_versions", lambda: versions | {package: "0"})
    assert recipe_sha256(recipe) != before


@pytest.mark.parametrize("key", ["seed", "images", "training", "cohort"])
def test_every_key_of_the_config_that_decides_is_in_the_recipe(study, key):
    other = {
        "seed": 2,
        "images": type(study)(size=32, input_size={"test_resnet": 16}),
        "training": study.training.model_copy(update={"weight_decay": 0.0}),
        "cohort": type(study)(classes=("malignant", "benign")),
    }
    changed = tiny_study(**(vars(study) | {key: other[key]}))
    assert cell_recipe(CELLS[0], changed, 1) != cell_recipe(CELLS[0], study, 1)


def test_published_weights_are_in_the_recipe_by_their_bytes(study, tmp_path):
    file = Path(tmp_path / "w.safetensors")
    file.write_bytes(b"a")
    study.inits["scratch"] = type(study)(source="timm", files={"test_resnet": file})
    before = cell_recipe(CELLS[0], study, 1)
    file.write_bytes(b"other bytes")
    assert cell_recipe(CELLS[0], study, 1)["inputs"]["first weights"] != before["inputs"]["first weights"]
