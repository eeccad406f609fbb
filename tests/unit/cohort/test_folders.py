"""The folders reader: the two published layouts, odd names, and every kind of bad input with its message."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonogrid.cohort.folders import compile_pattern
from sonogrid.cohort.manifest import Cohort
from sonogrid.cohort.picture_files import open_mask
from sonogrid.cohort.registry import reader_of
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import FoldersSource
from sonogrid.images.examine import read_cohort
from sonogrid.problems import InputError

BUSI = Path(__file__).parents[4] / "shared" / "data" / "busi"


def draw(path: Path, size: tuple[int, int] = (24, 18)) -> Path:
    """Save a picture whose pixels follow from its name, so that no two are the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(path.as_posix().encode()))
    Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


def authors_config(root: Path, **changes: object) -> CohortConfig:
    """The layout of the paper's authors: {2d,cdfi,elastic}/{0,1,2}/<patient>-<n>.jpg."""
    source = {
        "root": root,
        "labels": {"benign": "0", "lymphoma": "1", "metastatic": "2"},
        "modalities": {"bmode": "2d", "cdfi": "cdfi", "elastography": "elastic"},
    }
    return CohortConfig(
        classes=("benign", "lymphoma", "metastatic"),
        modalities=("bmode", "cdfi", "elastography"),
        reader="folders",
        burned_in_text="keep",
        folders=FoldersSource.model_validate(source | changes),
    )


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    root = tmp_path / "released data"
    for modality in ("2d", "cdfi", "elastic"):
        for label in range(3):
            for patient in (f"00{label}", f"7{label}"):
                draw(root / modality / str(label) / f"{patient}-1.jpg")
    draw(root / "2d" / "0" / "000-2.JPG")
    return root


def busi_config(root: Path, **changes: object) -> CohortConfig:
    source = {
        "root": root,
        "pattern": "{label}/{patient}",
        "labels": {"benign": "benign", "malignant": "malignant"},
        "modalities": {"bmode": "any"},
        "mask_suffix": "_mask",
    }
    return CohortConfig(
        classes=("benign", "malignant"),
        modalities=("bmode",),
        reader="folders",
        burned_in_text="keep",
        folders=FoldersSource.model_validate(source | changes),
    )


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    root = tmp_path / "busi"
    for label in ("benign", "malignant"):
        for number in (1, 2):
            draw(root / label / f"{label} ({number}).png")
            mask(root / label / f"{label} ({number})_mask.png", 0)
    mask(root / "benign" / "benign (2)_mask_1.png", 5)
    return root


def mask(path: Path, column: int) -> None:
    pixels = np.zeros((18, 24), dtype=np.uint8)
    pixels[3:6, column : column + 3] = 255
    Image.fromarray(pixels).save(path)


def read(config: CohortConfig, tmp_path: Path, workers: int = 1) -> Cohort:
    return read_cohort(config, 0, tmp_path / "cohort", workers)


def refusal(config: CohortConfig, tmp_path: Path) -> str:
    """Message of the refusal; nothing may have been written but what the next run need not look at again."""
    with pytest.raises(InputError) as caught:
        read(config, tmp_path)
    assert {file.name for file in (tmp_path / "cohort").rglob("*.csv")} <= {"seen.csv"}
    return str(caught.value)


def test_authors_layout(authors: Path, tmp_path: Path) -> None:
    cohort = read(authors_config(authors), tmp_path, workers=2)
    assert cohort.patients["patient_id"].tolist() == ["000", "001", "002", "70", "71", "72"]
    assert cohort.patients["label"].tolist() == ["benign", "lymphoma", "metastatic"] * 2
    assert len(cohort.images) == 19 and cohort.images["image_id"].is_monotonic_increasing
    row = cohort.images.set_index("image_id").loc["2d/0/000-2"]
    assert row["patient_id"] == "000" and row["modality"] == "bmode" and (row["width"], row["height"]) == (24, 18)
    assert row["path"] == (authors / "2d" / "0" / "000-2.JPG").as_posix() and row["mask_path"] == ""
    assert not cohort.images["simulated"].any() and cohort.ceiling is None
    assert [file.name for file in (tmp_path / "cohort").iterdir()] == ["seen.csv"]


def test_steps_are_the_pictures_below_the_root(authors: Path, busi: Path) -> None:
    assert reader_of("folders").steps(authors_config(authors)) == 19
    assert reader_of("folders").steps(busi_config(busi)) == 4


