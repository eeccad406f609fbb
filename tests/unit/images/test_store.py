"""The store: its bytes and index, what it refuses to be built from, and what it refuses to open."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from colour_maps import STIFFNESS_MAPS
from PIL import Image

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.picture_files import PictureFiles, open_picture
from sonogrid.config.cohort import ScreenLayout
from sonogrid.config.images import Canvas
from sonogrid.files import sha256
from sonogrid.images.canvas import canonical
from sonogrid.images.colour import encode_stiffness
from sonogrid.images.framing import SCAN, Framing
from sonogrid.images.geometry import letterbox
from sonogrid.images.store import INDEX_COLUMNS, build, open_store
from sonogrid.problems import InputError


def manifest(folder: Path, count: int = 5) -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        path = folder / f"näme {number}.png"
        Image.fromarray(random.integers(20, 220, (30, 40 + number, 3), dtype=np.uint8)).save(path)
        rows.append(
            {
                "image_id": f"00{number}",
                "patient_id": "NA" if number == 0 else f"0{number}",
                "modality": "bmode",
                "path": str(path),
                "decoder": "pictures",
                "decoding": "",
                "sha256": sha256(path),
                "device": "",
                "masked": "",
                **dict(zip(SCAN, (0, 0, 40 + number, 30), strict=True)),
                **dict.fromkeys(("mm_per_pixel_x", "mm_per_pixel_y"), None),
            }
        )
    return pd.DataFrame(rows)


def test_rows_of_array_and_index_belong_together(tmp_path: Path) -> None:
    images = manifest(tmp_path)
    build(images, Canvas(size=32), tmp_path / "out" / "bmode.npy", tmp_path / "out" / "bmode.csv")
    store = open_store(tmp_path / "out" / "bmode.npy", tmp_path / "out" / "bmode.csv")
    assert tuple(store.index.columns) == INDEX_COLUMNS
    assert store.index["patient_id"].tolist() == ["NA", "01", "02", "03", "04"]
    assert store.index["image_id"].tolist() == images["image_id"].tolist()
    assert store.pixels.shape == (5, 32, 32, 3) and isinstance(store.pixels, np.memmap)
    assert not store.pixels.flags.writeable
    for row, path in zip(store.pixels, images["path"], strict=True):
        assert np.array_equal(row, letterbox(open_picture(Path(path)), 32)[0])
    for axis in ("scale_x", "scale_y"):
        assert store.index[axis].tolist() == [32 / (40 + number) for number in range(5)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["bmode.csv", "bmode.npy", "bmode_made.csv"]


def test_scan_area_of_the_manifest_wins(tmp_path: Path) -> None:
    images = manifest(tmp_path, 1)
    images[list(SCAN)] = [5, 4, 25, 24]
    build(images, Canvas(size=20), tmp_path / "a.npy", tmp_path / "a.csv")
    store = open_store(tmp_path / "a.npy", tmp_path / "a.csv")
    assert np.array_equal(store.pixels[0], open_picture(Path(images["path"][0]))[4:24, 5:25])
    assert store.index.loc[0, ["scan_x0", "scan_y0", "scan_x1", "scan_y1"]].tolist() == [5, 4, 25, 24]


def test_canonical_says_where_the_picture_lies() -> None:
    picture = np.full((60, 100, 3), 200, dtype=np.uint8)
    made = canonical(picture, Framing(Box(10, 10, 50, 30)), 20)
    assert made.place == (0.5, 0.5, 0, 5)
    assert (made.canvas[5:15] == 200).all()


def test_masked_boxes_are_black_and_the_picture_is_not_changed() -> None:
    picture = np.full((60, 100, 3), 200, dtype=np.uint8)
    made = canonical(picture, Framing(Box(0, 0, 100, 60), (Box(10, 20, 30, 40),)), 100)
    expected = picture.copy()
    expected[20:40, 10:30] = 0
    assert np.array_equal(made.canvas[20:80], expected) and (picture == 200).all()


def test_same_images_give_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    images = manifest(tmp_path, 12)
    for workers in (1, 3):
        build(images, Canvas(size=16), tmp_path / f"{workers}.npy", tmp_path / f"{workers}.csv", workers=workers)
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "3.npy").read_bytes()
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


def test_every_bad_picture_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    images = manifest(tmp_path)
    cut, changed = Path(images["path"][1]), Path(images["path"][3])
    cut.write_bytes(cut.read_bytes()[:200])
    images.loc[1, "sha256"] = sha256(cut)
    Image.new("RGB", (8, 8)).save(changed)
    images.loc[4, list(SCAN)] = [0, 0, 500, 500]
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        build(images, Canvas(size=16), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv")
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert f"{cut}: is damaged or cut short" in message
    assert f"{changed}: has changed since the cohort was read. Read the cohort again" in message
    assert "'004'" in message and "not inside a picture of 44 x 30" in message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("column", "value", "said", "remedy"),
    [
        ("decoding", '{"frame": 1', "must be a JSON object, or empty", "Read the cohort again"),
        ("decoding", "[1]", "must be a JSON object, or empty", "Read the cohort again"),
        ("masked", "1 2 3", "must be boxes 'x0 y0 x1 y1; x0 y0 x1 y1', or empty", "Read the cohort"),
        ("masked", "a b c d", "or empty", "Read the cohort again"),
        ("scan_y1", None, "must be a whole number of pixels", "Read the cohort again"),
        ("scan_x1", 500, "scan area (0, 0, 500, 30) is not inside", "Correct the scan area"),
        ("mm_per_pixel_y", 0.0, "mm per pixel must be above 0, not 0.1 and 0.0", "Correct mm per pixel"),
        ("mm_per_pixel_y", -0.1, "a pixel -1 times as wide as high", "Correct mm per pixel"),
        ("decoder", "nifti", "is not known", "Read the cohort again"),
    ],
)
def test_a_cell_that_makes_no_canvas_is_named_with_its_own_remedy(
    column: str, value: object, said: str, remedy: str, tmp_path: Path
) -> None:
    images = manifest(tmp_path, 2)
    images["mm_per_pixel_x"] = images["mm_per_pixel_y"] = 0.1
    images[column] = images[column].astype(object)
    images.loc[1, column] = value
    with pytest.raises(InputError) as caught:
        build(images, Canvas(size=16), tmp_path / "a.npy", tmp_path / "a.csv")
    (problem,) = caught.value.problems
    assert said in problem.what and problem.remedy.startswith(remedy)
    assert "--forcerun cohort" in problem.remedy
    assert ("mm per pixel" in problem.remedy) == column.startswith("mm")
    if "must be" in said and not column.startswith("mm"):
        assert problem.where == f"{images['path'][1]} (image_id '001'), column {column} of the manifest"


@pytest.mark.parametrize("decoding", ["", "{}", '{"frame": "first"}', '{"frame": null}', '{"frame": true}'])
def test_a_row_of_a_dicom_file_must_name_a_frame(decoding: str, tmp_path: Path) -> None:
    images = manifest(tmp_path, 1).assign(decoder="dicom", decoding=decoding)
    with pytest.raises(InputError, match=r"column decoding of the manifest: must .* with a frame, as .*"):
        build(images, Canvas(size=16), tmp_path / "a.npy", tmp_path / "a.csv")


def test_an_interrupted_build_leaves_no_file(tmp_path: Path) -> None:
    images = manifest(tmp_path)

    def interrupt(note: str = "", steps: int = 1) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(images, Canvas(size=16), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv", interrupt, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    images = manifest(tmp_path, 1)
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises((OSError, InputError), match="results"):
        build(images, Canvas(size=16), tmp_path / "results" / "a.npy", tmp_path / "results" / "a.csv")


def damaged(kind: str, npy: Path, csv: Path) -> None:
    if kind == "no index":
        csv.unlink()
    if kind == "no array":
        npy.unlink()
    if kind == "short array":
        npy.write_bytes(npy.read_bytes()[:-10])
    if kind == "other dtype":
        np.save(npy, np.zeros((5, 16, 16, 3), dtype=np.float32))
    if kind == "no canvas":
        np.save(npy, np.zeros((5, 16, 20, 3), dtype=np.uint8))
    if kind == "other count":
        np.save(npy, np.zeros((4, 16, 16, 3), dtype=np.uint8))
    if kind == "objects":
        np.save(npy, np.array([{}], dtype=object), allow_pickle=True)
    if kind == "rows out of order":
        pd.read_csv(csv, dtype=str).iloc[::-1].to_csv(csv, index=False)
    if kind == "lost column":
        pd.read_csv(csv, dtype=str).drop(columns="scale_x").to_csv(csv, index=False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no index", r"a\.csv: is missing"),
        ("no array", r"a\.npy: is missing"),
        ("short array", r"a\.npy: cannot be read"),
        ("other dtype", "is float32"),
        ("no canvas", r"\(5, 16, 20, 3\)"),
        ("other count", "holds 4 images, its index 5"),
        ("objects", r"a\.npy: cannot be read"),
        ("rows out of order", "must number its rows"),
        ("lost column", "must have the columns"),
    ],
)
def test_a_damaged_store_is_refused_with_a_remedy(tmp_path: Path, kind: str, said: str) -> None:
    npy, csv = tmp_path / "a.npy", tmp_path / "a.csv"
    build(manifest(tmp_path), Canvas(size=16), npy, csv)
    damaged(kind, npy, csv)
    with pytest.raises(InputError, match=said) as caught:
        open_store(npy, csv)
    assert "build the store again" in str(caught.value)


def test_images_of_two_modalities_or_none_are_a_programming_error(tmp_path: Path) -> None:
    images = manifest(tmp_path, 2)
    for wrong in (images.iloc[:0], images.assign(modality=["bmode", "cdfi"])):
        with pytest.raises(ValueError, match="one modality"):
            build(wrong, Canvas(size=16), tmp_path / "a.npy", tmp_path / "a.csv")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that are decoded."""
    names: list[str] = []

    def note(self: object, path: Path, decoding: object) -> Picture:
        names.append(path.name)
        return open_picture(path)

    monkeypatch.setattr(PictureFiles, "decode", note)
    return names


