"""From pictures to a cohort: framing, what a second run looks at again, what is refused, and what pseudonyms hide."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicoms import write
from PIL import Image

from sonogrid.arrays import Box, Picture
from sonogrid.cohort.folders import FoldersReader
from sonogrid.cohort.manifest import Cohort, save_cohort
from sonogrid.cohort.picture_files import open_mask, open_picture
from sonogrid.cohort.sources import Reading, RefusedFile, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.files import sha256
from sonogrid.images.boxes import boxes_from_text
from sonogrid.images.examine import assemble
from sonogrid.images.messages import TextRemains
from sonogrid.problems import InputError, Problem

SCAN = Box(20, 10, 100, 70)
CONFIG: dict[str, Any] = {
    "classes": ["benign", "malignant"],
    "modalities": ["bmode"],
    "reader": "folders",
    "folders": {"root": "none", "labels": {"benign": "b", "malignant": "m"}, "modalities": {"bmode": "x"}},
    "burned_in_text": "keep",
}

DICOM = {"reader": "dicom", "dicom": {"root": "none", "labels": {"benign": "b", "malignant": "m"}}}


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


def made(folder: Path, of: list[Source], refused: list[RefusedFile] | None = None, **changes: Any) -> Cohort:
    return assemble(config(**changes), Reading(of, refused=refused or []), folder, 1)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the pictures that are decoded."""
    names: list[str] = []

    def note(self: object, path: Path, decoding: object) -> Picture:
        names.append(path.name)
        return open_picture(path)

    monkeypatch.setattr(FoldersReader, "decode", note)
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
        assemble(config(), Reading(sources(tmp_path)), tmp_path / "out", 1, interrupt)
    decoded.clear()
    made(tmp_path / "out", sources(tmp_path))
    assert decoded == ["MRN-3.png"]


def test_a_damaged_memory_is_no_obstacle(tmp_path: Path) -> None:
    first = made(tmp_path / "out", sources(tmp_path))
    seen = tmp_path / "out" / "seen.csv"
    good = seen.read_bytes()
    row = b"key,sha256,mask_sha256,width,height,scan,masked,long_mm,short_mm\na,b,,c,1,,,,\n"
    beyond = [good.replace(b"20 10 100 70,", box) for box in (b"20 10 121 70,", b"20 10 20 70,", b"-1 10 100 70,")]
    masked = good.replace(b"20 10 100 70,", b"20 10 100 70,90 60 100 81")
    for content in (b"\xff\xfe\x00", b"key,sha256\nx", row, good + b"7" * 200_000, *beyond, masked):
        assert content != good
        seen.write_bytes(content)
        assert made(tmp_path / "out", sources(tmp_path)).images.equals(first.images)
        assert seen.read_bytes() == good


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
    frame = Source(image_id="x", patient_id="x", **known, decoding={"frame": 0})
    other = (Path("other.dcm"), Problem("other.dcm", "is no picture", "Remove it"))
    for number in range(2):
        write(tmp_path / f"{number}.dcm", picture(number))
    frames = [
        dataclasses.replace(one, path=tmp_path / f"{number}.dcm", decoding={"frame": 0})
        for number, one in enumerate(good)
    ]
    found = made(tmp_path / "out", [*frames, frame], [other], **DICOM)
    assert len(found.images) == 2 and len(found.refused) == 2
    with pytest.raises(InputError, match=r"x\.dcm: is not a picture"):
        made(tmp_path / "out", [*good, Source(image_id="x", patient_id="x", **known)])


def test_nothing_left_after_refusals_is_an_error_that_lists_them(tmp_path: Path) -> None:
    known = {"origin": "x", "label": "benign", "modality": "bmode", "path": tmp_path / "gone.dcm"}
    with pytest.raises(InputError, match=r"(?s)gone\.dcm: .*leads to no picture"):
        made(tmp_path / "out", [Source(image_id="x", patient_id="x", **known, decoding={"frame": 0})], **DICOM)


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
    path = tmp_path / "MRN-9.dcm"
    broken = Problem(f"{path}, Rows (0028,0010)", f"is damaged ({str(path)!r})", "Copy it again")
    found = made(tmp_path / "results", of, [(path, broken)], pseudonym_key=str(key_file(tmp_path)))
    save_cohort(found, tmp_path / "results")
    files = [file for file in (tmp_path / "results").rglob("*") if file.is_file()]
    assert len(files) == 4 + 4 + 4  # pictures, masks, and patients, manifest, refused, seen
    for file in files:
        assert b"MRN" not in file.read_bytes() and "MRN" not in file.name
    lookup = (tmp_path / "keys" / "study.key.lookup.csv").read_text()
    for row in found.images.to_dict("records"):
        assert f"{row['patient_id']},MRN-" in lookup and f"{row['image_id']},MRN-" in lookup
    name, tag = found.refused[0].where.split(", ")
    assert tag == "Rows (0028,0010)" and found.refused[0].what == f"is damaged ('{name}')"
    assert f"{name},{path},file" in lookup


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


def test_a_damaged_copy_or_mask_is_made_again(tmp_path: Path, decoded: list[str]) -> None:
    key = {"pseudonym_key": str(key_file(tmp_path))}
    of = sources(tmp_path, masks=masks(tmp_path))
    first = made(tmp_path / "results", of, **key)
    for column in ("path", "mask_path"):
        file = Path(first.images[column][1])
        whole = file.read_bytes()
        file.write_bytes(whole[:-7])
        decoded.clear()
        assert made(tmp_path / "results", of, **key).images.equals(first.images)
        assert file.read_bytes() == whole and len(decoded) == 1


