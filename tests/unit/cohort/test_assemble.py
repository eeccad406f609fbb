"""From pictures to a cohort: framing, what a second run looks at again, what is refused, and what pseudonyms hide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sonogrid.cohort import assemble as room
from sonogrid.cohort.assemble import Source, assemble
from sonogrid.cohort.manifest import Cohort, save
from sonogrid.config_cohort import CohortConfig
from sonogrid.files import sha256
from sonogrid.images.boxes import Box, boxes_from_text
from sonogrid.images.text import TextRemains
from sonogrid.pictures import Picture, open_picture
from sonogrid.problems import InputError, Problem, Problems

SCAN = Box(20, 10, 100, 70)
CONFIG: dict[str, Any] = {
    "classes": ["benign", "malignant"],
    "modalities": ["bmode"],
    "reader": "folders",
    "folders": {"root": "none", "labels": {"benign": "b", "malignant": "m"}, "modalities": {"bmode": "x"}},
    "burned_in_text": "keep",
}


def config(**changes: Any) -> CohortConfig:
    return CohortConfig.model_validate(CONFIG | changes)


def picture(number: int) -> Picture:
    """Speckle inside SCAN, black beside it."""
    pixels = np.zeros((80, 120, 3), dtype=np.uint8)
    speckle = np.random.default_rng(number).integers(30, 220, (60, 80, 1), dtype=np.uint8)
    pixels[SCAN.y0 : SCAN.y1, SCAN.x0 : SCAN.x1] = speckle
    return pixels


def sources(folder: Path, count: int = 4, **more: Any) -> list[Source]:
    made = []
    for number in range(count):
        path = folder / f"MRN-{number}.png"
        if not path.exists():
            Image.fromarray(picture(number)).save(path)
        label = "benign" if number % 2 else "malignant"
        known = {"origin": str(path), "image_id": f"MRN-{number}/1", "patient_id": f"MRN-{number}"}
        made.append(Source(**known, label=label, modality="bmode", path=path, **more))
    return made


def made(folder: Path, of: list[Source], refused: list[Problem] | None = None, **changes: Any) -> Cohort:
    return assemble(config(**changes), of, Problems(), folder, 1, lambda note="", steps=1: None, refused or [])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the pictures that are decoded."""
    names: list[str] = []

    def note(path: Path, frame: int | None = None) -> Picture:
        names.append(path.name)
        return open_picture(path, frame)

    monkeypatch.setattr(room, "open_picture", note)
    yield names


def scans(cohort: Cohort) -> list[tuple[int, ...]]:
    rows = cohort.images[["scan_x0", "scan_y0", "scan_x1", "scan_y1"]].itertuples(index=False)
    return [tuple(map(int, row)) for row in rows]


def test_the_layout_of_the_device_wins_then_what_the_source_tells_then_detection(tmp_path: Path) -> None:
    layout = {"scan": [30, 20, 90, 60]}
    assert scans(made(tmp_path / "a", sources(tmp_path))) == [tuple(SCAN)] * 4
    assert scans(made(tmp_path / "b", sources(tmp_path, scan=Box(25, 15, 95, 65)))) == [(25, 15, 95, 65)] * 4
    told = sources(tmp_path, scan=Box(25, 15, 95, 65), device="D 1")
    assert scans(made(tmp_path / "c", told, layouts={"D 1": layout})) == [(30, 20, 90, 60)] * 4
    assert scans(made(tmp_path / "d", told, layouts={"other": layout})) == [(25, 15, 95, 65)] * 4
    assert scans(made(tmp_path / "e", told, layouts={"*": layout})) == [(30, 20, 90, 60)] * 4


def test_a_scan_area_outside_is_an_error_that_names_the_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        made(tmp_path / "a", sources(tmp_path, 2, scan=Box(0, 0, 121, 80)))
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2 and "MRN-0.png: scan area (0, 0, 121, 80) is not inside a picture of 120 x 80" in told[0]


def test_a_second_run_looks_at_nothing_and_says_the_same(tmp_path: Path, decoded: list[str]) -> None:
    first = made(tmp_path / "out", sources(tmp_path))
    assert len(decoded) == 4
    second = made(tmp_path / "out", sources(tmp_path))
    assert len(decoded) == 4
    assert second.images.equals(first.images) and second.patients.equals(first.patients)


