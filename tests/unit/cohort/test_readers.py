"""A reader is one object: every part of every reader is there, and one is added as the recipe for readers says."""

from __future__ import annotations

import ast
import inspect
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from package_copy import PackageCopy

from sonogrid import cohort
from sonogrid.cohort.registry import READERS, decoder_of, reader_of
from sonogrid.cohort.sources import decoding_of, decoding_text
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.images import Canvas
from sonogrid.config.readers import READER_SECTIONS, ReaderSection
from sonogrid.images.code import CANVAS, LOOK, deciding_code
from sonogrid.images.store import build
from sonogrid.imports import file_of
from sonogrid.problems import InputError


def is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def test_every_reader_has_a_section_and_every_section_a_reader() -> None:
    assert set(READERS) == set(READER_SECTIONS), "register it in cohort/registry.py and in config/readers.py"
    assert {name for name in READER_SECTIONS if name not in CohortConfig.model_fields} == set()


def test_every_reader_and_section_that_is_written_is_registered() -> None:
    written = {section.__name__ for section in ReaderSection.__subclasses__()}
    assert written == {section.__name__ for section in READER_SECTIONS.values()}, "READER_SECTIONS"
    room = Path(cohort.__file__).parent
    classes = {
        f"sonogrid.cohort.{'.'.join(file.relative_to(room).with_suffix('').parts)}:{node.name}"
        for file in room.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and "Reader" in map(ast.unparse, node.bases)
    }
    assert classes == set(READERS.values()), "READERS"


@pytest.mark.parametrize("name", READERS)
def test_no_part_of_a_reader_is_forgotten(name: str) -> None:
    reader = reader_of(name)
    assert reader.name == name
    assert reader.section is READER_SECTIONS[name]
    assert not inspect.isabstract(type(reader))
    assert decoder_of(reader.decoder).decoder == reader.decoder
    assert reader.packages, f"name the packages whose versions decide what {name} decodes"
    assert all(file_of(module) is not None for module in reader.code())
    missing = [package for package in reader.packages if not is_installed(package)]
    for what in (LOOK, CANVAS):
        if missing:
            with pytest.raises(InputError, match=f"pip install .*{missing[0]}"):
                deciding_code(what, reader.decoder)
        else:
            assert len(deciding_code(what, reader.decoder)) == 64


@pytest.mark.parametrize("name", READER_SECTIONS)
def test_no_part_of_a_section_is_forgotten(name: str, tmp_path: Path) -> None:
    """A section that names files or folders says when they are not there, and watches every file."""
    section = READER_SECTIONS[name]
    paths = {key for key, field in section.model_fields.items() if field.annotation is Path}
    made = section.model_construct(**{key: tmp_path / key for key in paths}, patients=None)
    told = " ".join(problem.where for problem in made.missing_files("cohort.x"))
    assert {key for key in paths if f"cohort.x.{key}" not in told} == set()
    files = {key for key in paths if key != "root"}
    assert {path.name for path in made.watched_files()} == files


def test_a_decoding_survives_the_manifest() -> None:
    assert decoding_of(decoding_text({"slice": 3, "range": [0.5, 2]})) == {"slice": 3, "range": [0.5, 2]}
    assert (decoding_text({}), decoding_of("")) == ("", {})
    with pytest.raises(ValueError, match="not a JSON object"):
        decoding_of("[1]")