def test_busi_layout_with_masks_beside_the_pictures(busi: Path, tmp_path: Path) -> None:
    cohort = read(busi_config(busi), tmp_path)
    images = cohort.images.set_index("image_id")
    assert images.index.tolist() == [
        f"{label}/{label} ({number})" for label in ("benign", "malignant") for number in (1, 2)
    ]
    assert images.loc["benign/benign (1)", "mask_path"] == (busi / "benign/benign (1)_mask.png").as_posix()
    merged = Path(images.loc["benign/benign (2)", "mask_path"])
    assert merged == tmp_path / "cohort" / "masks" / "benign" / "benign (2).png"
    union = np.zeros((18, 24), dtype=bool)
    union[3:6, 0:3] = union[3:6, 5:8] = True
    assert np.array_equal(open_mask(merged), union)
    made = {file.name for file in (tmp_path / "cohort").rglob("*") if file.is_file()}
    assert made == {"benign (2).png", "seen.csv"}


def test_what_systems_leave_behind_and_documents_are_ignored(authors: Path, tmp_path: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", "README.md", "2d/0/Thumbs.db", "2d/0/.hidden.jpg", "LICENSE"):
        (authors / name).write_text("no picture")
    draw(authors / "__MACOSX" / "2d" / "0" / "000-1.jpg")
    assert len(read(authors_config(authors), tmp_path).images) == 19


def test_spaces_and_letters_of_any_script_in_names(tmp_path: Path) -> None:
    root = tmp_path / "мои данные"
    for label in ("benign", "malignant"):
        for name in (f"Müller {label}", f"李 {label}"):
            draw(root / label / f"{name}.png")
    cohort = read(busi_config(root), tmp_path)
    assert cohort.patients["patient_id"].tolist() == [
        "Müller benign", "Müller malignant", "李 benign", "李 malignant"
    ]  # fmt: skip


def test_one_name_in_two_unicode_forms_is_one_patient(authors: Path, tmp_path: Path) -> None:
    draw(authors / "2d" / "0" / "M\u00fcller-1.jpg")
    draw(authors / "cdfi" / "0" / "Mu\u0308ller-1.jpg")
    cohort = read(authors_config(authors), tmp_path)
    assert (cohort.images["patient_id"] == "M\u00fcller").sum() == 2


def test_classes_and_modalities_that_are_mapped_but_not_used_are_left_out(authors: Path, tmp_path: Path) -> None:
    config = authors_config(authors).model_copy(update={"classes": ("benign", "metastatic"), "modalities": ("cdfi",)})
    cohort = read(config, tmp_path)
    assert set(cohort.patients["label"]) == {"benign", "metastatic"}
    assert set(cohort.images["modality"]) == {"cdfi"} and len(cohort.images) == 4


def test_every_damaged_picture_is_named_with_a_remedy(authors: Path, tmp_path: Path) -> None:
    empty, cut, text = (authors / "cdfi" / "1" / f"{name}-1.jpg" for name in ("001", "71", "9"))
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:300])
    text.write_text("not a picture")
    message = refusal(authors_config(authors), tmp_path)
    assert f"{empty}: is empty (0 bytes). Copy the file again" in message
    assert f"{cut}: is damaged or cut short" in message
    assert f"{text}: is not a picture" in message
    assert message.count("\n") == 2


def test_a_damaged_or_ill_sized_mask_is_named(busi: Path, tmp_path: Path) -> None:
    (busi / "benign" / "benign (1)_mask.png").write_bytes(b"")
    draw(busi / "malignant" / "malignant (1)_mask.png", size=(30, 30))
    message = refusal(busi_config(busi), tmp_path)
    assert "benign (1)_mask.png: is empty" in message
    assert "malignant (1)_mask.png: is 30 x 30 pixels, its picture" in message and "24 x 18" in message


def test_a_mask_without_its_picture_is_named(busi: Path, tmp_path: Path) -> None:
    (busi / "benign" / "benign (1).png").unlink()
    message = refusal(busi_config(busi), tmp_path)
    assert "benign (1)_mask.png: is a mask, but there is no picture benign (1)" in message


def test_an_empty_class_folder_is_named(authors: Path, tmp_path: Path) -> None:
    for file in (authors / "elastic" / "2").iterdir():
        file.unlink()
    shutil.rmtree(authors / "cdfi" / "1")
    message = refusal(authors_config(authors), tmp_path)
    assert f"{authors / 'elastic' / '2'}: holds no picture: class 'metastatic' of modality 'elastography'" in message
    assert f"{authors / 'cdfi' / '1'}: is not there: class 'lymphoma' of modality 'cdfi'" in message
    assert "Add its pictures" in message