def test_a_second_run_looks_at_what_is_new_or_changed(tmp_path: Path, decoded: list[str]) -> None:
    made(tmp_path / "out", sources(tmp_path))
    decoded.clear()
    Image.fromarray(picture(77)).save(tmp_path / "MRN-2.png")
    found = made(tmp_path / "out", sources(tmp_path, 5))
    assert decoded == ["MRN-2.png", "MRN-4.png"]
    assert found.images.set_index("image_id").loc["MRN-2/1", "sha256"] == sha256(tmp_path / "MRN-2.png")
    decoded.clear()
    made(tmp_path / "out", sources(tmp_path, 5), layouts={"*": {"scan": [30, 20, 90, 60]}})
    assert len(decoded) == 5


def test_a_run_that_was_cut_short_keeps_what_it_saw(tmp_path: Path, decoded: list[str]) -> None:
    steps: list[str] = []

    def interrupt(note: str = "", steps_done: int = 1, **_: Any) -> None:
        steps.append(note)
        if len(steps) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assemble(config(), sources(tmp_path), Problems(), tmp_path / "out", 1, interrupt)
    decoded.clear()
    made(tmp_path / "out", sources(tmp_path))
    assert decoded == ["MRN-3.png"]


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    first = made(tmp_path / "out", sources(tmp_path))
    row = b"key,sha256,width,height,scan,masked,long_mm,short_mm\na,b,c,1,,,,\n"
    for content in (b"\xff\xfe\x00", b"key,sha256\nx", row):
        (tmp_path / "out" / "seen.csv").write_bytes(content)
        assert made(tmp_path / "out", sources(tmp_path)).images.equals(first.images)


def test_a_patient_does_not_depend_on_the_others(tmp_path: Path) -> None:
    together = made(tmp_path / "a", sources(tmp_path, 4))
    for number, source in enumerate(sources(tmp_path, 4)):
        alone = made(tmp_path / f"b{number}", [source])
        for table in ("images", "patients"):
            rows = getattr(together, table)
            rows = rows[rows["patient_id"] == source.patient_id].reset_index(drop=True)
            assert rows.equals(getattr(alone, table))


def test_text_found_in_the_scan_is_noted_in_pixels_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sonogrid.images.text.text_to_mask", lambda scan: [Box(1, 2, 11, 6)])
    found = made(tmp_path / "out", sources(tmp_path), burned_in_text="mask")
    assert [boxes_from_text(text) for text in found.images["masked"]] == [(Box(21, 12, 31, 16),)] * 4
    assert made(tmp_path / "out", sources(tmp_path)).images["masked"].tolist() == [""] * 4


def test_a_picture_whose_text_remains_is_refused_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = picture(1)[SCAN.y0 : SCAN.y1, SCAN.x0 : SCAN.x1]

    def text_to_mask(scan: Picture) -> list[Box]:
        if np.array_equal(scan, unreadable):
            raise TextRemains("readable text is left in 1 place")
        return []

    monkeypatch.setattr("sonogrid.images.text.text_to_mask", text_to_mask)
    found = made(tmp_path / "out", sources(tmp_path), burned_in_text="mask")
    assert found.patients["patient_id"].tolist() == ["MRN-0", "MRN-2", "MRN-3"]
    (refused,) = found.refused
    assert refused.where.endswith("MRN-1.png") and "readable text" in refused.what and "layouts" in refused.remedy


