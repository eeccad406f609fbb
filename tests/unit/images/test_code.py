"""What decides a look and a canvas: which edits of a copy of the package change which digest, and which do not."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
from package_copy import PackageCopy

from sonogrid.cohort.manifest import IMAGE_COLUMNS
from sonogrid.cohort.registry import READERS, reader_of
from sonogrid.cohort.sources import Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas
from sonogrid.files import digest, write_text
from sonogrid.images.code import CANVAS, CARRIED, LOOK, NO_PIXELS, NOT_DECODING, PACKAGES, REFUSED, deciding_code
from sonogrid.images.examine import look_key
from sonogrid.images.store import canvas_recipe
from sonogrid.imports import file_of, imported, is_within, reached

DIGESTS = """
import json, sys
from pathlib import Path
from sonogrid.audit.certificate import audit_code
from sonogrid.images import code
from sonogrid import imports, provenance

def digests():
    for known in (*vars(provenance).values(), audit_code, code.deciding_code):
        getattr(known, "cache_clear", list)()
    found = {"audit": audit_code()}
    for decoder in ("pictures", "dicom"):
        found |= {f"look {decoder}": code.deciding_code(code.LOOK, decoder)}
        found |= {f"canvas {decoder}": code.deciding_code(code.CANVAS, decoder)}
    return found

unedited, changed = digests(), []
for name, old, new in json.loads(sys.argv[1]):
    file = imports.FOLDER / name
    text = file.read_text()
    assert text.count(old) == 1, f"{name} has {text.count(old)} places with {old!r}"
    file.write_text(text.replace(old, new))
    edited = digests()
    changed.append([name for name in unedited if edited[name] != unedited[name]])
    file.write_text(text)