def test_a_patient_with_two_labels_is_named_with_its_files(authors: Path, tmp_path: Path) -> None:
    draw(authors / "2d" / "2" / "70-1.jpg")
    message = refusal(authors_config(authors), tmp_path)
    assert "patient '70': has two values of label: 'benign' (" in message
    assert str(authors / "2d" / "0" / "70-1.jpg") in message and str(authors / "2d" / "2" / "70-1.jpg") in message
    assert "Give the patient one label" in message


def test_a_label_or_modality_that_is_not_in_the_config_is_named(authors: Path, tmp_path: Path) -> None:
    draw(authors / "2d" / "3" / "80-1.jpg")
    draw(authors / "doppler" / "0" / "81-1.jpg")
    message = refusal(authors_config(authors), tmp_path)
    assert "80-1.jpg" in message and "label '3' is not in the config. Allowed by folders.labels: 0, 1, 2" in message
    assert "81-1.jpg" in message and "modality 'doppler'" in message and "2d, cdfi, elastic" in message


def test_pictures_that_do_not_fit_the_pattern_are_named(authors: Path, tmp_path: Path) -> None:
    for name in ("2d/0/70.jpg", "2d/0/70-a.jpg", "cdfi/loose.jpg"):
        draw(authors / name)
    message = refusal(authors_config(authors), tmp_path)
    assert f"{authors / '2d' / '0'}: holds pictures that do not fit the pattern" in message
    assert "70-a.jpg, 70.jpg" in message and "loose.jpg" in message and "folders.pattern" in message


def test_files_of_other_kinds_are_named(authors: Path, tmp_path: Path) -> None:
    (authors / "2d" / "0" / "70-3.dcm").write_bytes(b"DICM")
    assert "70-3.dcm: is of a kind that is not read (.dcm)" in refusal(authors_config(authors), tmp_path)


def test_two_pictures_with_one_name_are_named(authors: Path, tmp_path: Path) -> None:
    draw(authors / "2d" / "0" / "70-1.png")
    message = refusal(authors_config(authors), tmp_path)
    assert "have the same image_id '2d/0/70-1'" in message and "70-1.jpg" in message and "70-1.png" in message


def test_links_that_leave_the_root_are_refused(authors: Path, tmp_path: Path) -> None:
    outside = draw(tmp_path / "elsewhere" / "90-1.jpg")
    (authors / "2d" / "0" / "90-1.jpg").symlink_to(outside)
    (authors / "2d" / "0" / "more").symlink_to(outside.parent)
    message = refusal(authors_config(authors), tmp_path)
    assert f"90-1.jpg: is a link that leaves {authors}" in message
    assert "more: is a link to a folder" in message and "Put the pictures themselves below" in message


def test_the_root_itself_may_be_a_link(authors: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(authors)
    assert len(read(authors_config(tmp_path / "link"), tmp_path).images) == 19


def test_a_name_that_is_not_text_is_refused(authors: Path, tmp_path: Path) -> None:
    draw(authors / "2d" / "0" / "7\n0-1.jpg")
    assert "has a name that is not valid text. Rename it" in refusal(authors_config(authors), tmp_path)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{label}/{patent}", "'{patent}' is not a field. Allowed: {label}, {modality}, {patient}, {n}"),
        ("{modality}/{patient}", "{label} is missing"),
        ("{label}/{patient", "'{' is not a field"),
        ("{label.__class__}/{patient}", "'{label.__class__}' is not a field"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        compile_pattern(pattern)
    assert "config key folders.pattern" in str(caught.value) and said in str(caught.value)


def test_pattern_fields() -> None:
    match = compile_pattern("{modality}/{label}/{patient}-{n}").fullmatch("2d/0/A-12-3")
    assert match is not None and match.groupdict() == {"modality": "2d", "label": "0", "patient": "A-12", "n": "3"}
    twice = compile_pattern("{label}/{label} ({patient})")
    assert twice.fullmatch("benign/benign (7)") and not twice.fullmatch("benign/normal (7)")
    assert compile_pattern("a.b/{label}/{patient}").fullmatch("axb/0/1") is None


def test_several_modalities_need_the_field_in_the_pattern(busi: Path, tmp_path: Path) -> None:
    config = busi_config(busi, modalities={"bmode": "a", "cdfi": "b"})
    assert "the pattern has no {modality}" in refusal(config, tmp_path)
