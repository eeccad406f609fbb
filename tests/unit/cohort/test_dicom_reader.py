"""The DICOM reader: what counts, who the patient is, which frames of a cine, and what is refused or a problem."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import IDENTIFIERS, region, scene, write
from pydicom.uid import RLELossless

from sonogrid.cohort.dicom import DicomReader, chosen_frames
from sonogrid.cohort.manifest import Cohort
from sonogrid.cohort.registry import decoder_of
from sonogrid.cohort.sources import decoding_of
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import DicomSource
from sonogrid.images.examine import read_cohort
from sonogrid.problems import InputError

HEIGHT, WIDTH = 60, 80
GREY = {"UltrasoundColorDataPresent": 0, "Manufacturer": "ACME", "ManufacturerModelName": "Sono"}


def make(path: Path, seed: int = 0, frames: int = 1, data: int = 1, **elements: Any) -> Path:
    """A simulated file whose region covers a part of its pixels: B-mode, or colour Doppler for data type 2."""
    picture = np.stack([scene(HEIGHT, WIDTH, seed=seed + frame) for frame in range(frames)])
    regions = [region((4, 5, 75, 54), data=data, cm=(0.01, 0.02))]
    return write(path, picture[0] if frames == 1 else picture, regions=regions, **(GREY | elements))


def config_of(root: Path, shown: tuple[str, ...] = ("bmode",), **changes: object) -> CohortConfig:
    source = {"root": root, "pattern": "{label}/{patient}-{n}", "labels": {"benign": "B", "malignant": "M"}}
    return CohortConfig(
        classes=("benign", "malignant"),
        modalities=shown,
        reader="dicom",
        dicom=DicomSource.model_validate(source | changes),
        burned_in_text="keep",
        dual_view="keep",
    )


def cohort_of(config: CohortConfig, folder: Path, workers: int = 1) -> Cohort:
    return read_cohort(config, 0, folder / "out", workers)


def problems_of(config: CohortConfig, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        cohort_of(config, folder)
    return str(error.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two patients of each class with one picture each."""
    root = tmp_path / "export"
    for seed, name in enumerate(("B/p1-1.dcm", "B/p2-1.dcm", "M/p3-1.dcm", "M/p4-1.dcm")):
        make(root / name, seed)
    return root


def test_pictures_patients_and_what_the_header_tells(root: Path, tmp_path: Path) -> None:
    cohort = cohort_of(config_of(root, hospital="north"), tmp_path, workers=2)
    assert cohort.images["image_id"].tolist() == ["B/p1-1", "B/p2-1", "M/p3-1", "M/p4-1"]
    assert cohort.patients.set_index("patient_id")["label"].to_dict() == {
        "p1": "benign",
        "p2": "benign",
        "p3": "malignant",
        "p4": "malignant",
    }
    assert set(cohort.patients["hospital"]) == {"north"}
    row = cohort.images.iloc[0]
    told = ["width", "height", "decoder", "decoding", "modality", "device"]
    assert row[told].tolist() == [80, 60, "dicom", '{"frame": 0}', "bmode", "ACME Sono"]
    assert tuple(row[["scan_x0", "scan_y0", "scan_x1", "scan_y1"]]) == (4, 5, 76, 55)
    assert (row["mm_per_pixel_x"], row["mm_per_pixel_y"]) == pytest.approx((0.1, 0.2))
    assert cohort.refused == ()


@pytest.mark.parametrize(
    ("frames", "wanted", "chosen"),
    [
        (1, 1, [0]),
        (30, 1, [15]),
        (3, 1, [1]),
        (10, 2, [2, 7]),
        (10, 5, [1, 3, 5, 7, 9]),
        (9, 3, [1, 4, 7]),
        (2, 5, [0, 1]),
    ],
)
def test_frames_of_a_cine_by_the_stated_rule(frames: int, wanted: int, chosen: list[int]) -> None:
    assert chosen_frames(frames, wanted) == chosen


def test_frames_are_pictures_of_their_own_with_a_number_where_there_are_several(root: Path, tmp_path: Path) -> None:
    make(root / "B" / "p1-2.dcm", seed=50, frames=10)
    cohort = cohort_of(config_of(root, frames=2), tmp_path)
    of_cine = cohort.images[cohort.images["image_id"].str.startswith("B/p1-2")]
    assert of_cine["image_id"].tolist() == ["B/p1-2@0002", "B/p1-2@0007"]
    assert of_cine["decoding"].tolist() == ['{"frame": 2}', '{"frame": 7}']
    assert DicomReader().steps(config_of(root, frames=2)) == 10
    for _, row in of_cine.iterrows():
        decoding = decoding_of(row["decoding"])
        picture = decoder_of(row["decoder"]).decode(Path(row["path"]), decoding)
        assert np.array_equal(picture, scene(HEIGHT, WIDTH, seed=50 + decoding["frame"]))