print(json.dumps(changed))
"""
LOOKS = {"look pictures", "look dicom"}
CANVASES = {"canvas pictures", "canvas dicom"}
DICOM = {"look dicom", "canvas dicom"}
NOTHING: set[str] = set()


EDITS = [
    ("images/frame.py", "The rule: a pixel is live", "A pixel is live", NOTHING),
    ("images/geometry.py", "# For square pixels the two", "# The two", NOTHING),
    ("images/messages.py", "no colour bar is found", "there is no colour bar", NOTHING),
    ("images/store.py", "is missing from the store", "is not in the store", NOTHING),
    ("images/store.py", '"scale_x", "scale_y", "left"', '"scale_y", "scale_x", "left"', NOTHING),
    ("images/placed_mask.py", "resized > 0", "resized == 1", NOTHING),
    ("images/seen.py", "KEPT_EVERY = 200", "KEPT_EVERY = 100", NOTHING),
    ("images/examine.py", "leads to no picture", "has no picture", NOTHING),
    ("cohort/manifest.py", "have the same image_id", "share an id", NOTHING),
    ("config/augment_contract.py", "stiffness has no left and right", "stiffness has no sides", NOTHING),
    ("config/modalities.py", 'title="CDFI"', 'title="Colour Doppler"', NOTHING),
    ("config/images.py", "side of the stored canvas", "side of a canvas", NOTHING),
    ("cohort/picture_messages.py", "is empty (0 bytes)", "has no byte", NOTHING),
    ("images/patient_axes.py", "other=images", "none=images", NOTHING),
    ("console.py", "PLAIN_SECONDS = 10.0", "PLAIN_SECONDS = 5.0", NOTHING),
    ("dicom/allowance.py", "DECODER_SECONDS = 60.0", "DECODER_SECONDS = 120.0", NOTHING),
    ("dicom/allowance.py", "DECODER_BYTES = 2 * ", "DECODER_BYTES = 4 * ", NOTHING),
    ("dicom/messages.py", "a marker is missing", "a marker is not there", NOTHING),
    ("dicom/messages.py", "neither 8 nor 16", "not 8 or 16", NOTHING),
    ("dicom/spacing.py", "MM_RANGE = (0.001, 10.0)", "MM_RANGE = (0.002, 10.0)", NOTHING),
    ("dicom/facts.py", 'startswith("ELAST")', 'startswith("ELASTO")', NOTHING),
    ("cohort/folders.py", '".tif", ".tiff"', '".tif"', NOTHING),
    ("cohort/folders.py", '"thumbs.db"', '"thumb.db"', NOTHING),
    ("cohort/dicom.py", '_INDEX = "dicomdir"', '_INDEX = "index"', NOTHING),
    ("images/frame.py", "SECOND_VIEW = 0.25", "SECOND_VIEW = 0.3", LOOKS),
    ("images/look.py", 'config.dual_view == "split"', 'config.dual_view != "keep"', LOOKS),
    ("images/look.py", "copy=blackened_outside(picture, framing, ", "copy=only(picture, ", LOOKS),
    ("images/look.py", "lesion_axes(masks, framing", "lesion_axes(masks[:1], framing", LOOKS),
    ("images/look.py", "source.device, source.scan, config)", "source.device, None, config)", LOOKS),
    ("images/look.py", "decode(source.path, source.decoding)", "decode(source.path, {})", LOOKS),
    ("images/look.py", "masks.append(open_mask(path))", "masks.append(~open_mask(path))", LOOKS),
    ("images/canvas.py", "framing, how.size, pixel_aspect(row))", "framing, how.size, 1.0)", CANVASES),
    ("images/canvas.py", "letterbox(shown, size, aspect)", "letterbox(shown, size, 1.0)", CANVASES),
    ("images/canvas.py", 'decoding_of(row["decoding"]))', "{})", CANVASES),
    ("images/canvas.py", "(picture, row, how)\n\n\ndef place", "(picture[::-1], row, how)\n\n\ndef place", CANVASES),
    ("images/axes.py", "HARMONICS = 8", "HARMONICS = 9", LOOKS),
    ("images/text.py", "MARGIN = 3", "MARGIN = 4", LOOKS),
    ("images/geometry.py", "Resampling.BILINEAR)", "Resampling.BICUBIC)", CANVASES),
    ("images/colour.py", "OFF_MAP = 24.0", "OFF_MAP = 25.0", CANVASES),
    ("images/colour_bar.py", "replace(bars[0], again=", "replace(bars[-1], again=", LOOKS | CANVASES),
    ("images/boxes.py", "= 0\n    return copy", "= 1\n    return copy", LOOKS | CANVASES),
    ("dicom/colours.py", "np.floor(share + 0.5)", "np.floor(share)", DICOM),
    ("dicom/form.py", "allocated not in (8, 16)", "allocated != 8", DICOM),
    ("dicom/limits.py", "MAX_FRAMES = 20_000", "MAX_FRAMES = 10_000", DICOM),
    ("dicom/lossless.py", "def decode_frame(", "CHANGED = True\n\n\ndef decode_frame(", DICOM),
    ("cohort/dicom_files.py", 'int(decoding["frame"])', 'int(decoding["frame"]) + 1', DICOM),
    ("cohort/picture_files.py", "(grey + 128) // 257", "grey // 257", {"look pictures", "canvas pictures"}),
    ("audit/coverage.py", "SCALE_RATIO = 3.0", "SCALE_RATIO = 2.0", {"audit"}),
    ("audit/show.py", "PLAIN_WIDTH = 100", "PLAIN_WIDTH = 90", NOTHING),
]
"""File, a text in it, another text, and the digests that change with it."""


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The digests that each edit of a copy of the package changes, in a process that imports the copy."""
    copy = PackageCopy(tmp_path_factory.mktemp("copy"))
    found: list[list[str]] = copy.run(DIGESTS, json.dumps([edit[:3] for edit in EDITS]))
    return found


@pytest.mark.parametrize("number", range(len(EDITS)), ids=[f"{file}: {new}" for file, _, new, _ in EDITS])
def test_which_edit_changes_which_digest(changed: list[list[str]], number: int) -> None:
    assert set(changed[number]) == EDITS[number][3]


