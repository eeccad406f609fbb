"""Frames of DICOM files: samples that were coded come back, and colours are pydicom's, value by value."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import (
    LOSSLESS,
    NATIVE,
    by_pydicom,
    encode,
    lossless_jpeg,
    palette_elements,
    pillow_code,
    scene,
    write,
)
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from sonogrid.dicom.pixels import read_frame
from sonogrid.problems import InputError

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dicom"
SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"
REFUSED = {
    "JPEG-lossy.dcm": "12 bits",
    "JPEG2000-embedded-sequence-delimiter.dcm": "the header says 256 x 1024",
    "JPGExtended.dcm": "12 bits",
    "MR_truncated.dcm": "Pixel Data (7fe0,0010): claims 8192 bytes",
    "GDCMJ2K_TextGBR.dcm": "not coded as the Transfer Syntax",
    "UN_sequence.dcm": "no pixels",
    "badVR.dcm": "Number of Frames (0028,0008)",
    "SC_rgb_rle_32bit.dcm": "Bits Allocated (0028,0100): is 32",
    "SC_rgb_rle_32bit_2frame.dcm": "Bits Allocated (0028,0100): is 32",
    "no_meta.dcm": "DICM",
    "meta_missing_tsyntax.dcm": "Transfer Syntax UID (0002,0010): is missing",
    "image_dfl.dcm": "deflated",
    "liver_1frame.dcm": "Bits Allocated (0028,0100): is 1",
    "liver_expb_1frame.dcm": "Bits Allocated (0028,0100): is 1",
}
"""Pictures of the pydicom wheel that are refused, and what the message says; all others must be read."""
NO_PICTURE = (
    *(
        "rt",
        "ExplVR_BigEndNoMeta",
        "ExplVR_LitEndNoMeta",
        "priv_SQ",
        "nested_priv_SQ",
        "no_meta_group_length",
        "IM0000",
    ),
    *("reportsi", "test-SR", "empty_charset", "waveform"),
)
"""How files of the wheel begin that are reports, plans or without what makes a file DICOM."""
OTHER_VIEW = {"SC_rgb_jpeg_gdcm.dcm"}
"""Read, but pydicom alone has no decoder for lossless JPEG."""


def refusal_of(path: Path, frame: int = 0) -> str:
    with pytest.raises(InputError) as error:
        read_frame(path, frame)
    assert len(error.value.problems) == 1
    assert error.value.problems[0].where.startswith(str(path))
    return str(error.value)


def sample_files() -> list[Path]:
    files = [*SAMPLES.glob("*.dcm"), *SAMPLES.glob("dicomdirtests/*/*/*")]
    return sorted(file for file in files if file.is_file())


@pytest.mark.parametrize("file", sample_files(), ids=lambda file: file.name)
def test_samples_of_pydicom_are_read_as_pydicom_reads_them_or_refused(file: Path) -> None:
    if file.name in REFUSED:
        assert REFUSED[file.name] in refusal_of(file)
    elif file.name.startswith(NO_PICTURE):
        assert refusal_of(file)
    elif file.name not in OTHER_VIEW:
        assert np.array_equal(read_frame(file), by_pydicom(file))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data are not there")
def test_real_samples_are_read_as_pydicom_reads_them() -> None:
    files = sorted(SHARED.glob("*.dcm"))
    assert len(files) == 5
    for file in files:
        assert np.array_equal(read_frame(file), by_pydicom(file)), file.name


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data are not there")
def test_reversible_jpeg_2000_gives_the_pixels_of_the_original() -> None:
    assert np.array_equal(read_frame(SHARED / "US1_J2KR.dcm"), read_frame(SHARED / "US1_UNCR.dcm"))
    assert np.array_equal(read_frame(SHARED / "US1_J2KI.dcm"), read_frame(SHARED / "US1_UNCI.dcm"))


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize("samples", [1, 3])
def test_samples_come_back_from_every_lossless_coding(tmp_path: Path, syntax: str, samples: int) -> None:
    pictures = np.stack([scene(samples=samples, seed=seed) for seed in range(3)])
    path = write(tmp_path / "cine.dcm", pictures, syntax)
    for frame in range(3):
        found = read_frame(path, frame)
        assert found.dtype == np.uint8 and found.shape == (24, 32, 3)
        expected = pictures[frame] if samples == 3 else np.repeat(pictures[frame][..., None], 3, axis=2)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("syntax", [*NATIVE, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("bits", "sign"), [(16, "u"), (12, "u"), (16, "i")])
def test_16_bit_grey_is_scaled_from_the_range_of_its_bits(tmp_path: Path, syntax: str, bits: int, sign: str) -> None:
    picture = scene(samples=1, bits=bits)
    if sign == "i":
        if syntax in (JPEGLSLossless, JPEG2000Lossless):
            pytest.skip("the encoders at hand do not code signed samples")
        picture = (picture.astype(np.int32) - 2**15).astype(np.int16)
    path = write(tmp_path / "grey.dcm", picture, syntax, BitsStored=bits)
    found = read_frame(path)
    low = -(2 ** (bits - 1)) if sign == "i" else 0
    for value, shown in ((low, 0), (low + 2**bits - 1, 255)):
        assert set(found[picture == value].ravel().tolist()) <= {shown}
    assert np.array_equal(found, by_pydicom(path))


def test_monochrome_1_is_the_negative_of_monochrome_2(tmp_path: Path) -> None:
    picture = scene(samples=1)
    dark, bright = (write(tmp_path / f"{n}.dcm", picture, photometric=f"MONOCHROME{n}") for n in (2, 1))
    assert np.array_equal(read_frame(bright), 255 - read_frame(dark))


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": 100, "WindowWidth": 80},
        {"WindowCenter": [100, 30], "WindowWidth": [80, 20], "RescaleSlope": "2.5", "RescaleIntercept": "-17"},
        {"WindowCenter": 100, "WindowWidth": 80, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 100, "WindowWidth": 80, "VOILUTFunction": "LINEAR_EXACT"},
        {"RescaleSlope": "0.5", "RescaleIntercept": "3"},
    ],
    ids=lambda elements: "-".join(elements),
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_windows_and_rescaling_are_pydicoms(tmp_path: Path, elements: dict[str, object], photometric: str) -> None:
    path = write(tmp_path / "window.dcm", scene(samples=1), photometric=photometric, **elements)
    assert np.array_equal(read_frame(path), by_pydicom(path))


def test_window_by_hand(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2.1: centre 128, width 11 maps (x - 127.5) / 10 + 0.5 of the range."""
    values = np.array([[0, 122, 123, 128, 130, 133, 255]], np.uint8)
    path = write(tmp_path / "window.dcm", values, WindowCenter=128, WindowWidth=11)
    # x = 123: 0.05 x 255 = 12.75; 128: 0.55 x 255 = 140.25; 130: 0.75 x 255 = 191.25
    assert read_frame(path)[0, :, 0].tolist() == [0, 0, 13, 140, 191, 255, 255]


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_lookup_tables_are_pydicoms(tmp_path: Path, keyword: str) -> None:
    item = Dataset()
    item.LUTDescriptor = [100, 50, 16]
    item.LUTData = [65535 - 649 * index for index in range(100)]
    item["LUTDescriptor"].VR = "US"
    item["LUTData"].VR = "US"
    if keyword == "ModalityLUTSequence":
        item.ModalityLUTType = "US"
    path = write(tmp_path / "lut.dcm", scene(samples=1), **{keyword: [item]})
    assert np.array_equal(read_frame(path), by_pydicom(path))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEG2000Lossless])
