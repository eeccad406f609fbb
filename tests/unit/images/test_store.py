"""The store: its bytes and index, what it refuses to be built from, and what it refuses to open."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sonogrid.files import sha256
from sonogrid.images.boxes import Box
from sonogrid.images.geometry import letterbox
from sonogrid.images.store import INDEX_COLUMNS, build, canonical, open_store
from sonogrid.pictures import open_picture
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
                "sha256": sha256(path),
            }
        )
    frame = pd.DataFrame(rows)
    for side in ("scan_x0", "scan_y0", "scan_x1", "scan_y1"):
        frame[side] = pd.array([pd.NA] * count, dtype="Int64")
    return frame


def test_rows_of_array_and_index_belong_together(tmp_path: Path) -> None:
    images = manifest(tmp_path)
    build(images, 32, tmp_path / "out" / "bmode.npy", tmp_path / "out" / "bmode.csv")
    store = open_store(tmp_path / "out" / "bmode.npy", tmp_path / "out" / "bmode.csv")
    assert tuple(store.index.columns) == INDEX_COLUMNS
    assert store.index["patient_id"].tolist() == ["NA", "01", "02", "03", "04"]
    assert store.index["image_id"].tolist() == images["image_id"].tolist()
    assert store.pixels.shape == (5, 32, 32, 3) and isinstance(store.pixels, np.memmap)
    assert not store.pixels.flags.writeable
    for row, path in zip(store.pixels, images["path"], strict=True):
        assert np.array_equal(row, letterbox(open_picture(Path(path)), 32)[0])
    assert store.index["scale"].tolist() == [32 / (40 + number) for number in range(5)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["bmode.csv", "bmode.npy"]


def test_scan_area_of_the_manifest_wins(tmp_path: Path) -> None:
    images = manifest(tmp_path, 1)
    for side, value in zip(("scan_x0", "scan_y0", "scan_x1", "scan_y1"), (5, 4, 25, 24), strict=True):
        images[side] = pd.array([value], dtype="Int64")
    build(images, 20, tmp_path / "a.npy", tmp_path / "a.csv")
    store = open_store(tmp_path / "a.npy", tmp_path / "a.csv")
    assert np.array_equal(store.pixels[0], open_picture(Path(images["path"][0]))[4:24, 5:25])
    assert store.index.loc[0, ["scan_x0", "scan_y0", "scan_x1", "scan_y1"]].tolist() == [5, 4, 25, 24]


def test_canonical_says_where_the_picture_lies() -> None:
    picture = np.full((60, 100, 3), 200, dtype=np.uint8)
    made = canonical(picture, 20, Box(10, 10, 50, 30))
    assert made.scan == Box(10, 10, 50, 30) and made.place == (0.5, 0, 5)
    assert (made.canvas[5:15] == 200).all()


def test_same_images_give_the_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    images = manifest(tmp_path, 12)
    for workers in (1, 3):
        build(images, 16, tmp_path / f"{workers}.npy", tmp_path / f"{workers}.csv", workers=workers)
    assert (tmp_path / "1.npy").read_bytes() == (tmp_path / "3.npy").read_bytes()
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


def test_every_bad_picture_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    images = manifest(tmp_path)
    cut, changed = Path(images["path"][1]), Path(images["path"][3])
    cut.write_bytes(cut.read_bytes()[:200])
    Image.new("RGB", (8, 8)).save(changed)
    images.loc[4, ["scan_x0", "scan_y0", "scan_x1", "scan_y1"]] = [0, 0, 500, 500]
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError) as caught:
        build(images, 16, tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv")
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert f"{cut}: is damaged or cut short" in message
    assert f"{changed}: has changed since the cohort was read. Read the cohort again" in message
    assert "'004'" in message and "not inside a picture of 44 x 30" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupted_build_leaves_no_file(tmp_path: Path) -> None:
    images = manifest(tmp_path)

    def interrupt(note: str = "", steps: int = 1) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(images, 16, tmp_path / "out" / "a.npy", tmp_path / "out" / "a.csv", interrupt, workers=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    images = manifest(tmp_path, 1)
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises((OSError, InputError), match="results"):
        build(images, 16, tmp_path / "results" / "a.npy", tmp_path / "results" / "a.csv")


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
        pd.read_csv(csv, dtype=str).drop(columns="scale").to_csv(csv, index=False)


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
    build(manifest(tmp_path), 16, npy, csv)
    damaged(kind, npy, csv)
    with pytest.raises(InputError, match=said) as caught:
        open_store(npy, csv)
    assert "build the store again" in str(caught.value)


def test_images_of_two_modalities_or_none_are_a_programming_error(tmp_path: Path) -> None:
    images = manifest(tmp_path, 2)
    for wrong in (images.iloc[:0], images.assign(modality=["bmode", "cdfi"])):
        with pytest.raises(ValueError, match="one modality"):
            build(wrong, 16, tmp_path / "a.npy", tmp_path / "a.csv")