def test_a_second_build_takes_canvases_from_the_first(tmp_path: Path, decoded: list[str]) -> None:
    images, npy, csv = manifest(tmp_path), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv"
    assert build(images, Canvas(size=16), npy, csv) == 5
    first = npy.read_bytes(), csv.read_bytes()
    decoded.clear()
    assert build(images, Canvas(size=16), npy, csv, workers=2) == 0
    assert (npy.read_bytes(), csv.read_bytes()) == first and decoded == []


def test_only_what_changed_is_made_anew(tmp_path: Path, decoded: list[str]) -> None:
    images, npy, csv = manifest(tmp_path), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv"
    build(images, Canvas(size=16), npy, csv)
    changed = Path(images["path"][2])
    Image.fromarray(np.full((30, 42, 3), 99, dtype=np.uint8)).save(changed)
    images.loc[2, "sha256"] = sha256(changed)
    images.loc[3, "masked"] = "2 2 9 9"
    images.loc[4, "mm_per_pixel_x"], images.loc[4, "mm_per_pixel_y"] = 0.1, 0.3
    fewer_and_reordered = images.iloc[[4, 2, 3, 0]].reset_index(drop=True)
    decoded.clear()
    assert build(fewer_and_reordered, Canvas(size=16), npy, csv) == 3
    assert sorted(decoded) == ["näme 2.png", "näme 3.png", "näme 4.png"]
    partly = npy.read_bytes(), csv.read_bytes()
    build(fewer_and_reordered, Canvas(size=16), tmp_path / "new" / "a.npy", tmp_path / "new" / "a.csv")
    assert partly == ((tmp_path / "new" / "a.npy").read_bytes(), (tmp_path / "new" / "a.csv").read_bytes())