SECTION = '''class VolumeSource(ReaderSection):
    """Stacks of slices in .npy files."""

    root: Path = Field(description="folder that holds the files")
    labels: dict[str, str] = Field(description="class name of the study -> its name in the path")
    slice: int = Field(0, ge=0, description="number of the slice that is shown")

    def missing_files(self, key: str) -> list[Problem]:
        """Return the problem of a root that is not there."""
        return missing_folder(f"{key}.root", self.root, "files")


'''
READER = '''"""Reader of stacks of slices: LABEL/PATIENT.npy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from sonogrid.arrays import Picture
from sonogrid.cohort.reader import Reader
from sonogrid.cohort.sources import Reading, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import VolumeSource
from sonogrid.console import Advance


class VolumeReader(Reader):
    """One slice of every stack."""

    name: ClassVar[str] = "volume"
    section: ClassVar[type[VolumeSource]] = VolumeSource
    packages: ClassVar[tuple[str, ...]] = ("numpy",)

    def steps(self, config: CohortConfig) -> int:
        return len(list(cast(VolumeSource, config.source).root.glob("*/*.npy")))

    def read(self, config: CohortConfig, seed: int, folder: Path, workers: int, advance: Advance) -> Reading:
        source = cast(VolumeSource, config.source)
        found = [
            Source(
                origin=str(path),
                image_id=f"{name}/{path.stem}",
                patient_id=path.stem,
                label=label,
                modality=config.modalities[0],
                path=path,
                decoding={"slice": source.slice},
            )
            for label, name in source.labels.items()
            for path in sorted((source.root / name).glob("*.npy"))
        ]
        return Reading(found)

    def decode(self, path: Path, decoding: Mapping[str, Any]) -> Picture:
        return np.repeat(np.load(path)[decoding["slice"], :, :, None], 3, axis=2)
'''
STUDY = """
import json, sys
from pathlib import Path
import numpy as np
import yaml
from sonogrid.cohort.manifest import load, save_cohort
from sonogrid import cohort
from sonogrid.cohort.registry import READERS, reader_of
from sonogrid.config.images import Canvas
from sonogrid.config.load import load_study
from sonogrid.config.study import json_schema
from sonogrid.images.code import deciding_code
from sonogrid.images.examine import read_cohort
from sonogrid.images.store import build, open_store
from sonogrid.problems import InputError

random = np.random.default_rng(4)
for label in ("b", "m"):
    Path("stacks", label).mkdir(parents=True)
    for number in range(2):
        np.save(f"stacks/{label}/{label}{number}.npy", random.integers(20, 220, (3, 40, 50), dtype=np.uint8))

def study(root="stacks", number=1, **other):
    raw = yaml.safe_load(Path(sys.argv[1]).read_text())
    raw["cohort"] = {"classes": ["benign", "malignant"], "modalities": ["bmode"], "reader": "volume", **other}
    raw["cohort"] |= {"burned_in_text": "keep"}
    raw["cohort"]["volume"] = {"root": root, "labels": {"benign": "b", "malignant": "m"}, "slice": number}
    raw["grid"]["modalities"] = ["bmode"]
    return load_study(raw)

def read_and_build(number):
    save_cohort(read_cohort(study(number=number).cohort, 0, Path("out")), Path("out"))
    images = load(Path("out")).images
    made = build(images, Canvas(size=32), Path("out/bmode.npy"), Path("out/bmode.csv"))
    return images, made, np.array(open_store(Path("out/bmode.npy"), Path("out/bmode.csv")).pixels)

def refused(action):
    try:
        action()
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []

told = {"schema": "VolumeSource" in json_schema()["$defs"], "registered": list(READERS)}
told["gone"] = refused(lambda: study(root="gone"))
told["slice"] = refused(lambda: study(number=-1))
images, told["first"], first = read_and_build(1)
told |= {"decoders": sorted(set(images["decoder"])), "decodings": sorted(set(images["decoding"]))}
_, told["again"], _ = read_and_build(1)
_, told["other slice"], other = read_and_build(2)
told["same canvases"] = sum(np.array_equal(*pair) for pair in zip(first, other, strict=True))
told["other decoders"] = [deciding_code("sonogrid.images.canvas", "pictures")]
type(reader_of("volume")).packages = ("numpy", "sonogrid-volumes")
deciding_code.cache_clear()
told["no package, read"] = refused(lambda: read_cohort(study().cohort, 0, Path("out")))
told["no package, build"] = refused(lambda: build(images, Canvas(size=32), Path("a.npy"), Path("a.csv")))
told["other decoders"] += [deciding_code("sonogrid.images.canvas", "pictures")]
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the package says to which a reader was added: a section, a reader, and an entry for each."""
    copy = PackageCopy(tmp_path_factory.mktemp("copy"))
    copy.edit("config/readers.py", "READER_SECTIONS: dict", f"{SECTION}READER_SECTIONS: dict")
    copy.edit(
        "config/readers.py", '    "dicom": DicomSource,\n', '    "dicom": DicomSource,\n    "volume": VolumeSource,\n'
    )
    copy.write("cohort/volume.py", READER)
    entry = '    "dicom": "sonogrid.cohort.dicom:DicomReader",\n'
    copy.edit("cohort/registry.py", entry, f'{entry}    "volume": "sonogrid.cohort.volume:VolumeReader",\n')
    shipped = Path(__file__).parents[3] / "config.yaml"
    found: dict[str, Any] = copy.run(STUDY, str(shipped), folder=tmp_path_factory.mktemp("study"))
    return found


def test_a_reader_is_added_as_the_recipe_says(told: dict[str, Any]) -> None:
    assert set(told["registered"]) == {*READERS, "volume"} and told["schema"]
    assert told["gone"] == [
        "config key cohort.volume.root: there is no folder gone. Write the folder that holds the files."
    ]
    assert len(told["slice"]) == 1 and "cohort.volume.slice" in told["slice"][0]
    assert told["decoders"] == ["volume"] and told["decodings"] == ['{"slice": 1}']
    assert told["first"] == 4


def test_what_settings_decide_of_a_decoding_makes_other_canvases(told: dict[str, Any]) -> None:
    assert told["again"] == 0
    assert told["other slice"] == 4 and told["same canvases"] == 0


@pytest.mark.parametrize("action", ["read", "build"])
def test_a_package_that_is_missing_is_named_once_with_its_remedy(told: dict[str, Any], action: str) -> None:
    what = "needs sonogrid-volumes, which sonogrid does not install by itself"
    assert told[f"no package, {action}"] == [f"reader volume: {what}. Install: pip install sonogrid-volumes."]
    assert told["other decoders"][0] == told["other decoders"][1]


def test_only_pictures_of_a_decoder_depend_on_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("pictures", "dicom")

    def codes() -> dict[str, str]:
        deciding_code.cache_clear()
        return {name: deciding_code(CANVAS, name) for name in names}

    before = codes()
    with monkeypatch.context() as patch:
        patch.setattr("sonogrid.cohort.reader.version", lambda name: "0" if name == "pyjpegls" else version(name))
        after = codes()
    deciding_code.cache_clear()
    assert {name for name in names if before[name] != after[name]} == {"dicom"}


def test_a_manifest_of_an_unknown_decoder_is_refused(tmp_path: Path) -> None:
    images = pd.DataFrame({"modality": ["bmode"], "decoder": ["nothing"]})
    with pytest.raises(InputError, match=r"nothing.*Read the cohort again"):
        build(images, Canvas(size=32), tmp_path / "a.npy", tmp_path / "a.csv")
