"""The table reader: BUS-BRA as published, other people's CSV files, and every kind of bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonogrid.cohort.manifest import MEASURED_COLUMNS, Cohort
from sonogrid.cohort.registry import reader_of
from sonogrid.cohort.table import fill, read_rows
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import TableSource
from sonogrid.images.examine import read_cohort
from sonogrid.problems import InputError

BUSBRA = Path(__file__).parents[4] / "shared" / "data" / "busbra"
HEADER = "ID,Case,Pathology,Device,Age"
ROWS = (
    "bus_1-l,007,benign,GE,40",
    "bus_1-r,007,benign,GE,40",
    "bus_2-l,NA,malignant,Toshiba,61",
    "bus_3-l,3,malignant,,55",
)


def table_config(file: Path, columns: dict[str, str] | None = None, **changes: object) -> CohortConfig:
    source = {
        "file": file,
        "columns": {"patient_id": "Case", "label": "Pathology", "image_id": "ID", "hospital": "Device"}
        | (columns or {}),
        "labels": {"benign": "benign", "malignant": "malignant"},
        "modalities": {"bmode": "any"},
        "image": "Images/{ID}.png",
    }
    return CohortConfig(
        classes=("benign", "malignant"),
        modalities=("bmode",),
        reader="table",
        burned_in_text="keep",
        table=TableSource.model_validate(source | changes),
    )


def save_pictures(folder: Path, ids: tuple[str, ...], mode: str = "RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(ids):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{name}.png")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table in the form of BUS-BRA with its pictures and masks."""
    root = tmp_path / "data"
    ids = tuple(row.split(",")[0] for row in ROWS)
    save_pictures(root / "Images", ids)
    save_pictures(root / "Masks", tuple(name.replace("bus_", "mask_") for name in ids), "1")
    return write(root / "bus data.csv")


def write(file: Path, header: str = HEADER, rows: tuple[str, ...] = ROWS, ending: str = "\n") -> Path:
    file.write_bytes(ending.join((header, *rows, "")).encode())
    return file


def read(config: CohortConfig, tmp_path: Path) -> Cohort:
    return read_cohort(config, 0, tmp_path / "cohort")


def refusal(config: CohortConfig, tmp_path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(config, tmp_path)
    assert {file.name for file in (tmp_path / "cohort").rglob("*")} <= {"seen.csv"}
    return str(caught.value)


def test_a_table_becomes_patients_and_images(file: Path, tmp_path: Path) -> None:
    config = table_config(
        file, mask="Masks/{ID}.png", mask_replace={"bus_": "mask_"}, clinical=("Age",), columns={"device": "Device"}
    )
    cohort = read(config, tmp_path)
    assert cohort.patients.drop(columns=list(MEASURED_COLUMNS)).to_dict("list") == {
        "patient_id": ["007", "3", "NA"],
        "label": ["benign", "malignant", "malignant"],
        "hospital": ["GE", "unknown", "Toshiba"],
        "simulated": [False] * 3,
        "Age": ["40", "55", "61"],
    }
    assert cohort.images["image_id"].tolist() == ["bus_1-l", "bus_1-r", "bus_2-l", "bus_3-l"]
    assert cohort.images["mask_path"][0] == (file.parent / "Masks" / "mask_1-l.png").as_posix()
    assert cohort.images["device"].tolist() == ["GE", "GE", "Toshiba", ""]
    assert reader_of("table").steps(config) == 4


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_line_ends_and_a_byte_order_mark_read_the_same(
    file: Path, tmp_path: Path, ending: str, mark: bytes
) -> None:
    write(file, ending=ending)
    file.write_bytes(mark + file.read_bytes())
    rows = read_rows(file)
    assert list(rows) == [2, 3, 4, 5]
    assert rows[4] == {"ID": "bus_2-l", "Case": "NA", "Pathology": "malignant", "Device": "Toshiba", "Age": "61"}
    assert len(read(table_config(file), tmp_path).images) == 4


def test_quoted_cells_empty_lines_and_outer_spaces(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(' a ,b\n"1, one", x \n\n,\n"say ""hi""",Mu\u0308ller\n', encoding="utf-8")
    assert read_rows(file) == {2: {"a": "1, one", "b": "x"}, 5: {"a": 'say "hi"', "b": "M\u00fcller"}}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_that_is_not_utf8_is_refused_with_its_row_and_byte(file: Path, tmp_path: Path, mark: bytes) -> None:
    content = mark + "\n".join((HEADER, ROWS[0], "bus_9,Müller,benign,GE,1")).encode("latin-1")
    file.write_bytes(content)
    message = refusal(table_config(file), tmp_path)
    assert f"{file}, row 3: is not UTF-8 (byte 0xfc at position {content.index(0xFC)})" in message
    assert "Save it as 'CSV UTF-8" in message


def test_utf16_is_refused(file: Path, tmp_path: Path) -> None:
    file.write_text(HEADER, encoding="utf-16")
    assert "is UTF-16 text and not UTF-8. Save it as" in refusal(table_config(file), tmp_path)


def test_missing_columns_are_named_with_those_present_and_the_nearest(file: Path, tmp_path: Path) -> None:
    write(file, header="ID,Csae,pathology,Device,Age")
    message = refusal(table_config(file), tmp_path)
    assert f"{file}, row 1: there is no column 'Case'. Did you mean 'Csae'?" in message
    assert "there is no column 'Pathology'. Did you mean 'pathology'?" in message
    assert "Its columns: ID, Csae, pathology, Device, Age" in message


def test_another_separator_is_recognised(file: Path, tmp_path: Path) -> None:
    write(file, HEADER.replace(",", ";"), tuple(row.replace(",", ";") for row in ROWS))
    assert "It seems to be separated by ';': save it with commas" in refusal(table_config(file), tmp_path)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((*ROWS, "bus_4-l,4,benign"), "row 6: has 3 cells, the header has 5"),
        ((), "has no rows"),
        ((*ROWS, 'bus_4-l,"4,benign,GE,1'), "is not a well-formed CSV"),
    ],
)
def test_a_malformed_table_is_refused(file: Path, tmp_path: Path, rows: tuple[str, ...], said: str) -> None:
    write(file, rows=rows)
    assert said in refusal(table_config(file), tmp_path)