@pytest.mark.parametrize("lost", ["a_made.csv", "a.csv", "a.npy"])
def test_without_its_memory_a_store_is_built_whole(tmp_path: Path, lost: str) -> None:
    images, npy, csv = manifest(tmp_path), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv"
    build(images, Canvas(size=16), npy, csv)
    (tmp_path / "out" / lost).unlink()
    assert build(images, Canvas(size=16), npy, csv) == 5
    assert build(images, Canvas(size=20), npy, csv) == 5


def test_a_damaged_canvas_is_made_again(tmp_path: Path) -> None:
    images, npy, csv = manifest(tmp_path), tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv"
    build(images, Canvas(size=16), npy, csv)
    whole = npy.read_bytes()
    npy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert build(images, Canvas(size=16), npy, csv) == 1
    assert npy.read_bytes() == whole


def test_pixels_that_are_not_square_keep_the_physical_aspect(tmp_path: Path) -> None:
    images = manifest(tmp_path, 1).assign(mm_per_pixel_x=0.1, mm_per_pixel_y=0.2)
    build(images, Canvas(size=60), tmp_path / "a.npy", tmp_path / "a.csv")
    store = open_store(tmp_path / "a.npy", tmp_path / "a.csv")
    # 40 x 30 pixels are 4 mm x 6 mm: the height fills the canvas, the width is two thirds of it.
    assert store.index.loc[0, ["scale_x", "scale_y", "left", "top"]].tolist() == [1.0, 2.0, 10, 0]
    assert (store.pixels[0].max(axis=(0, 2)) > 0).nonzero()[0].tolist() == list(range(10, 50))