def test_what_counts_as_dicom(root: Path, tmp_path: Path) -> None:
    make(root / "B" / "p5-1.IMA", 10)
    make(root / "B" / "p6-1", 11)
    make(root / "M" / "p7-1.2.840.113619", 12)
    make(root / "M" / "p7-1.2.840.113620", 13)
    (root / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 20)
    (root / "README").write_text("no picture")
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.dcm").write_text("no picture")
    expected = {"B/p5-1", "B/p6-1", "M/p7-1.2.840.113619", "M/p7-1.2.840.113620"}
    config = config_of(root, pattern="{label}/{patient}-{n}", labels={"benign": "B", "malignant": "M"})
    with pytest.raises(InputError, match="do not fit the pattern"):
        cohort_of(config, tmp_path)
    config = config_of(root, pattern="{label}/{patient}")
    assert expected < set(cohort_of(config, tmp_path).images["image_id"])
    (root / "B" / "p8-1.png").write_bytes(b"a picture")
    assert "is of a kind that is not read (.png)" in problems_of(config, tmp_path)


def test_unreadable_files_are_listed_and_the_others_go_on(root: Path, tmp_path: Path) -> None:
    make(root / "B" / "p8-1.dcm", Rows=0)
    (root / "B" / "p9-1.dcm").write_text("no DICOM")
    damaged = make(root / "M" / "p9-2.dcm")
    damaged.write_bytes(damaged.read_bytes()[:-5000])
    broken = write(root / "M" / "p9-3.dcm", [bytes(300)], RLELossless, "RGB", shape=(HEIGHT, WIDTH, 3), **GREY)
    cohort = cohort_of(config_of(root, default_modality="bmode"), tmp_path)
    assert len(cohort.images) == 4
    told = {Path(problem.where.split(",")[0]).name: str(problem) for problem in cohort.refused}
    assert set(told) == {"p8-1.dcm", "p9-1.dcm", "p9-2.dcm", broken.name}
    assert "Rows (0028,0010): is 0" in told["p8-1.dcm"]
    assert "Pixel Data (7fe0,0010): claims" in told["p9-2.dcm"]
    assert all(problem.remedy for problem in cohort.refused)