def test_a_frame_that_cannot_be_decoded_is_refused_a_picture_is_an_error(tmp_path: Path) -> None:
    good = sources(tmp_path, 2)
    (tmp_path / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\7" * 50)
    known = {"origin": "x", "label": "benign", "modality": "bmode", "path": tmp_path / "x.dcm"}
    frame = Source(image_id="x", patient_id="x", **known, frame=0)
    found = made(tmp_path / "out", [*good, frame], [Problem("other.dcm", "is no picture", "Remove it")])
    assert len(found.images) == 2 and len(found.refused) == 2
    with pytest.raises(InputError, match=r"x\.dcm: is not a picture"):
        made(tmp_path / "out", [*good, Source(image_id="x", patient_id="x", **known)])


def test_nothing_left_after_refusals_is_an_error_that_lists_them(tmp_path: Path) -> None:
    known = {"origin": "x", "label": "benign", "modality": "bmode", "path": tmp_path / "gone.dcm"}
    with pytest.raises(InputError, match=r"(?s)gone\.dcm: .*leads to no picture"):
        made(tmp_path / "out", [Source(image_id="x", patient_id="x", **known, frame=0)])


def test_size_of_a_pixel_and_axes_of_the_lesion_reach_the_patient(tmp_path: Path) -> None:
    y, x = np.mgrid[:80, :120]
    mask = np.uint8(255) * (((x - 59.5) / 20) ** 2 + ((y - 39.5) / 10) ** 2 <= 1)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    of = sources(tmp_path, 2, masks=(tmp_path / "mask.png",), mm_per_pixel=(0.1, 0.2))
    found = made(tmp_path / "out", of)
    assert found.images["mm_per_pixel_x"].tolist() == [0.1, 0.1]
    assert found.images["mm_per_pixel_y"].tolist() == [0.2, 0.2]
    # An ellipse of 40 x 20 pixels is a disc of 4 mm.
    assert found.patients["measured_long_axis_mm"].tolist() == pytest.approx([4.0] * 2, rel=0.02)
    assert found.patients["measured_short_axis_mm"].tolist() == pytest.approx([4.0] * 2, rel=0.02)


def key_file(folder: Path) -> Path:
    file = folder / "keys" / "study.key"
    file.parent.mkdir(exist_ok=True)
    file.write_text("k" * 40)
    file.chmod(0o600)
    return file


def test_with_a_key_no_id_of_the_source_is_below_the_results_folder(tmp_path: Path) -> None:
    mask = np.zeros((80, 120), dtype=np.uint8)
    mask[30:50, 40:80] = 255
    Image.fromarray(mask).save(tmp_path / "MRN-mask.png")
    of = sources(tmp_path, 4, masks=(tmp_path / "MRN-mask.png",))
    broken = Problem(str(tmp_path / "MRN-9.dcm"), "is damaged", "Copy it again")
    found = made(tmp_path / "results", of, [broken], pseudonym_key=str(key_file(tmp_path)))
    save(found, tmp_path / "results")
    files = [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
    assert len(files) == 4 + 4 + 4  # pictures, masks, and patients, manifest, refused, seen
    for file in files:
        assert b"MRN" not in file.read_bytes() and "MRN" not in file.name
    lookup = (tmp_path / "keys" / "study.key.lookup.csv").read_text()
    for row in found.images.to_dict("records"):
        assert f"{row['patient_id']},MRN-" in lookup and f"{row['image_id']},MRN-" in lookup
    assert f"{found.refused[0].where},{tmp_path}/MRN-9.dcm,file" in lookup


def test_copies_under_pseudonyms_hold_the_scan_area_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "MRN-0.png"
    framed = picture(0)
    framed[2:8, 5:60] = 255  # a name above the scan
    Image.fromarray(framed).save(path)
    found = made(tmp_path / "results", sources(tmp_path, 1), pseudonym_key=str(key_file(tmp_path)))
    (row,) = found.images.to_dict("records")
    copy = open_picture(Path(row["path"]))
    assert np.array_equal(copy, picture(0))
    assert row["sha256"] == sha256(Path(row["path"])) and (row["width"], row["height"]) == (120, 80)


def test_a_lost_copy_is_made_again(tmp_path: Path) -> None:
    key = str(key_file(tmp_path))
    first = made(tmp_path / "results", sources(tmp_path), pseudonym_key=key)
    Path(first.images["path"][1]).unlink()
    second = made(tmp_path / "results", sources(tmp_path), pseudonym_key=key)
    assert second.images.equals(first.images) and Path(first.images["path"][1]).is_file()


def test_problems_under_a_key_name_pseudonyms(tmp_path: Path) -> None:
    one, two = sources(tmp_path, 2)
    contradiction = [one, Source(**(vars(two) | {"patient_id": one.patient_id}))]
    with pytest.raises(InputError) as caught:
        made(tmp_path / "results", contradiction, pseudonym_key=str(key_file(tmp_path)))
    assert "two values of label" in str(caught.value) and "MRN" not in str(caught.value)