def elastogram(folder: Path, bar: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """A simulated screen: grey speckle, stiffness rising from left to right inside a box, and a colour bar."""
    colours = STIFFNESS_MAPS["simulated_north"]
    grey = np.random.default_rng(0).uniform(0.1, 0.9, (200, 300)).astype(np.float32)
    stiffness = np.broadcast_to(np.linspace(0, 1, 300, dtype=np.float32), (200, 300))
    inside = np.zeros((200, 300), dtype=bool)
    inside[40:160, 60:240] = True
    screen = np.zeros((240, 400, 3), dtype=np.uint8)
    screen[20:220, 80:380] = encode_stiffness(stiffness, grey, colours, 0.6, inside)
    if bar:
        along = np.rint(np.linspace(255, 0, 150)).astype(int)
        screen[40:190, 20:32] = np.rint(colours[along])[:, None, :].astype(np.uint8)
    Image.fromarray(screen).save(folder / "elastogram.png")
    row = manifest(folder, 1).iloc[0].to_dict() | {"modality": "elastography", "path": str(folder / "elastogram.png")}
    row |= {"sha256": sha256(folder / "elastogram.png")} | dict(zip(SCAN, (80, 20, 380, 220), strict=True))
    return pd.DataFrame([row]), inside


def test_stiffness_is_decoded_by_the_bar_beside_the_scan_area(tmp_path: Path) -> None:
    images, inside = elastogram(tmp_path, bar=True)
    build(images, Canvas(size=300, channels="stiffness"), tmp_path / "a.npy", tmp_path / "a.csv")
    canvas = open_store(tmp_path / "a.npy", tmp_path / "a.csv").pixels[0][50:250]
    expected = 255 * np.linspace(0, 1, 300)
    assert np.array_equal(canvas[..., 1] == 255, inside)
    assert np.abs(canvas[..., 0] - expected)[inside].mean() < 0.02 * 255
    assert not canvas[..., 0][~inside].any()


def test_the_other_end_of_the_bar_is_hard_where_the_layout_says_so(tmp_path: Path) -> None:
    images, inside = elastogram(tmp_path, bar=True)
    layouts = {"*": ScreenLayout(high_end="bottom")}
    build(images, Canvas(size=300, channels="stiffness", layouts=layouts), tmp_path / "a.npy", tmp_path / "a.csv")
    canvas = open_store(tmp_path / "a.npy", tmp_path / "a.csv").pixels[0][50:250]
    assert np.abs(canvas[..., 0] - 255 * np.linspace(1, 0, 300))[inside].mean() < 0.02 * 255


def test_without_a_colour_bar_nothing_is_guessed(tmp_path: Path) -> None:
    images, _ = elastogram(tmp_path, bar=False)
    with pytest.raises(InputError, match=r"elastogram\.png .* no colour bar is found\. Set cohort\.layouts\.DEVICE"):
        build(images, Canvas(size=30, channels="stiffness"), tmp_path / "a.npy", tmp_path / "a.csv")
    assert not (tmp_path / "a.npy").exists()
