"""Edits of a copy of the package: which of them fit a cell or a pre-training again, and which do not.

Every edit is made in a copy whose recipes a fresh process computes, as the next run would.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dummy_study import DEMO, make_study
from unit.fits.tiny_study import write_inputs

from sonogrid.files import write_text
from sonogrid.layout import Layout
from sonogrid.provenance import FOLDER

SCRIPT = """
import json, sys
from pathlib import Path
from sonogrid.config.study import Study
from sonogrid.fits.recipe import cell_recipe, pretraining_recipe, recipe_sha256
from sonogrid.grid import Cell
study = Study.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
recipes = {
    modality: cell_recipe(Cell("resnet18", "scratch", modality, 0, 0), study, 1) for modality in ("bmode", "cdfi")
}
recipes["pretrained bmode"] = cell_recipe(Cell("resnet18", "pretrained", "bmode", 0, 0), study, 1)
recipes["pre-training"] = pretraining_recipe("pretrained", "resnet18", 0, study, 1)
assert "torch" not in sys.modules
print(json.dumps({name: recipe_sha256(recipe) for name, recipe in recipes.items()}))
"""
EVERY = {"bmode", "cdfi", "pretrained bmode", "pre-training"}
QUIET = {
    "target layer of Grad-CAM": (
        "reporting/gradcam.py",
        "modules[-2] if only_class_token else modules[-1]",
        "modules[0]",
    ),
    "wording of the grid": ("grid.py", "= {len(self)} cells", "or {len(self)} cells"),
    "message of the pool": ("jobs.py", "Ask for more memory", "Get more memory"),
    "interval of the watchdog": ("jobs.py", "WATCH_SECONDS = 1.0", "WATCH_SECONDS = 5.0"),
    "message of a fit": ("fits/life.py", "the inner loss was never finite", "the inner loss is not finite"),
    "message on weights": ("fits/weights.py", "are missing or not finite", "are bad"),
    "note of progress": ("fits/life.py", "inner log loss", "loss"),
    "how often checkpoints are written": ("fits/checkpoint.py", "LARGEST_SHARE = 0.05", "LARGEST_SHARE = 0.5"),
    "more in the record": ("fits/record.py", '"epochs_run":', '"epochs":'),
    "docstring in training": ("training/fit.py", "Linear warm-up, then", "Warm-up, then"),
    "comment in training": ("training/fit.py", "        # A last, smaller batch is left out: ", "        # "),
    "layout of code in training": (
        *("training/fit.py", "return peak * (step + 1) / warmup_steps"),
        "return (\n            peak * (step + 1) / warmup_steps\n        )",
    ),
    "message on a store": ("images/store.py", "is missing from the store", "is not in the store"),
    "message on splits": ("splits.py", "there is no such file", "is missing"),
    "message on labels": ("fits/inputs.py", "has patients of no class", "knows patients of no class"),
    "docstring on stored files": ("stored.py", "Return the array of a store", "Return the canvases of a store"),
    "reason of a ruling": ("config/augment_contract.py", "the brightness of a colour is the speed of flow", "no"),
}
DECIDING = {
    "warm-up": ("training/fit.py", "peak * (step + 1) / warmup_steps", "peak * step / warmup_steps", EVERY),
    "weight decay": ("training/fit.py", 'if p.ndim > 1], "weight_decay"', 'if p.ndim > 3], "weight_decay"', EVERY),
    "augmentation": ("training/augment.py", 'uniform(strengths["gain"] / 2)', 'uniform(strengths["gain"])', EVERY),
    "interpolation": ("training/examples.py", 'mode="bilinear"', 'mode="bicubic"', EVERY),
    "balanced weights": ("training/examples.py", " * counts[inverse])", ")", EVERY),
    "softmax of predictions": ("training/predict.py", "logits - logits.max(axis=1, keepdims=True)", "logits", EVERY),
    "what is seeded": ("training/fit.py", "    with seeded(seed):", "    with seeded(seed + 1):", EVERY),
    "batch of predictions": ("training/backbones.py", "batch_size: int = 64", "batch_size: int = 32", EVERY),
    "patients of a part": (
        "training/examples.py",
        '(self.splits["part"] == part)',
        '(self.splits["part"] != part)',
        EVERY,
    ),
    "part that chooses the epoch": (
        "training/examples.py",
        'inner=self.examples("inner")',
        'inner=self.examples("test")',
        EVERY,
    ),
    "part that a corpus is fitted on": (
        "training/examples.py",
        "(labels[~chosen], labels[chosen])",
        "(labels, labels[chosen])",
        EVERY,
    ),
    "fold that a recipe names": ("training/examples.py", 'recipe["fold"], recipe', "0, recipe", EVERY),
    "parts of a fit": (
        "training/fit.py",
        "fit(model, parts.train, parts.inner",
        "fit(model, parts.inner, parts.train",
        EVERY,
    ),
    "seed that a recipe names": (
        "training/fit.py",
        'recipe["training"]["augment"], recipe["random_seed"]',
        'recipe["training"]["augment"], 7',
        EVERY,
    ),
    "parts that are predicted": (
        "training/examples.py",
        'for part in ("inner", "test")',
        'for part in ("train", "test")',
        EVERY,
    ),
    "column of the labels": ("stored.py", '["label"]', '["hospital"]', EVERY),
    "missing values in the index": ("stored.py", "keep_default_na=False,\n        conv", "conv", EVERY),
    "type of parts": ("stored.py", '{"patient_id": str, "part": str}', '{"patient_id": str}', EVERY),
    "how a store is mapped": ("stored.py", 'open_memmap(npy, mode="r")', 'open_memmap(npy, mode="c")', EVERY),
    "check of canvases": ("training/examples.py", "(canvas) != known", "(canvas) in known", EVERY),
    "new module in training": ("training/more.py", None, "CHANGED = True\n", EVERY),
    "legality of a transform": (
        *("config/augment_contract.py", 'Ruling("gain", False, _CDFI', 'Ruling("gain", True, _CDFI'),
        {"cdfi", "pre-training"},
    ),
    "rule of inner parts": ("splits.py", "int((place + 0.5)", "int((place + 0.1)", {"pre-training"}),
    "random seed of a cell": ("grid.py", 'f"fold{self.fold}")', 'f"fold {self.fold}")', EVERY - {"pre-training"}),
}


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> Path:
    """A study as JSON, with the files that recipes are made of."""
    folder = tmp_path_factory.mktemp("study")
    study = make_study(DEMO, folder / "results")
    write_inputs(study.results)
    layout = Layout(study.results)
    write_text("row\n", layout.corpus("pretrained").index("elastography"))
    write_text("weights", layout.pretrained_weights("pretrained", "resnet18", 0))
    write_text(study.model_dump_json(), folder / "study.json")
    return folder / "study.json"


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the package, which every test leaves as it was."""
    return shutil.copytree(FOLDER, tmp_path_factory.mktemp("copy") / "sonogrid", ignore=shutil.ignore_patterns("__py*"))