def test_masks_are_looked_at_again_with_the_code_that_opens_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are picture files, also of a picture that another decoder decodes."""
    config, sources = cohort_config(), [source_with(), source_with(Path(__file__))]

    def look_keys() -> list[str]:
        return [digest(**look_key(source, "dicom", config, copied=False)) for source in sources]

    before = look_keys()
    monkeypatch.setattr(
        "sonogrid.images.examine.deciding_code",
        lambda what, decoder: "edited" if decoder == "pictures" else deciding_code(what, decoder),
    )
    after = look_keys()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False]


def cohort_config() -> CohortConfig:
    """A cohort of the reader of folders."""
    return CohortConfig.model_validate(
        {
            "classes": ["a", "b"],
            "modalities": ["bmode"],
            "reader": "folders",
            "folders": {"root": "none", "labels": {"a": "a", "b": "b"}, "modalities": {"bmode": "x"}},
        }
    )


def source_with(mask: Path | None = None) -> Source:
    """A source with a mask, or without."""
    return Source("x", "x", "x", "a", "bmode", Path(__file__), masks=() if mask is None else (mask,))


def keys() -> dict[str, set[str]]:
    """The entries of the key of a look and of the recipe of a canvas."""
    config, source = cohort_config(), source_with()
    row = dict.fromkeys(IMAGE_COLUMNS, "") | {"modality": "bmode", "decoder": "pictures"}
    row |= {"scan_x0": 0, "scan_y0": 0, "scan_x1": 1, "scan_y1": 1, "mm_per_pixel_x": np.nan, "mm_per_pixel_y": np.nan}
    recipe = canvas_recipe(row, Canvas(size=16))
    for facts in (recipe, look_key(source, "pictures", config, copied=False)):
        assert digest(**facts)
    return {LOOK: set(look_key(source, "pictures", config, copied=False)), CANVAS: set(recipe)}


def test_every_import_that_is_not_digested_names_an_entry_that_carries_its_effect() -> None:
    known = keys()
    for what, carried in CARRIED.items():
        for module, entries in carried.items():
            assert file_of(module) is not None, f"{module} is listed, but there is no such module"
            assert entries == REFUSED or set(entries) <= known[what], module
    for module, entries in NOT_DECODING.items():
        assert file_of(module) is not None, f"{module} is listed, but there is no such module"
        assert entries in (REFUSED, NO_PIXELS) or set(entries) <= known[CANVAS], module


@pytest.mark.parametrize("what", [LOOK, CANVAS])
def test_what_is_imported_is_digested_or_listed(what: str) -> None:
    """Digested is this room and the arrays; a module of another room has its effect in the key, or moves in."""
    digested = reached([what], CARRIED[what])
    assert [name for name in digested if not is_within(name, ("sonogrid.images", "sonogrid.arrays"))] == []
    assert used(digested, list(CARRIED[what])) == set(CARRIED[what])


@pytest.mark.parametrize("name", READERS)
def test_what_a_decoder_imports_is_digested_or_listed(name: str) -> None:
    rooms = ("sonogrid.arrays", "sonogrid.dicom", "sonogrid.cohort", "sonogrid.files")
    assert [one for one in reached(reader_of(name).code(), NOT_DECODING) if not is_within(one, rooms)] == []


@pytest.mark.parametrize("name", READERS)
def test_no_message_is_written_where_decoding_is_digested(name: str) -> None:
    """A phrase of a refusal among the code that decides would decode every picture again when it is reworded."""
    phrases = [
        f"{module}, line {part.lineno}: {part.value}"
        for module in reached(reader_of(name).code(), NOT_DECODING)
        for node in ast.walk(ast.parse((file_of(module) or Path()).read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise)
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value
    ]
    assert phrases == []


def used(modules: list[str], listed: list[str]) -> set[str]:
    """The entries of a list that some module imports."""
    imports = {name for module in modules for name in imported(file_of(module) or Path())}
    return {entry for entry in listed if any(is_within(name, (entry,)) for name in imports)}


DISTRIBUTIONS = packages_distributions()


def third_party(module: str) -> Iterator[str]:
    """Packages that a module imports, by the name of their distribution."""
    file = file_of(module)
    assert file is not None
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            yield from DISTRIBUTIONS.get(name.partition(".")[0], [])


@pytest.mark.parametrize("what", [LOOK, CANVAS])
def test_every_package_that_decides_is_in_the_digest(what: str) -> None:
    found = {package for module in reached([what], CARRIED[what]) for package in third_party(module)}
    assert {package.lower() for package in found} - {"sonogrid"} <= set(PACKAGES[what])


@pytest.mark.parametrize("name", READERS)
def test_every_package_that_decodes_is_in_the_digest(name: str) -> None:
    reader = reader_of(name)
    found = {package for module in reached(reader.code(), NOT_DECODING) for package in third_party(module)}
    assert {package.lower() for package in found} - {"sonogrid"} <= set(reader.packages)


BASE = """
from sonogrid.cohort.reader import Reader
from .samples import samples


