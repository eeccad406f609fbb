"""The manifest: its files survive a round trip, and a cohort that breaks a law is refused with all of it."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sonogrid.cohort.manifest import IMAGE_COLUMNS, Cohort, check_laws, load, save_cohort
from sonogrid.cohort.phantom.reader import PhantomReader
from sonogrid.cohort.sources import Reading
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import PhantomSource
from sonogrid.images import examine
from sonogrid.images.examine import read_cohort
from sonogrid.problems import InputError, Problem

CLASSES, MODALITIES = ("benign", "malignant"), ("bmode", "cdfi")


def cohort() -> Cohort:
    patients = pd.DataFrame(
        {
            "patient_id": ["007", "7", "NA", "nan"],
            "label": ["benign", "malignant", "benign", "malignant"],
            "hospital": ["unknown", "null", "a, b", 'say "x"'],
            "simulated": [False] * 4,
            "stage": ["", "01", "NA", "2"],
        }
    )
    rows = [
        {
            "image_id": f"{patient}/{modality}",
            "patient_id": patient,
            "modality": modality,
            "path": f"data ü/{patient} {modality}.png",
            "decoder": "dicom" if number == 1 else "pictures",
            "decoding": '{"frame": 12}' if number == 1 else "",
            "masked": "5 6 20 9; 30 6 44 9" if number == 1 else "",
            "sha256": f"{number:064x}",
            "width": 100 + number,
            "height": 80,
            "mask_path": "",
            "device": "",
            "simulated": False,
        }
        for number, (patient, modality) in enumerate(
            (patient, modality) for patient in patients["patient_id"] for modality in MODALITIES
        )
    ]
    images = pd.DataFrame(rows, columns=list(IMAGE_COLUMNS))
    for side, value in zip(("scan_x0", "scan_y0", "scan_x1", "scan_y1"), (3, 4, 90, 70), strict=True):
        images[side] = pd.array([value] + [pd.NA] * 7, dtype="Int64")
    for axis in ("mm_per_pixel_x", "mm_per_pixel_y"):
        images[axis] = [0.1 + 0.2] + [float("nan")] * 7
    return Cohort(patients, images)


def message(of: Cohort) -> str:
    with pytest.raises(InputError) as caught:
        check_laws(of, CLASSES, MODALITIES)
    return str(caught.value)


def test_ids_that_look_like_numbers_or_nothing_survive_a_round_trip(tmp_path: Path) -> None:
    saved = cohort()
    save_cohort(saved, tmp_path)
    loaded = load(tmp_path)
    pd.testing.assert_frame_equal(loaded.patients, saved.patients)
    pd.testing.assert_frame_equal(loaded.images, saved.images)
    assert loaded.ceiling is None
    assert loaded.images["mm_per_pixel_x"][0] == 0.1 + 0.2


def test_files_are_as_described(tmp_path: Path) -> None:
    save_cohort(Cohort(cohort().patients[::-1], cohort().images[::-1], {"bmode": {"cohort_auc": 0.9}}), tmp_path)
    lines = (tmp_path / "manifest.csv").read_bytes().decode().split("\n")
    assert lines[0] == ",".join(IMAGE_COLUMNS) and lines[-1] == ""
    third = "0.30000000000000004"
    scan = f"3,4,90,70,,{third},{third}"
    assert lines[1] == f"007/bmode,007,bmode,data ü/007 bmode.png,pictures,,{0:064x},100,80,,{scan},,False"
    masked = "5 6 20 9; 30 6 44 9"
    decoded = 'dicom,"{""frame"": 12}"'
    assert lines[2] == f"007/cdfi,007,cdfi,data ü/007 cdfi.png,{decoded},{1:064x},101,80,,,,,,{masked},,,,False"
    assert (
        (tmp_path / "patients.csv")
        .read_text()
        .startswith("patient_id,label,hospital,simulated,stage\n007,benign,unknown,False,\n7,malignant,null,False,01\n")
    )
    assert load(tmp_path).ceiling == {"bmode": {"cohort_auc": 0.9}}
    made = ["ceiling.json", "manifest.csv", "patients.csv", "refused.csv"]
    assert sorted(file.name for file in tmp_path.iterdir()) == made
    assert (tmp_path / "refused.csv").read_text() == "file,reason,remedy\n"


def test_refused_files_survive_a_round_trip(tmp_path: Path) -> None:
    refused = (Problem("a, b.dcm", 'says "x"', "Remove it"), Problem("ü.dcm", "is cut short", "Copy it again"))
    save_cohort(replace(cohort(), refused=refused), tmp_path)
    assert load(tmp_path).refused == refused


def test_a_lawful_cohort_passes() -> None:
    check_laws(cohort(), CLASSES, MODALITIES)


def test_a_patient_with_two_labels_is_named_with_its_files() -> None:
    broken = cohort()
    second = broken.patients.iloc[[0]].assign(label="malignant")
    said = message(Cohort(pd.concat([broken.patients, second]), broken.images))
    assert "patient '007' (files data ü/007 bmode.png, data ü/007 cdfi.png)" in said
    assert "has 2 entries, with labels benign, malignant. Give every patient one label" in said


def test_everything_that_is_wrong_is_said_at_once() -> None:
    broken = cohort()
    broken.patients.loc[1, "label"] = "cancer"
    broken.images.loc[2, "image_id"] = "007/bmode"
    broken.images.loc[5, "modality"] = "mri"
    broken.images.loc[7, "patient_id"] = "lost"
    said = message(broken)
    assert "label 'cancer' of patient 7: is not in the config. Allowed here: benign, malignant" in said
    assert "data ü/007 bmode.png, data ü/7 bmode.png: have the same image_id '007/bmode'. Give every picture a" in said
    assert "modality 'mri' of patient NA: is not in the config. Allowed here: bmode, cdfi" in said
    assert "patient 'lost': has images but no entry" in said


def test_classes_and_modalities_without_images_are_named() -> None:
    one = cohort()
    with pytest.raises(InputError) as caught:
        check_laws(one, (*CLASSES, "normal"), (*MODALITIES, "elastography"))
    assert [problem.where for problem in caught.value.problems] == ["class 'normal'", "modality 'elastography'"]
    keep = ~((one.images["modality"] == "cdfi") & one.images["patient_id"].isin(["007", "NA"]))
    assert "class 'benign' of modality 'cdfi': has no image" in message(Cohort(one.patients, one.images[keep]))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("patients.csv", "label", "lable", r"patients\.csv: lacks the columns label"),
        ("manifest.csv", "sha256", "sha", r"manifest\.csv: lacks the columns sha256"),
        ("manifest.csv", ",100,80,", ",wide,80,", r"row 2, column width: must be a whole number of pixels\. "),
        ("manifest.csv", ",103,80,", ",103,-8,", r"row 5, column height: must be a whole number of pixels\. "),
        ("manifest.csv", ",3,4,90,70,", ",3,4,9.5,70,", r"row 2, column scan_x1: must be .*, or empty\. "),
        ("manifest.csv", ",0.30000000000000004,,F", ",?,,F", "column mm_per_pixel_y: must be a number of mm, or empty"),
        (
            "manifest.csv",
            "0.30000000000000004",
            "inf",
            r"row 2, column mm_per_pixel_x: must be a number of mm",
        ),
        (
            "manifest.csv",
            '"{""frame"": 12}"',
            "{frame:",
            r"row 3, column decoding: must be a JSON object",
        ),
        ("manifest.csv", '"{""frame"": 12}"', "[12]", r"row 3, column decoding: must be a JSON object such as \{"),
        ("manifest.csv", '"{""frame"": 12}"', "[" * 100_000, r"column decoding: .* or empty\. "),
        ("manifest.csv", ",False", ",maybe", r"row 2, .*, row 6 and 3 more, column simulated: .* False\. "),
        ("patients.csv", "null,False", "null,no", r"patients\.csv, row 3, column simulated: must be True or False\. "),
        ("patients.csv", "7,malignant,", "7,malignant,a,b,c,", r"patients\.csv: is not a CSV table in UTF-8 \("),
        ("patients.csv", "False", "False,x", "rows have more cells than the header"),
        ("manifest.csv", "False\n", "False,\n", "rows have more cells than the header"),
        ("ceiling.json", "0.9", "0.9.1", r"ceiling\.json: is not JSON in UTF-8 \("),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    save_cohort(replace(cohort(), ceiling={"bmode": {"cohort_auc": 0.9}}), tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new))
    with pytest.raises(InputError, match=said) as caught:
        load(tmp_path)
    assert "(snakemake --forcerun cohort; of a corpus: --forcerun corpus_cohort)" in str(caught.value)


def test_every_wrong_cell_is_told_at_once(tmp_path: Path) -> None:
    save_cohort(cohort(), tmp_path)
    for file, old, new in (("manifest.csv", ",100,80,", ",wide,high,"), ("patients.csv", "null,False", "null,no")):
        (tmp_path / file).write_text((tmp_path / file).read_text().replace(old, new))
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    columns = [problem.where.rsplit(maxsplit=1)[-1] for problem in caught.value.problems]
    assert columns == ["simulated", "width", "height"]


def test_a_clinical_column_may_have_the_name_of_a_column_of_images(tmp_path: Path) -> None:
    one = cohort()
    save_cohort(replace(one, patients=one.patients.assign(width="broad")), tmp_path)
    assert load(tmp_path).patients["width"].tolist() == ["broad"] * 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"patients\.csv: there is no such file"):
        load(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises((OSError, InputError), match="results"):
        save_cohort(cohort(), tmp_path / "results" / "cohort")


def test_what_any_reader_returns_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lawful = cohort()
    broken = Cohort(lawful.patients, lawful.images[lawful.images["modality"] == "bmode"])
    monkeypatch.setattr(examine, "assemble", lambda *_: broken)
    monkeypatch.setattr(PhantomReader, "read", lambda *_: Reading(()))
    config = CohortConfig(
        classes=CLASSES, modalities=MODALITIES, reader="phantom", phantom=PhantomSource.model_validate({})
    )
    with pytest.raises(InputError, match="modality 'cdfi': has no image"):
        read_cohort(config, 0, tmp_path)


def test_what_an_earlier_cohort_made_does_not_survive(tmp_path: Path) -> None:
    one = cohort()
    old, kept = tmp_path / "pictures" / "bmode" / "old.png", tmp_path / "pictures" / "bmode" / "kept.png"
    old.parent.mkdir(parents=True)
    old.touch()
    kept.touch()
    save_cohort(Cohort(one.patients, one.images, {"bmode": {"cohort_auc": 0.9}}), tmp_path)
    assert not (tmp_path / "pictures").exists() or not any((tmp_path / "pictures").iterdir())
    paths = [str(kept), *one.images["path"][1:]]
    old.parent.mkdir(parents=True)
    old.touch()
    kept.touch()
    save_cohort(Cohort(one.patients, one.images.assign(path=paths)), tmp_path)
    assert kept.exists()
    assert not old.exists()
    assert not (tmp_path / "ceiling.json").exists()


@pytest.mark.parametrize("other", ["Ab", "a b", "a\u00a0b ", "ａb", "a\u200bb"])
def test_one_patient_spelt_in_two_ways_is_refused(other: str) -> None:
    one = cohort()
    plain = "a b" if " " in other or "\u00a0" in other else "ab"
    other = other if other != plain else "A B"
    rename = dict(zip(one.patients["patient_id"].iloc[:2], (plain, other), strict=True))
    patients = one.patients.assign(patient_id=one.patients["patient_id"].replace(rename))
    images = one.images.assign(patient_id=one.images["patient_id"].replace(rename))
    said = message(Cohort(patients, images))
    assert "look alike" in said
    assert ascii(other) in said


def test_a_source_picture_below_the_output_survives_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = cohort()
    kept = [tmp_path / "out" / kind / f"{kind}.png" for kind in ("pictures", "masks")]
    empty = tmp_path / "out" / "masks" / "gone" / "deeper"
    for folder in (kept[0].parent, empty):
        folder.mkdir(parents=True)
    for file in (*kept, empty / "old.png"):
        file.touch()
    monkeypatch.chdir(tmp_path)
    paths = ["out/../out/pictures/pictures.png", *one.images["path"][1:]]
    masks = ["out/masks/masks.png", *one.images["mask_path"][1:]]
    save_cohort(Cohort(one.patients, one.images.assign(path=paths, mask_path=masks)), Path("out"))
    assert all(file.exists() for file in kept)
    assert not empty.parent.exists()
