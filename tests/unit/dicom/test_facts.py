"""What a header says: regions, mm per pixel, modality, device; and that no identifier but the patient's id is read."""

import logging
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import IDENTIFIERS, pillow_code, region, scene, write
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from sonogrid.arrays import Box
from sonogrid.dicom.facts import HeaderFacts, read_facts
from sonogrid.dicom.pixels import read_frame
from sonogrid.problems import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom"
SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
BAR, SPECTRUM, TRACE = (0, 14), (3, 3), (4, 10)


def facts_of(path: Path, *regions: Dataset, height: int = 60, width: int = 100, **elements: object) -> HeaderFacts:
    return read_facts(write(path / "f.dcm", scene(height, width), regions=regions, **elements))


def test_size_and_frames_are_those_of_the_pixels(tmp_path: Path) -> None:
    cine = np.stack([scene(20, 30)] * 4)
    facts = read_facts(write(tmp_path / "c.dcm", cine))
    assert (facts.frames, facts.height, facts.width) == (4, *read_frame(tmp_path / "c.dcm", 3).shape[:2])


def test_a_region_is_the_scan_area_with_its_last_column_and_row(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, region((10, 5, 79, 54), cm=(0.02, 0.03)))
    assert facts.scan == Box(10, 5, 80, 55) and facts.views == (facts.scan,)
    assert facts.mm_per_pixel == pytest.approx((0.2, 0.3))
    assert facts.notes == ()


def test_without_regions_nothing_is_told(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    assert (facts.regions, facts.views, facts.scan, facts.mm_per_pixel, facts.modality) == ((), (), None, None, None)


def test_other_regions_are_no_views(tmp_path: Path) -> None:
    others = [region((0, 0, 9, 9), *kind) for kind in (BAR, SPECTRUM, TRACE, (5, 0), (2, 1))]
    facts = facts_of(tmp_path, *others, region((20, 0, 99, 59)))
    assert facts.scan == Box(20, 0, 100, 60) and len(facts.notes) == 5
    with pytest.raises(InputError, match="tells of no 2D region"):
        facts_of(tmp_path, *others)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        ((0, 0, 99, 59), Box(0, 0, 100, 60)),
        ((0, 0, 100, 60), Box(0, 0, 100, 60)),
        ((50, 10, 300, 40), Box(50, 10, 100, 41)),
        ((50, 10, 90, 300), Box(50, 10, 91, 60)),
        ((99, 59, 99, 59), Box(99, 59, 100, 60)),
    ],
)
def test_regions_are_clipped_to_the_pixels(tmp_path: Path, box: tuple[int, int, int, int], kept: Box) -> None:
    assert facts_of(tmp_path, region(box)).scan == kept


