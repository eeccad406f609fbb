"""Files that cannot be read: one problem each, which names the file, the element with its number, and a way out."""

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicoms import IDENTIFIERS, palette_elements, pillow_code, region, scene, write
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLSLossless,
    RLELossless,
)

from sonogrid.dicom import allowance, limits, worker
from sonogrid.dicom import header as header_module
from sonogrid.dicom.facts import read_facts
from sonogrid.dicom.messages import element
from sonogrid.dicom.pixels import read_frame
from sonogrid.problems import InputError

MEMORY = 64 * 2**20
"""Bytes that reading a hostile small file may take in this process."""


def refusal_of(path: Path, frame: int = 0) -> str:
    """The one message with which a file is refused; nothing much is allocated for it."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            read_frame(path, frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY
    (problem,) = error.value.problems
    assert problem.where.startswith(str(path)) and problem.what and problem.remedy
    assert not problem.what.endswith(".") and not problem.remedy.endswith(".")
    return str(error.value)


def sound(path: Path, **elements: object) -> Path:
    return write(path, scene(), **elements)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": 0}, "Rows (0028,0010): is 0"),
        ({"Columns": 0}, "Columns (0028,0011): is 0"),
        ({"Rows": 65535, "Columns": 65535}, "Rows (0028,0010): times Columns is 65535 x 65535; the limit is"),
        ({"NumberOfFrames": 0}, "Number of Frames (0028,0008): is 0: there is no picture"),
        ({"NumberOfFrames": -1}, "Number of Frames (0028,0008): is -1"),
        ({"NumberOfFrames": 2147483647}, "Number of Frames (0028,0008): is 2147483647"),
        ({"NumberOfFrames": 2}, "Pixel Data (7fe0,0010): has 2304 bytes; 2 frames of 32 x 24 pixels need 4608"),
        ({"SamplesPerPixel": 1}, "Samples per Pixel (0028,0002): is 1, but RGB has 3"),
        ({"SamplesPerPixel": 65535}, "Samples per Pixel (0028,0002): is 65535"),
        ({"PhotometricInterpretation": "CMYK"}, "Photometric Interpretation (0028,0004): is none of"),
        ({"PhotometricInterpretation": "YBR_RCT"}, "Photometric Interpretation (0028,0004): is none of"),
        ({"PhotometricInterpretation": ""}, "Photometric Interpretation (0028,0004): is missing"),
        ({"BitsAllocated": 0}, "Bits Allocated (0028,0100): is 0"),
        ({"BitsAllocated": 12}, "Bits Allocated (0028,0100): is 12"),
        ({"BitsStored": 9}, "Bits Stored (0028,0101): is 9, but 8 are allocated"),
        ({"BitsStored": 0, "HighBit": 0}, "Bits Stored (0028,0101): is 0"),
        ({"HighBit": 3}, "High Bit (0028,0102): is not one less than Bits Stored"),
        ({"PixelRepresentation": 1}, "Pixel Representation (0028,0103): is 1, which RGB cannot be"),
        ({"PixelRepresentation": 7}, "Pixel Representation (0028,0103): is 7"),
        ({"PlanarConfiguration": 2}, "Planar Configuration (0028,0006): is 2"),
        ({"PixelData": b""}, "Pixel Data (7fe0,0010): is missing or empty"),
        ({"PixelData": bytes(10)}, "Pixel Data (7fe0,0010): has 10 bytes; 1 frames of 32 x 24 pixels need 2304"),
    ],
)
def test_wrong_elements(tmp_path: Path, elements: dict[str, object], said: str) -> None:
    path = sound(tmp_path / "bad.dcm", **elements)
    assert said in refusal_of(path)
    with pytest.raises(InputError):
        read_facts(path)


@pytest.mark.parametrize(
    "keyword", ["Rows", "Columns", "BitsAllocated", "PhotometricInterpretation", "PixelData"], ids=lambda name: name
)
def test_missing_elements(tmp_path: Path, keyword: str) -> None:
    message = refusal_of(sound(tmp_path / "bad.dcm", drop=[keyword]))
    assert element(keyword) in message and "is missing" in message


def test_elements_with_a_usual_value_may_be_missing(tmp_path: Path) -> None:
    drop = ["BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"]
    assert np.array_equal(read_frame(sound(tmp_path / "short.dcm", drop=drop)), scene())


@pytest.mark.parametrize("frame", [-1, 3, 10**9])
def test_frames_out_of_range(tmp_path: Path, frame: int) -> None:
    path = write(tmp_path / "cine.dcm", np.stack([scene()] * 3))
    assert f"Number of Frames (0028,0008): is 3: there is no frame {frame}" in refusal_of(path, frame)


def set_syntax(path: Path, syntax: str) -> Path:
    data = pydicom.dcmread(path)
    old = data.file_meta.TransferSyntaxUID.encode()
    content = path.read_bytes()
    assert content.count(old) == 1
    # Group length (0002,0000) is not trusted by readers, so the length of the UID may change.
    at = content.index(old)
    length = len(old) + len(old) % 2
    new = syntax.encode() + b"\0" * (len(syntax) % 2)
    path.write_bytes(content[: at - 2] + struct.pack("<H", len(new)) + new + content[at + length :])
    return path


def test_wrong_transfer_syntaxes(tmp_path: Path) -> None:
    native = sound(tmp_path / "native.dcm")
    jpeg = pillow_code(scene(), "JPEG")
    for syntax in (JPEGBaseline8Bit, RLELossless, JPEG2000Lossless):
        message = refusal_of(set_syntax(sound(tmp_path / "native.dcm"), syntax))
        assert "Pixel Data (7fe0,0010): is not in fragments, although the Transfer Syntax UID (0002,0010)" in message
    coded = write(tmp_path / "coded.dcm", [jpeg], JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    assert "is in fragments, although" in refusal_of(set_syntax(coded, ExplicitVRLittleEndian))
    for syntax in (JPEG2000Lossless, JPEGLSLossless, JPEGLossless):
        coded = write(tmp_path / "coded.dcm", [jpeg], syntax, "RGB", shape=(24, 32, 3))
        assert "is not coded as the Transfer Syntax UID (0002,0010) says" in refusal_of(coded)
    coded = write(tmp_path / "coded.dcm", [jpeg], RLELossless, "RGB", shape=(24, 32, 3))
    assert "Pixel Data (7fe0,0010)" in refusal_of(coded)
    assert "is MPEG2 Main Profile / Main Level, which is not read" in refusal_of(set_syntax(native, MPEG2MPML))
    assert "Transfer Syntax UID (0002,0010): is an unknown one" in refusal_of(set_syntax(native, "1.2.3.4"))
    # Explicit VR under the name of implicit VR is what some writers do, and no doubt is possible.
    assert np.array_equal(read_frame(set_syntax(native, ImplicitVRLittleEndian)), scene())


def test_a_deflated_file_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    import zlib

    path = sound(tmp_path / "bomb.dcm")
    bomb = zlib.compressobj(9, wbits=-15)
    squeezed = b"".join(bomb.compress(bytes(2**20)) for _ in range(300)) + bomb.flush()
    content = set_syntax(path, DeflatedExplicitVRLittleEndian).read_bytes()
    path.write_bytes(content[:400] + squeezed)
    assert "says that the whole file is deflated" in refusal_of(path)


def test_regions_outside(tmp_path: Path) -> None:
    outside = [region((100, 100, 200, 200)), region((0, 24, 31, 40))]
    path = write(tmp_path / "far.dcm", scene(), regions=outside)
    with pytest.raises(
        InputError, match=r"Sequence of Ultrasound Regions \(0018,6011\): tells of no 2D region"
    ) as error:
        read_facts(path)
    assert "region 1 lies outside the pixels; region 2 lies outside the pixels" in str(error.value)
    # The pixels themselves can be looked at all the same.
    assert np.array_equal(read_frame(path), scene())


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("length", [0, 2, 100, 254, 258])
def test_palettes_shorter_than_their_descriptor(tmp_path: Path, bits: int, length: int) -> None:
    elements = palette_elements(np.zeros((256, 3)), bits)
    elements["GreenPaletteColorLookupTableData"] = bytes(length)
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR", **elements)
    assert "Green Palette Color Lookup Table Data (0028,1202): " in refusal_of(path)


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"RedPaletteColorLookupTableDescriptor": [0, 0, 16]}, "has 512 bytes for 65536 entries"),
        ({"RedPaletteColorLookupTableDescriptor": [256, 0, 12]}, "says 256 entries of 12 bits"),
        ({"BluePaletteColorLookupTableDescriptor": [256, 1, 16]}, "is not the same for red, green and blue"),
    ],
)
def test_wrong_palettes(tmp_path: Path, elements: dict[str, object], said: str) -> None:
    wrong = palette_elements(np.zeros((256, 3))) | elements
    if "RedPaletteColorLookupTableDescriptor" in elements:
        same = elements["RedPaletteColorLookupTableDescriptor"]
        wrong |= {f"{name}PaletteColorLookupTableDescriptor": same for name in ("Green", "Blue")}
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR", **wrong)
    assert said in refusal_of(path)


def test_a_missing_or_segmented_palette(tmp_path: Path) -> None:
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR")
    assert "Red Palette Color Lookup Table Descriptor (0028,1101): is missing" in refusal_of(path)
    elements = palette_elements(np.zeros((256, 3)))
    drop = ["RedPaletteColorLookupTableData"]
    elements |= {"SegmentedRedPaletteColorLookupTableData": bytes(6)}
    path = write(tmp_path / "p.dcm", scene(samples=1), photometric="PALETTE COLOR", drop=drop, **elements)
    assert "(0028,1201): is missing: the palette has no colours, or is segmented" in refusal_of(path)


def test_a_supplemental_palette_is_not_read_as_grey(tmp_path: Path) -> None:
    path = write(tmp_path / "s.dcm", scene(samples=1), PixelPresentation="COLOR")
    assert "Pixel Presentation (0008,9205)" in refusal_of(path)


def claims(path: Path, tag: bytes, length: int) -> Path:
    """Let an element with a 4-byte length claim another one."""
    content = bytearray(path.read_bytes())
    at = content.index(tag) + 8
    content[at : at + 4] = struct.pack("<I", length)
    path.write_bytes(content)
    return path


PIXEL_DATA, REGIONS = b"\xe0\x7f\x10\x00O", b"\x18\x00\x11\x60SQ"


@pytest.mark.parametrize("length", [2**32 - 2, 2**31, 10**6])
def test_claimed_sizes_of_4_gb(tmp_path: Path, length: int) -> None:
    path = claims(sound(tmp_path / "big.dcm"), PIXEL_DATA, length)
    assert f"Pixel Data (7fe0,0010): claims {length} bytes where the file has 2304 left" in refusal_of(path)
    path = claims(write(tmp_path / "big.dcm", scene(), regions=[region((0, 0, 31, 23))]), REGIONS, length)
    assert f"Sequence of Ultrasound Regions (0018,6011): claims {length} bytes" in refusal_of(path)


def test_claimed_sizes_of_4_gb_in_fragments_and_tables(tmp_path: Path) -> None:
    code = pillow_code(scene(), "JPEG")
    path = write(tmp_path / "c.dcm", [code], JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    content = path.read_bytes()
    at = content.index(PIXEL_DATA) + 12
    for item, length in ((0, 2**32 - 4), (0, 2**30), (12, 2**32 - 2), (12, 2**32 - 1)):
        changed = bytearray(content)
        changed[at + item + 4 : at + item + 8] = struct.pack("<I", length)
        path.write_bytes(changed)
        assert "Pixel Data (7fe0,0010): " in refusal_of(path)


def test_a_sparse_file_above_the_limit_is_not_read(tmp_path: Path) -> None:
    path = sound(tmp_path / "sparse.dcm")
    os.truncate(path, limits.MAX_FILE_BYTES + 1)
    assert "the limit is 4 GB" in refusal_of(path)


def test_a_value_that_is_needed_has_a_limit(tmp_path: Path) -> None:

    elements = palette_elements(np.zeros((256, 3)))
    elements["RedPaletteColorLookupTableData"] = bytes(limits.MAX_VALUE_BYTES + 2)
    path = write(tmp_path / "long.dcm", scene(samples=1), photometric="PALETTE COLOR", **elements)
    assert "Red Palette Color Lookup Table Data (0028,1201): has 1048578 bytes; the limit is" in refusal_of(path)


def test_large_private_values_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "private.dcm"
    data = pydicom.dcmread(sound(path))
    data.private_block(0x0009, "SIMULATED", create=True).add_new(1, "OB", bytes(2 * limits.MAX_HEADER_BYTES))
    data.save_as(path)
    tracemalloc.start()
    assert np.array_equal(read_frame(path), scene())
    assert tracemalloc.get_traced_memory()[1] < limits.MAX_HEADER_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("depth", [10, 3000])
def test_hostile_nesting(tmp_path: Path, depth: int, undefined: bool) -> None:
    """Sequences in sequences, in an element that is skipped, end in a picture or a refusal, never in a crash."""
    item, end, close = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    tag = b"\x08\x00\x40\x11SQ\0\0"
    nested = b""
    for _ in range(depth):
        length = len(nested) + 8
        if undefined:
            nested = tag + b"\xff" * 4 + item + b"\xff" * 4 + nested + end + close
        else:
            nested = tag + struct.pack("<I", length) + item + struct.pack("<I", len(nested)) + nested
    path = sound(tmp_path / "deep.dcm")
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[:at] + nested + content[at:])
    if undefined and depth > 100:
        message = refusal_of(path)
        assert (
            "Referenced Image Sequence (0008,1140): cannot be read: the file is damaged or nests too deeply" in message
        )
    else:
        assert np.array_equal(read_frame(path), scene())


def test_a_header_of_endless_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "MAX_HEADER_READS", 5000)
    path = sound(tmp_path / "many.dcm")
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[:at] + b"\x08\x00\x05\x00CS\0\0" * 5000 + content[at:])
    assert "needs more bytes or elements to be read than any picture has" in refusal_of(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_truncations_at_every_element(tmp_path: Path, syntax: str) -> None:
    """A file that is cut before, within or after any element is refused, and cut before its end only ever that."""
    path = write(tmp_path / "cut.dcm", scene(6, 8), syntax, regions=[region((0, 0, 7, 5))], **IDENTIFIERS)
    content = path.read_bytes()
    for end in range(0, len(content) - 8 * (syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian))):
        path.write_bytes(content[:end])
        with pytest.raises(InputError) as error:
            read_frame(path)
        assert len(error.value.problems) == 1
        assert not any(value in str(error.value) for value in IDENTIFIERS.values())


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pillow_code(scene(240, 320), "JPEG"), "has a compressed frame of 320 x 240 pixels with 3 samples"),
        (pillow_code(scene(samples=1), "JPEG"), "with 1 samples, the header says 32 x 24 with 3"),
        (pillow_code(scene(), "JPEG")[:300], "Pixel Data (7fe0,0010)"),
        (b"\xff\xd8" * 500, "Pixel Data (7fe0,0010)"),
        (b"\xff\xd8\xff", "is cut short within the header"),
        (bytes(100), "is not coded as"),
    ],
)
def test_jpeg_frames_that_are_not_the_headers(tmp_path: Path, frame: bytes, said: str) -> None:
    path = write(tmp_path / "j.dcm", [frame], JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    assert said in refusal_of(path)


def test_jpeg_with_a_second_larger_frame_header(tmp_path: Path) -> None:
    code = pillow_code(scene(), "JPEG")
    at = code.index(b"\xff\xc0")
    length = struct.unpack_from(">H", code, at + 2)[0] + 2
    second = bytearray(code[at : at + length])
    second[5:9] = b"\xff\xff\xff\xff"
    frame = code[: at + length] + bytes(second) + code[at + length :]
    path = write(tmp_path / "j.dcm", [frame], JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    assert "is not coded as" in refusal_of(path)


def test_jpeg_of_thousands_of_scans(tmp_path: Path) -> None:
    code = pillow_code(scene(), "JPEG", progressive=True)
    at = code.rindex(b"\xff\xda")
    frame = code[:-2] + code[at:-2] * 5000 + code[-2:]
    path = write(tmp_path / "j.dcm", [frame], JPEGBaseline8Bit, "YBR_FULL_422", shape=(24, 32, 3))
    assert "has a frame of more than 64 scans" in refusal_of(path)


def test_jpeg_2000_of_other_size_or_of_too_many_tiles(tmp_path: Path) -> None:
    code = bytearray(pillow_code(scene(480, 640), "JPEG2000", no_jp2=True))
    small = write(tmp_path / "s.dcm", [bytes(code)], JPEG2000Lossless, "RGB", shape=(24, 32, 3))
    assert "has a compressed frame of 640 x 480 pixels" in refusal_of(small)
    code[24:32] = struct.pack(">II", 1, 1)
    tiles = write(tmp_path / "t.dcm", [bytes(code)], JPEG2000Lossless, "RGB", shape=(480, 640, 3))
    assert "has a frame of more than 4096 tiles" in refusal_of(tiles)


@pytest.mark.parametrize("offsets", [(3, 64, 64), (3, 2**32 - 1, 64), (2, 64, 80), (2**32 - 1, 64, 64), (0, 0, 0)])
def test_rle_frames_with_a_wrong_header(tmp_path: Path, offsets: tuple[int, int, int]) -> None:
    segments, first, second = offsets
    frame = struct.pack("<16I", segments, first, second, second, *[0] * 12) + bytes(200)
    path = write(tmp_path / "r.dcm", [frame], RLELossless, "RGB", shape=(24, 32, 3))
    assert "Pixel Data (7fe0,0010): " in refusal_of(path)


def test_a_decoder_that_takes_too_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r.dcm", scene(600, 800), JPEG2000Lossless)
    assert read_frame(path).shape == (600, 800, 3)
    monkeypatch.setattr(worker, "DECODER_SECONDS", 0.0)
    assert "has a frame that takes more than 0 s to decode" in refusal_of(path)
    monkeypatch.undo()
    assert np.array_equal(read_frame(path), scene(600, 800))


def test_a_decoder_that_dies_is_an_error_of_its_frame_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "r.dcm", scene(), RLELossless)
    read_frame(path)
    with monkeypatch.context() as patch:
        patch.setattr(worker._Worker, "alive", True)
        worker._of_thread.worker._end()
        assert "has a compressed frame that breaks its decoder" in refusal_of(path)
    assert np.array_equal(read_frame(path), scene())


def test_a_decoder_has_no_more_memory_than_is_stated(tmp_path: Path) -> None:
    read_frame(write(tmp_path / "r.dcm", scene(), RLELossless))
    found = Path(f"/proc/{worker._of_thread.worker.process.pid}/limits").read_text()
    line = next(line for line in found.splitlines() if line.startswith("Max address space"))
    assert str(allowance.DECODER_BYTES) in line


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "there is no such file" in refusal_of(tmp_path / "none.dcm")
    assert "there is no such file" in refusal_of(tmp_path)
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "there is no such file" in refusal_of(tmp_path / "pipe.dcm")
    (tmp_path / "text.dcm").write_text("not DICOM" * 100)
    assert "is not a DICOM file: DICM is not at byte 128" in refusal_of(tmp_path / "text.dcm")
    (tmp_path / "empty.dcm").write_bytes(b"")
    assert "DICM" in refusal_of(tmp_path / "empty.dcm")


def test_a_window_of_no_width_and_a_slope_of_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "w.dcm", scene(samples=1), WindowCenter=10, WindowWidth=0)
    assert "Window Width (0028,1051): cannot be applied" in refusal_of(path)
    for slope in ("0", "-1"):
        path = write(tmp_path / "w.dcm", scene(samples=1), RescaleSlope=slope, RescaleIntercept="0")
        assert "Rescale Slope (0028,1053): is not a positive number" in refusal_of(path)


def test_damaged_lookup_tables(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor = [100, 0, 16]
    item["LUTDescriptor"].VR = "US"
    path = write(tmp_path / "v.dcm", scene(samples=1), ModalityLUTSequence=Sequence([item]))
    assert "Modality LUT Sequence (0028,3000)" in refusal_of(path)
    path = write(tmp_path / "v.dcm", scene(samples=1), VOILUTSequence=Sequence([Dataset()]))
    assert "VOI LUT Sequence (0028,3010): has no LUT Descriptor (0028,3002)" in refusal_of(path)


def test_messages_hold_no_identifier(tmp_path: Path) -> None:
    wrong = {"Rows": 0, "PhotometricInterpretation": IDENTIFIERS["PatientName"], "NumberOfFrames": 0}
    for keyword, value in wrong.items():
        path = sound(tmp_path / "x.dcm", **(IDENTIFIERS | {keyword: value}))
        assert not any(one in refusal_of(path) for one in IDENTIFIERS.values())