def test_a_column_named_twice_is_refused(file: Path, tmp_path: Path) -> None:
    write(file, header="ID,Case,Pathology,Device,Case")
    assert "row 1: names columns twice: 'Case'. Rename them" in refusal(table_config(file), tmp_path)


def test_empty_cells_unknown_labels_and_missing_files_are_named_by_row(file: Path, tmp_path: Path) -> None:
    write(
        file,
        rows=(
            *ROWS,
            "bus_4-l,,benign,GE,1",
            "bus_1-l,5,Benign,GE,1",
            "bus_1-l,6,Benign,GE,1",
            "bus_7,7,benign,GE,1",
        ),
    )
    message = refusal(table_config(file), tmp_path)
    assert "row 6: column 'Case' is empty. Fill it in" in message
    assert "row 7, 8: Pathology 'Benign' is not in the config. Allowed: benign, malignant" in message
    assert f"row 9: there is no file {file.parent / 'Images' / 'bus_7.png'}. Add it" in message
    assert message.count("\n") == 2


@pytest.mark.parametrize("value", ["../../secret", "..", "/etc/passwd", "C:\\x", "\\\\server\\x", "a/../../x", "..\\x"])
def test_paths_that_leave_the_folder_are_refused(file: Path, tmp_path: Path, value: str) -> None:
    save_pictures(tmp_path, ("secret",))
    write(file, rows=(*ROWS, f"{value},9,benign,GE,1"))
    message = refusal(table_config(file), tmp_path)
    assert f"row 6: column 'ID' holds {value!r}, a path that leaves the table's folder" in message


def test_links_that_leave_the_folder_are_refused(file: Path, tmp_path: Path) -> None:
    save_pictures(tmp_path, ("secret",))
    (file.parent / "Images" / "bus_9.png").symlink_to(tmp_path / "secret.png")
    write(file, rows=(*ROWS, "bus_9,9,benign,GE,1"))
    message = refusal(table_config(file), tmp_path)
    assert f"row 6: leads to {file.parent / 'Images' / 'bus_9.png'}, which is outside" in message


def test_the_config_may_place_pictures_beside_the_tables_folder(file: Path, tmp_path: Path) -> None:
    (file.parent / "meta").mkdir()
    moved = write(file.parent / "meta" / "table.csv")
    assert len(read(table_config(moved, image="../Images/{ID}.png"), tmp_path).images) == 4


def test_a_patient_with_two_labels_hospitals_or_ages_is_named_with_its_rows(file: Path, tmp_path: Path) -> None:
    rows = ("bus_1-l,007,benign,GE,40", "bus_1-r,007,malignant,Toshiba,41", *ROWS[2:])
    message = refusal(table_config(write(file, rows=rows), clinical=("Age",)), tmp_path)
    assert f"patient '007': has two values of label: 'benign' ({file}, row 2); 'malignant' ({file}, row 3)" in message
    assert "has two values of hospital: 'GE'" in message and "leave table.columns.hospital out" in message
    assert "has two values of Age: '40'" in message and "take 'Age' out of table.clinical" in message


def test_size_of_a_pixel_is_read_from_the_columns_that_say_it(file: Path, tmp_path: Path) -> None:
    scales = ("0.1,0.001", "10,0.499", ",", "0.4,")
    scaled = tuple(f"{row},{scale}" for row, scale in zip(ROWS, scales, strict=True))
    write(file, header=f"{HEADER},X,Y", rows=scaled)
    config = table_config(file, columns={"mm_per_pixel_x": "X", "mm_per_pixel_y": "Y"})
    images = read(config, tmp_path).images.set_index("image_id")
    assert images.loc[["bus_1-l", "bus_1-r"], "mm_per_pixel_x"].isin([0.1, 10.0]).all()
    assert images["mm_per_pixel_y"].dropna().sum() == 0.5