@pytest.mark.parametrize("box", [(100, 0, 200, 59), (0, 60, 99, 100), (40, 0, 39, 59), (2**32 - 1, 0, 99, 59)])
def test_a_region_outside_is_dropped_and_told(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    facts = facts_of(tmp_path, region(box), region((5, 6, 89, 49)))
    assert facts.scan == Box(5, 6, 90, 50) and facts.notes == ("region 1 lies outside the pixels",)
    with pytest.raises(InputError, match="region 1 lies outside the pixels"):
        facts_of(tmp_path, region(box))


def test_regions_of_a_larger_picture_are_not_believed(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, region((20, 10, 150, 90)), PixelSpacing=[0.1, 0.1])
    assert (facts.scan, facts.mm_per_pixel) == (None, None)
    assert facts.notes == ("region 1 is of a larger picture than this one",)


def test_dual_views_keep_both_and_a_colour_box_is_part_of_its_view(tmp_path: Path) -> None:
    left, right, box = region((0, 0, 48, 59)), region((51, 0, 99, 59)), region((60, 10, 80, 40), data=2)
    facts = facts_of(tmp_path, right, box, left)
    assert facts.views == (Box(0, 0, 49, 60), Box(51, 0, 100, 60))
    assert facts.scan == Box(0, 0, 100, 60)
    assert [one.data_type for one in facts.regions] == [1, 1, 2]


@pytest.mark.parametrize(
    ("cm", "unit", "mm"),
    [
        ((0.01, 0.02), 3, (0.1, 0.2)),
        ((-0.01, -0.02), 3, (0.1, 0.2)),
        ((0.01, 0.02), 0, None),
        ((0.01, 0.02), 4, None),
        ((0.0, 0.02), 3, None),
        ((float("nan"), 0.02), 3, None),
        ((float("inf"), 0.02), 3, None),
        ((5.0, 5.0), 3, None),
    ],
)
def test_mm_per_pixel(tmp_path: Path, cm: tuple[float, float], unit: int, mm: tuple[float, float] | None) -> None:
    found = facts_of(tmp_path, region((0, 0, 99, 59), cm=cm, unit=unit)).mm_per_pixel
    assert found == (None if mm is None else pytest.approx(mm))


def test_views_of_different_scale_have_no_common_one(tmp_path: Path) -> None:
    left, right = region((0, 0, 48, 59), cm=(0.02, 0.02)), region((51, 0, 99, 59), cm=(0.021, 0.02))
    facts = facts_of(tmp_path, left, right)
    assert facts.mm_per_pixel is None
    assert [one.mm_per_pixel for one in facts.regions] == [pytest.approx((0.2, 0.2)), pytest.approx((0.21, 0.2))]


def test_pixel_spacing_names_rows_first_and_counts_without_regions(tmp_path: Path) -> None:
    assert facts_of(tmp_path, PixelSpacing=[0.3, 0.2]).mm_per_pixel == pytest.approx((0.2, 0.3))
    assert facts_of(tmp_path, ImagerPixelSpacing=[0.3, 0.2]).mm_per_pixel is None
    assert facts_of(tmp_path, region((0, 0, 99, 59), unit=0), PixelSpacing=[0.3, 0.2]).mm_per_pixel is None
    assert facts_of(tmp_path, PixelSpacing=[0, 0]).mm_per_pixel is None


IMAGE_TYPE = ["ORIGINAL", "PRIMARY", "SMALL PARTS"]


@pytest.mark.parametrize(
    ("data_types", "elements", "modality"),
    [
        ((1,), {}, None),
        ((1,), {"UltrasoundColorDataPresent": 0}, "bmode"),
        ((1,), {"UltrasoundColorDataPresent": 1}, None),
        ((1, 2), {"UltrasoundColorDataPresent": 1}, "cdfi"),
        ((2,), {}, "cdfi"),
        ((), {"ImageType": [*IMAGE_TYPE, "0011"]}, "cdfi"),
        ((), {"ImageType": [*IMAGE_TYPE, "0101"]}, "cdfi"),
        ((1,), {"ImageType": [*IMAGE_TYPE, "0001"]}, None),
        ((), {"ImageType": [*IMAGE_TYPE, "0001"], "UltrasoundColorDataPresent": 0}, "bmode"),
        ((1,), {"ImageType": [*IMAGE_TYPE, "0009"], "UltrasoundColorDataPresent": 0}, None),
        ((1,), {"ImageType": [*IMAGE_TYPE, "0201"], "UltrasoundColorDataPresent": 0}, None),
        ((1,), {"ImageType": [*IMAGE_TYPE, "ELASTOGRAPHY"]}, "elastography"),
        ((), {"ImageType": [*IMAGE_TYPE, "XYZW"]}, None),
        ((), {"ImageType": "PRIMARY", "UltrasoundColorDataPresent": 0}, None),
    ],
)
def test_modality_is_said_only_where_it_is_certain(
    tmp_path: Path, data_types: tuple[int, ...], elements: dict[str, object], modality: str | None
) -> None:
    regions = [region((0, 0, 99, 59), data=data_type) for data_type in data_types]
    assert facts_of(tmp_path, *regions, **elements).modality == modality


def test_grey_pixels_of_a_tissue_region_are_bmode(tmp_path: Path) -> None:
    path = write(tmp_path / "g.dcm", scene(samples=1), regions=[region((0, 0, 31, 23))])
    assert read_facts(path).modality == "bmode"


def test_descriptions_do_not_say_the_modality(tmp_path: Path) -> None:
    assert facts_of(tmp_path, SeriesDescription="Elastography", StudyDescription="CDFI").modality is None


def test_the_device_is_maker_and_model_in_one_line(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, Manufacturer=" ACME ", ManufacturerModelName="Sono  9")
    assert facts.device == "ACME Sono 9"
    assert facts_of(tmp_path, Manufacturer="ACME").device == "ACME"
    assert facts_of(tmp_path).device == ""


def test_no_identifier_is_printed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    facts = facts_of(tmp_path, region((0, 0, 99, 59)), **IDENTIFIERS)
    assert facts.patient_id == IDENTIFIERS["PatientID"]
    said = f"{facts!r} {facts} {caplog.text}"
    assert not any(value in said for value in IDENTIFIERS.values())


def test_values_that_break_the_standard_are_neither_warned_of_nor_logged(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = write(tmp_path / "odd.dcm", scene(), PatientID="X" * 30, SpecificCharacterSet="ISO_IR 100")
    content = path.read_bytes().replace(b"ISO_IR 100", b"SECRET 999")
    strange = b"SECRET\xff\x80" * 3 + bytes(6)
    # Longer than an id may be, in a character set that does not exist, with a byte that is no text.
    path.write_bytes(content.replace(b"X" * 30, strange))
    caplog.set_level(logging.DEBUG)
    assert read_facts(path).patient_id.startswith("SECRET")
    read_frame(path)
    out, err = capfd.readouterr()
    assert "SECRET" not in caplog.text + out + err + str([str(one.message) for one in recwarn])


def test_pixels_are_not_decoded(tmp_path: Path) -> None:
    damaged = write(tmp_path / "d.dcm", [b"\xff\xd8 no picture"], JPEGBaseline8Bit, "YBR_FULL", shape=(24, 32, 3))
    assert read_facts(damaged).height == 24
    with pytest.raises(InputError):
        read_frame(damaged)


def test_facts_and_frames_agree_for_a_compressed_cine(tmp_path: Path) -> None:
    codes = [pillow_code(scene(seed=seed), "JPEG2000", no_jp2=True) for seed in range(3)]
    path = write(
        tmp_path / "c.dcm", codes, JPEG2000Lossless, "RGB", shape=(24, 32, 3), regions=[region((1, 2, 30, 20))]
    )
    facts = read_facts(path)
    assert facts.frames == 3 and facts.scan == Box(1, 2, 31, 21)
    assert np.array_equal(read_frame(path, 2), scene(seed=2))


def test_samples_of_pydicom() -> None:
    palette = read_facts(SAMPLES / "examples_palette.dcm")
    assert palette.scan == Box(120, 60, 800, 350)
    assert palette.mm_per_pixel == pytest.approx((0.2622878766, 0.2622878766))
    assert palette.notes == ("region 2 is no 2D tissue or flow",)
    assert palette.device == "Philips Medical Systems CX50"
    # Its blue title bar is the only colour, and sets Ultrasound Color Data Present.
    assert palette.modality is None
    halved = read_facts(SAMPLES / "examples_ybr_color.dcm")
    assert (halved.frames, halved.scan, halved.mm_per_pixel) == (30, None, None)
    assert halved.notes == ("region 1 is of a larger picture than this one",)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data are not there")
def test_real_samples() -> None:
    whole = read_facts(SHARED / "OBXXXX1A.dcm")
    assert whole.scan == Box(120, 60, 800, 519) and whole.mm_per_pixel == pytest.approx((0.2622878766, 0.2622878766))
    for name in ("US1_J2KI", "US1_J2KR", "US1_UNCI", "US1_UNCR"):
        facts = read_facts(SHARED / f"{name}.dcm")
        assert (facts.width, facts.height, facts.scan, facts.modality) == (640, 480, None, None)
        assert facts.device == "G.E. Medical Systems LOGIQ 700"