def test_palette_colours_are_looked_up(tmp_path: Path, syntax: str, bits: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    picture = scene(samples=1)
    big = syntax == ExplicitVRBigEndian
    elements = palette_elements(colours * (257 if bits == 16 else 1), bits, big=big)
    path = write(tmp_path / "palette.dcm", picture, syntax, "PALETTE COLOR", **elements)
    assert np.array_equal(read_frame(path), colours[picture])
    if not big:
        assert np.array_equal(read_frame(path), by_pydicom(path))


@pytest.mark.parametrize("scale", [256, 257])
def test_the_high_byte_of_palette_entries_counts(tmp_path: Path, scale: int) -> None:
    grey = np.repeat(np.arange(256)[:, None], 3, axis=1)
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR", **palette_elements(grey * scale))
    assert np.array_equal(read_frame(path)[..., 0], scene(samples=1))


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_entries_of_8_bits_padded_to_16_keep_their_value(tmp_path: Path, bits: int) -> None:
    grey = np.repeat(np.arange(256)[:, None], 3, axis=1)
    elements = palette_elements(grey, 16) | {
        f"{name}PaletteColorLookupTableDescriptor": [256, 0, bits] for name in ("Red", "Green", "Blue")
    }
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR", **elements)
    assert np.array_equal(read_frame(path)[..., 0], scene(samples=1))


def test_indices_beside_the_palette_take_its_ends(tmp_path: Path) -> None:
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    picture = np.array([[0, 99, 100, 101, 102, 103, 255]], np.uint8)
    elements = palette_elements(colours * 256, first=100)
    path = write(tmp_path / "p.dcm", picture, photometric="PALETTE COLOR", **elements)
    assert read_frame(path)[0, :, 0].tolist() == [10, 10, 10, 40, 70, 70, 70]
    assert np.array_equal(read_frame(path), by_pydicom(path))


def test_16_bit_indices_reach_every_entry_of_an_8_bit_palette(tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (1000, 3))
    picture = np.arange(1000, dtype=np.uint16).reshape(25, 40)
    path = write(tmp_path / "p.dcm", picture, photometric="PALETTE COLOR", **palette_elements(colours, 8))
    assert np.array_equal(read_frame(path), colours[picture])


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_becomes_rgb_by_pydicoms_conversion(tmp_path: Path, syntax: str, planar: int) -> None:
    stored = scene()
    path = write(tmp_path / "ybr.dcm", stored, syntax, "YBR_FULL", PlanarConfiguration=planar)
    found = read_frame(path)
    assert np.array_equal(found, convert_color_space(stored.copy(), "YBR_FULL", "RGB"))
    assert np.array_equal(found, by_pydicom(path))


def test_known_ybr_colours(tmp_path: Path) -> None:
    """PS3.3 C.7.6.3.1.2: grey has CB = CR = 128; pure red is Y 76, CB 85, CR 255."""
    stored = np.array([[[0, 128, 128], [255, 128, 128], [90, 128, 128], [76, 85, 255]]], np.uint8)
    found = read_frame(write(tmp_path / "ybr.dcm", stored, photometric="YBR_FULL"))[0]
    assert found[:3].tolist() == [[0] * 3, [255] * 3, [90] * 3]
    assert np.abs(found[3].astype(int) - [254, 0, 0]).max() <= 1


def test_ybr_full_422_repeats_chroma_in_pairs(tmp_path: Path) -> None:
    luma, chroma = scene(samples=1), scene(samples=3)[:, ::2, 1:]
    stored = np.concatenate([luma.reshape(24, 16, 2), chroma], axis=2)
    full = np.concatenate([luma[..., None], np.repeat(chroma, 2, axis=1)], axis=2)
    path = write(tmp_path / "ybr.dcm", scene(), photometric="YBR_FULL_422", PixelData=stored.tobytes())
    assert np.array_equal(read_frame(path), convert_color_space(full, "YBR_FULL", "RGB"))
    assert np.array_equal(read_frame(path), by_pydicom(path))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_is_decoded_as_pydicom_does(tmp_path: Path, subsampling: int) -> None:
    frames = [pillow_code(scene(seed=seed), "JPEG", quality=85, subsampling=subsampling) for seed in range(2)]
    path = write(tmp_path / "j.dcm", frames, JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    for frame in range(2):
        assert np.array_equal(read_frame(path, frame), by_pydicom(path, frame))
    smooth = np.abs(read_frame(path, 1).astype(int) - scene(seed=1))[:6]
    assert np.median(smooth) < 8


def test_lossy_jpeg_2000_is_decoded_as_pydicom_does(tmp_path: Path) -> None:
    frame = pillow_code(scene(64, 64), "JPEG2000", irreversible=True, no_jp2=True, mct=1, quality_layers=[8])
    path = write(tmp_path / "j.dcm", [frame], JPEG2000, "YBR_ICT", shape=(64, 64, 3))
    assert np.array_equal(read_frame(path), by_pydicom(path))


@pytest.mark.parametrize("predictor", [1, 2, 3, 4, 5])
def test_every_predictor_of_lossless_jpeg(tmp_path: Path, predictor: int) -> None:
    frame = lossless_jpeg(scene(), predictor)
    path = write(tmp_path / "j.dcm", [frame], JPEGLossless, shape=(24, 32, 3))
    assert np.array_equal(read_frame(path), scene())


def test_lossless_jpeg_of_another_writer(tmp_path: Path) -> None:
    """SC_rgb_jpeg_gdcm.dcm has the pixels of SC_rgb_rle.dcm, says pydicom's table of its test files."""
    assert np.array_equal(read_frame(SAMPLES / "SC_rgb_jpeg_gdcm.dcm"), read_frame(SAMPLES / "SC_rgb_rle.dcm"))


def test_rgb_of_16_bits_is_scaled(tmp_path: Path) -> None:
    stored = scene(bits=16)
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless):
        path = write(tmp_path / "rgb.dcm", stored, syntax)
        assert np.array_equal(read_frame(path), ((stored.astype(np.uint32) + 128) // 257).astype(np.uint8))


@pytest.mark.parametrize("size", [(3, 3), (1, 1), (5, 7)])
def test_odd_frames_of_big_endian_words(tmp_path: Path, size: tuple[int, int]) -> None:
    """8-bit samples written as OW in big endian are swapped in pairs, across the frames' borders where they are odd."""
    frames = np.stack([scene(*size, samples=1, seed=seed) for seed in range(4)])
    raw = frames.tobytes() + b"\0" * (frames.size % 2)
    swapped = np.frombuffer(raw, "<u2").astype(">u2").tobytes()
    path = write(tmp_path / "odd.dcm", frames, ExplicitVRBigEndian, "MONOCHROME2", PixelData=swapped)
    data = pydicom.dcmread(path)
    data["PixelData"].VR = "OW"
    data.save_as(path)
    for frame in range(4):
        assert np.array_equal(read_frame(path, frame)[..., 0], frames[frame])


def test_frames_in_several_fragments(tmp_path: Path) -> None:
    data = Dataset()
    pictures = [scene(seed=seed) for seed in range(3)]
    codes = [pillow_code(one, "JPEG", quality=85) for one in pictures]
    for has_bot in (True, False):
        many = pydicom.encaps.encapsulate(codes, fragments_per_frame=3, has_bot=has_bot)
        path = write(tmp_path / "f.dcm", codes, JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3), PixelData=many)
        for frame in range(3):
            assert np.array_equal(read_frame(path, frame), by_pydicom(path, frame))
    assert len(data) == 0


def test_extended_offset_table(tmp_path: Path) -> None:
    pictures = np.stack([scene(seed=seed) for seed in range(3)])
    template = pydicom.dcmread(write(tmp_path / "t.dcm", pictures[0]))
    codes = [encode(one, RLELossless, template) for one in pictures]
    pixels, offsets, lengths = pydicom.encaps.encapsulate_extended(codes)
    extra = {"ExtendedOffsetTable": offsets, "ExtendedOffsetTableLengths": lengths, "PixelData": pixels}
    path = write(tmp_path / "e.dcm", codes, RLELossless, shape=(24, 32, 3), **extra)
    assert all(np.array_equal(read_frame(path, frame), pictures[frame]) for frame in range(3))


def test_the_picture_can_be_written_to(tmp_path: Path) -> None:
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        picture = read_frame(write(tmp_path / "rgb.dcm", scene(), syntax))
        picture[:] = 0
        assert picture.flags.c_contiguous