@pytest.mark.parametrize("scale", ["0,0.1", "-1,0.1", "nan,0.1", "inf,0.1", "wide,0.1", "0.1,0.0009", "10.1,0.1"])
def test_a_size_of_a_pixel_that_is_none_is_named_by_row(file: Path, tmp_path: Path, scale: str) -> None:
    write(file, header=f"{HEADER},X,Y", rows=tuple(f"{row},{scale}" for row in ROWS))
    message = refusal(table_config(file, columns={"mm_per_pixel_x": "X", "mm_per_pixel_y": "Y"}), tmp_path)
    assert "row 2: mm per pixel is" in message and "row 5: mm per pixel is" in message
    assert "Write two numbers from 0.001 to 10, or none" in message


def test_an_image_id_given_twice_is_named_with_its_rows(file: Path, tmp_path: Path) -> None:
    message = refusal(table_config(write(file, rows=(*ROWS, ROWS[0]))), tmp_path)
    assert f"{file}, row 2, {file}, row 6: have the same image_id 'bus_1-l'" in message


def test_a_damaged_picture_is_named(file: Path, tmp_path: Path) -> None:
    (file.parent / "Images" / "bus_2-l.png").write_bytes(b"")
    assert "bus_2-l.png: is empty (0 bytes)" in refusal(table_config(file), tmp_path)


def test_a_class_without_rows_is_named(file: Path, tmp_path: Path) -> None:
    config = table_config(write(file, rows=ROWS[:2]))
    assert "class 'malignant': has no image. Add pictures" in refusal(config, tmp_path)


def test_an_empty_cell_of_the_mask_path_means_no_mask(file: Path, tmp_path: Path) -> None:
    header, rows = HEADER.replace("Age", "Mask"), tuple(row.rpartition(",")[0] + "," for row in ROWS[1:])
    write(file, header, ("bus_1-l,007,benign,GE,mask_1-l", *rows))
    cohort = read(table_config(file, mask="Masks/{Mask}.png"), tmp_path)
    assert [bool(path) for path in cohort.images["mask_path"]] == [True, False, False, False]


def test_modalities_from_a_column(file: Path, tmp_path: Path) -> None:
    modalities = ("B", "C", "B", "C")
    write(file, f"{HEADER},Mode", tuple(f"{row},{mode}" for row, mode in zip(ROWS, modalities, strict=True)))
    config = table_config(file, columns={"modality": "Mode"}, modalities={"bmode": "B", "cdfi": "C"})
    both = config.model_copy(update={"modalities": ("bmode", "cdfi")})
    assert read(both, tmp_path).images["modality"].tolist() == ["bmode", "cdfi", "bmode", "cdfi"]
    assert read(config, tmp_path).images["image_id"].tolist() == ["bus_1-l", "bus_2-l"]


def test_without_an_id_column_the_path_is_the_id(file: Path, tmp_path: Path) -> None:
    config = table_config(file, columns={"image_id": None})
    assert read(config, tmp_path).images["image_id"][0] == "Images/bus_1-l"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": "Images/{ID.png"}, "config key table.image: 'Images/{ID.png' has a brace without its partner"),
        ({"image": "{ID.__class__}.png"}, "there is no column 'ID.__class__'"),
        ({"image": "{0}.png"}, "there is no column '0'"),
        ({"modalities": {"bmode": "a", "cdfi": "b"}}, "although no column says the modality"),
        ({"labels": {"benign": "x", "malignant": "x"}}, "gives one value two meanings"),
        ({"clinical": ("Agee",)}, "there is no column 'Agee'. Did you mean 'Age'?"),
    ],
)
def test_mistakes_in_the_mapping_are_named(file: Path, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    assert said in refusal(table_config(file, **changes), tmp_path)


def test_templates_take_values_literally() -> None:
    assert fill("a/{X}-{Y}.png", {"X": "{Y}", "Y": "\\1"}) == "a/{Y}-\\1.png"
    assert fill("{X}", {"X": "bus_1"}, {"bus_": "mask_"}) == "mask_1"


@pytest.mark.skipif(not BUSBRA.is_dir(), reason="the shared real data are not there")
def test_busbra_as_published(tmp_path: Path) -> None:
    config = table_config(
        BUSBRA / "bus_data.csv",
        columns={"device": "Device"},
        mask="Masks/{ID}.png",
        mask_replace={"bus_": "mask_"},
        clinical=("Histology",),
    )
    cohort = read_cohort(config, 0, tmp_path / "cohort", workers=2)
    assert len(cohort.patients) == 532 and len(cohort.images) == 935
    assert cohort.patients["hospital"].nunique() == 4 and set(cohort.images["modality"]) == {"bmode"}
    assert all(Path(mask).is_file() for mask in cohort.images["mask_path"])