class Stacks(Reader):
    def decode(self, path, decoding):
        return self.shown(samples(path))
"""
READER = """
from toy.base import Stacks
from toy.levels import levels


class Toy(Stacks):
    name = "toy"

    def shown(self, picture):
        return levels(picture)
"""
FINDER = """
from toy import files
from toy.reader import Toy


class Finder(Toy):
    name = "toy"

    def steps(self, config):
        return files.STEPS

    def read(self, config, seed, folder, workers, advance):
        return files.STEPS
"""
TOY = {
    "__init__.py": "",
    "base.py": BASE,
    "reader.py": READER,
    "finder.py": FINDER,
    "samples.py": "def samples(path):\n    return path\n",
    "levels.py": "def levels(picture):\n    return picture\n",
    "files.py": "STEPS = 1\n",
}
"""A reader outside the package: `decode` in one module, its helper in that of a subclass, each with an import."""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the toy reader, which is registered."""
    for name, code in TOY.items():
        write_text(code, tmp_path / "toy" / name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(READERS, "toy", "toy.finder:Finder")
    for known in (reader_of, deciding_code):
        known.cache_clear()
    yield tmp_path / "toy"
    for known in (reader_of, deciding_code):
        known.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[module]


def canvas_digest_with(file: Path, more: str) -> str:
    """The digest of canvases of the toy reader, with more at the end of a file, which is taken back."""
    text = file.read_text(encoding="utf-8")
    file.write_text(text + more, encoding="utf-8")
    deciding_code.cache_clear()
    found = deciding_code(CANVAS, "toy")
    file.write_text(text, encoding="utf-8")
    return found


def test_a_decoder_is_digested_with_its_bases_and_the_helpers_of_subclasses(toy: Path) -> None:
    assert reader_of("toy").code() == ("toy.reader", "toy.base")
    before = canvas_digest_with(toy / "base.py", "# A comment\n")
    changed = {name for name in TOY if canvas_digest_with(toy / name, "CHANGED = True\n") != before}
    assert changed == {"base.py", "reader.py", "samples.py", "levels.py"}


def test_a_decoder_in_a_folder_without_init_is_digested_as_well(toy: Path) -> None:
    (toy / "__init__.py").unlink(missing_ok=True)
    assert reader_of("toy").code() == ("toy.reader", "toy.base")
    before = canvas_digest_with(toy / "base.py", "# A comment\n")
    assert canvas_digest_with(toy / "base.py", "CHANGED = True\n") != before


def test_what_python_calls_of_a_class_decides_too(toy: Path) -> None:
    """`__init__` of a class that otherwise only finds files may set what `decode` reads."""
    finder = toy / "finder.py"
    finder.write_text(FINDER + "\n    def __init__(self):\n        self.window = 3\n", encoding="utf-8")
    assert reader_of("toy").code() == ("toy.finder", "toy.reader", "toy.base")


def test_how_files_are_found_is_in_no_digest_of_a_decoder() -> None:
    found = {name: reader_of(name).code() for name in READERS}
    pictures = ("sonogrid.cohort.picture_files",)
    assert found.pop("dicom") == ("sonogrid.cohort.dicom_files", "sonogrid.dicom.lossless")
    assert found == dict.fromkeys(found, pictures)