def hashes(copy: Path, study_file: Path) -> dict[str, str]:
    """Return the hashes of recipes by the code of the copy."""
    environment = os.environ | {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SCRIPT, str(study_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before(copy, study_file) -> dict[str, str]:
    """The hashes without an edit."""
    found = hashes(copy, study_file)
    assert found.keys() == EVERY and len(set(found.values())) == len(EVERY)
    return found


def edited(copy: Path, file: str, old: str | None, new: str, study_file: Path) -> dict[str, str]:
    """Return the hashes with one edit, and take it back."""
    path = copy / file
    text = None if old is None else path.read_text(encoding="utf-8")
    assert text is None or text.count(old) == 1, f"{file} does not hold {old!r} once: correct this test"
    try:
        path.write_text(new if text is None else text.replace(old, new), encoding="utf-8")
        return hashes(copy, study_file)
    finally:
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("edit", QUIET)
def test_an_edit_that_decides_nothing_fits_nothing_again(copy, study_file, before, edit):
    assert edited(copy, *QUIET[edit], study_file) == before


@pytest.mark.parametrize("edit", DECIDING)
def test_an_edit_that_decides_fits_again_what_it_decides(copy, study_file, before, edit):
    *change, expected = DECIDING[edit]
    found = edited(copy, *change, study_file)
    assert {name for name in EVERY if found[name] != before[name]} == expected