def test_the_patient_is_the_tag_where_the_path_does_not_say_it(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for index, patient in enumerate(("A1", "A1", "A2", "A3")):
        make(root / f"scan{index}.dcm", index, PatientID=f" {patient} ")
    make(root / "nobody.dcm", 9)
    table = tmp_path / "patients.csv"
    table.write_text("id,diagnosis,site\nA1,B,north\nA2,M,south\nA3,M,\nA4,B,east\n")
    patients = {"file": table, "patient_id": "id", "label": "diagnosis", "hospital": "site"}
    cohort = cohort_of(config_of(root, pattern="", patients=patients, hospital="other"), tmp_path)
    rows = cohort.patients.set_index("patient_id")
    assert rows["label"].to_dict() == {"A1": "benign", "A2": "malignant", "A3": "malignant"}
    assert rows["hospital"].to_dict() == {"A1": "north", "A2": "south", "A3": "other"}
    assert cohort.images.set_index("image_id")["patient_id"].to_dict() == {
        "scan0": "A1",
        "scan1": "A1",
        "scan2": "A2",
        "scan3": "A3",
    }
    (problem,) = cohort.refused
    assert problem.where == f"{root / 'nobody.dcm'}, Patient ID (0010,0020)"


def test_a_file_with_two_patient_ids_is_refused(root: Path, tmp_path: Path) -> None:
    file = make(root / "B" / "p1-2.dcm", 70, PatientID=["MRN1", "MRN9"])
    cohort = cohort_of(config_of(root), tmp_path)
    assert len(cohort.images) == 4
    (problem,) = cohort.refused
    assert problem.where == f"{file}, Patient ID (0010,0020)"
    assert "has 2 values" in problem.what and problem.remedy and "MRN" not in str(problem)


def test_under_a_key_refused_files_have_the_pseudonym_of_their_path_and_the_tag(root: Path, tmp_path: Path) -> None:
    name = "p, (8)-1"
    bad = make(root / "B" / f"{name}.dcm", Rows=0)
    make(root / "M" / "p9-1.dcm", PatientID=["MRN1", "MRN9"])
    key = tmp_path / "study.key"
    key.write_text("k" * 40)
    key.chmod(0o600)
    cohort = cohort_of(config_of(root).model_copy(update={"pseudonym_key": key}), tmp_path)
    tags = {problem.where.split(", ")[1] for problem in cohort.refused}
    assert tags == {"Rows (0028,0010)", "Patient ID (0010,0020)"}
    with key.with_name("study.key.lookup.csv").open(newline="") as lines:
        lookup = {row["pseudonym"]: row["of"] for row in csv.DictReader(lines)}
    assert {lookup[problem.where.split(", ")[0]] for problem in cohort.refused} == {
        str(bad),
        str(root / "M" / "p9-1.dcm"),
    }
    assert str(root) not in "".join(map(str, cohort.refused))


def test_ids_of_headers_are_in_no_message(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for index in range(2):
        make(root / f"scan{index}.dcm", index, **IDENTIFIERS)
    make(root / "other.dcm", 3, **(IDENTIFIERS | {"PatientID": "SECRET-ID"}))
    make(root / "bad.dcm", 4, **(IDENTIFIERS | {"Rows": 0}))
    table = tmp_path / "patients.csv"
    table.write_text("id,diagnosis\nMRN-4711-0815,unheard of\nsomebody,B\nsomebody,M\n")
    patients = {"file": table, "patient_id": "id", "label": "diagnosis"}
    config = config_of(root, pattern="", patients=patients)
    said = problems_of(config, tmp_path)
    assert "row 4: says something else of the patient of row 3" in said
    table.write_text("id,diagnosis\nMRN-4711-0815,unheard of\n")
    said += problems_of(config, tmp_path)
    assert "are of patients without a row in dicom.patients" in said and "other.dcm" in said
    assert "have the label 'unheard of', which is not in the config" in said
    assert not any(value in said for value in [*IDENTIFIERS.values(), "SECRET-ID"])


def test_modality_of_tags_then_path_then_config(root: Path, tmp_path: Path) -> None:
    for seed, label in enumerate("BM"):
        make(root / label / f"c{label}-1.dcm", 20 + seed, data=2)
        make(root / label / f"d{label}-1.dcm", 30 + seed, UltrasoundColorDataPresent=1)
    config = config_of(root, ("bmode", "cdfi", "elastography"), default_modality="elastography")
    shown = cohort_of(config, tmp_path).images.set_index("image_id")["modality"].to_dict()
    assert shown == {
        **dict.fromkeys(("B/p1-1", "B/p2-1", "M/p3-1", "M/p4-1"), "bmode"),
        **dict.fromkeys(("B/cB-1", "M/cM-1"), "cdfi"),
        **dict.fromkeys(("B/dB-1", "M/dM-1"), "elastography"),
    }
    said = problems_of(config_of(root, ("bmode", "cdfi")), tmp_path)
    assert "do not say their modality by regions or tags" in said and "dB-1.dcm" in said and "default_modality" in said


def test_a_modality_that_the_path_denies_is_a_problem(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for label in "BM":
        for modality, data in (("grey", 1), ("flow", 2)):
            make(root / modality / label / f"{label}{modality}-1.dcm", ord(label) + data, data=data)
    names = {"bmode": "grey", "cdfi": "flow"}
    config = config_of(root, ("bmode", "cdfi"), pattern="{modality}/{label}/{patient}-{n}", modalities=names)
    assert len(cohort_of(config, tmp_path).images) == 4
    make(root / "grey" / "B" / "x-1.dcm", 99, data=2)
    assert "are cdfi by their regions or tags, but bmode by their path" in problems_of(config, tmp_path)


def test_classes_and_modalities_that_are_not_of_the_study_are_left_out(root: Path, tmp_path: Path) -> None:
    make(root / "N" / "n1-1.dcm", 40)
    make(root / "B" / "flow-1.dcm", 41, data=2)
    labels = {"benign": "B", "malignant": "M", "normal": "N"}
    assert len(cohort_of(config_of(root, labels=labels), tmp_path).images) == 4
    assert "have the label 'N', which is not in the config" in problems_of(config_of(root), tmp_path)


def test_mistakes_of_the_config(root: Path, tmp_path: Path) -> None:
    assert "neither the pattern nor a patient table says the class" in problems_of(
        config_of(root, pattern=""), tmp_path
    )
    assert "'{class}' is not a field" in problems_of(config_of(root, pattern="{class}/{label}"), tmp_path)
    without = config_of(root, pattern="{modality}/{label}/{patient}-{n}")
    assert "config key dicom.modalities: is empty" in problems_of(without, tmp_path)
    table = tmp_path / "patients.csv"
    table.write_text("name,diagnosis\nx,B\n")
    patients = {"file": table, "patient_id": "id", "label": "diagnosis"}
    assert "there is no column 'id'" in problems_of(config_of(root, pattern="", patients=patients), tmp_path)


def test_links_that_leave_the_folder_are_problems(root: Path, tmp_path: Path) -> None:
    outside = make(tmp_path / "outside" / "o-1.dcm", 60)
    (root / "B" / "o-1.dcm").symlink_to(outside)
    assert "is a link that leaves" in problems_of(config_of(root), tmp_path)
    (root / "B" / "o-1.dcm").unlink()
    (root / "B" / "more").symlink_to(outside.parent)
    assert "is a link to a folder" in problems_of(config_of(root), tmp_path)


def test_nothing_is_written_beside_the_output(root: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    cohort_of(config_of(root), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert {path.name for path in tmp_path.iterdir()} <= {"export", "out"}