def masks(folder: Path, at: int = 40) -> tuple[Path, Path]:
    """Two masks in one column of the picture."""
    files = []
    for part, y in enumerate((20, 50)):
        mask = np.zeros((80, 120), dtype=np.uint8)
        mask[y : y + 10, at : at + 10] = 255
        files.append(folder / f"MRN-mask-{at}-{part}.png")
        Image.fromarray(mask).save(files[-1])
    return files[0], files[1]


@pytest.mark.parametrize("with_key", [False, True])
def test_pictures_that_swap_their_names_take_their_masks_along(tmp_path: Path, with_key: bool) -> None:
    key = {"pseudonym_key": str(key_file(tmp_path))} if with_key else {}
    one, two, *_ = sources(tmp_path)
    one, two = replace(one, masks=masks(tmp_path, 40)), replace(two, masks=masks(tmp_path, 70))
    swapped = [replace(one, image_id=two.image_id), replace(two, image_id=one.image_id)]
    for of in ([one, two], swapped, [one, two]):
        found = made(tmp_path / "results", of, **key)
        # Patients keep their pictures, so the columns of their masks stay too.
        shown = {
            row["patient_id"]: int(np.flatnonzero(open_mask(Path(row["mask_path"])).any(axis=0))[0])
            for row in found.images.to_dict("records")
        }
        assert sorted(shown.values()) == [40, 70]
        columns = [shown[patient] for patient in found.patients.sort_values("label")["patient_id"]]
        assert columns == [70, 40]


def test_ids_that_look_alike_are_found_before_they_are_renamed(tmp_path: Path) -> None:
    one, two = (replace(source, label="benign") for source in sources(tmp_path, 2))
    alike = [replace(one, patient_id="MRN1"), replace(two, patient_id="mrn1")]
    with pytest.raises(InputError) as caught:
        made(tmp_path / "results", alike, pseudonym_key=str(key_file(tmp_path)))
    (problem,) = caught.value.problems
    assert "look alike" in problem.what and "mrn" not in str(problem).lower()
    lookup = (tmp_path / "keys" / "study.key.lookup.csv").read_text().splitlines()
    for patient in ("MRN1", "mrn1"):
        (name,) = (row.split(",")[0] for row in lookup if row.split(",")[1:] == [patient, "patient"])
        assert name in problem.where


def test_a_damaged_lookup_is_found_before_any_picture_is_read(tmp_path: Path, decoded: list[str]) -> None:
    key = key_file(tmp_path)
    key.with_name("study.key.lookup.csv").write_text("pseudonym;of;what\n")
    with pytest.raises(InputError, match=r"lookup\.csv"):
        made(tmp_path / "results", sources(tmp_path), pseudonym_key=str(key))
    assert decoded == [] and not (tmp_path / "results").exists()


def test_the_lookup_resolves_the_messages_of_a_first_run_that_fails(tmp_path: Path) -> None:
    of = sources(tmp_path, 2, masks=masks(tmp_path))
    of[0].path.write_bytes(b"no picture")
    Image.fromarray(np.zeros((7, 7), dtype=np.uint8)).save(of[1].masks[0])
    with pytest.raises(InputError) as caught:
        made(tmp_path / "results", of, pseudonym_key=str(key_file(tmp_path)))
    assert len(caught.value.problems) == 2 and "MRN" not in str(caught.value)
    lookup = (tmp_path / "keys" / "study.key.lookup.csv").read_text()
    for problem, path in zip(caught.value.problems, (of[0].path, of[1].masks[0]), strict=True):
        assert f"{problem.where},{path},file" in lookup


def test_copies_keep_the_colour_bar_of_the_layout(tmp_path: Path) -> None:
    framed = picture(0)
    framed[10:60, 2:12] = np.random.default_rng(5).integers(0, 256, (50, 10, 3))
    Image.fromarray(framed).save(tmp_path / "MRN-0.png")
    key = {"pseudonym_key": str(key_file(tmp_path))}
    for bar, device in (([2, 10, 12, 60], "A"), ([3, 20, 9, 55], "A"), ([3, 20, 9, 55], "*")):
        layout = {device: {"colour_bar": bar, "scan": list(SCAN)}}
        found = made(tmp_path / "results", sources(tmp_path, 1, device="A"), layouts=layout, **key)
        x0, y0, x1, y1 = bar
        expected = picture(0)
        expected[y0:y1, x0:x1] = framed[y0:y1, x0:x1]
        assert np.array_equal(open_picture(Path(found.images["path"][0])), expected)


def test_a_colour_bar_outside_the_picture_is_a_problem(tmp_path: Path) -> None:
    layout = {"*": {"colour_bar": [110, 10, 121, 60]}}
    with pytest.raises(InputError, match=r"colour bar \(110, 10, 121, 60\) is not inside a picture of 120 x 80"):
        made(tmp_path / "a", sources(tmp_path, 1), layouts=layout, pseudonym_key=str(key_file(tmp_path)))


def test_problems_under_a_key_name_pseudonyms(tmp_path: Path) -> None:
    one, two = sources(tmp_path, 2)
    contradiction = [one, Source(**(vars(two) | {"patient_id": one.patient_id}))]
    with pytest.raises(InputError) as caught:
        made(tmp_path / "results", contradiction, pseudonym_key=str(key_file(tmp_path)))
    assert "two values of label" in str(caught.value) and "MRN" not in str(caught.value)
