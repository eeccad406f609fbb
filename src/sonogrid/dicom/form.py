"""What the header says about the pixels, checked before any is read: sizes, bits, colours, frames, transfer syntax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydicom import uid

from sonogrid.dicom.header import (
    COPY_AGAIN,
    EXPORT_AGAIN,
    UNDEFINED,
    Header,
    PixelElement,
    integer,
    text,
    unusable,
    value,
)
from sonogrid.dicom.limits import MAX_FRAME_PIXELS, MAX_FRAMES

Codec = Literal["native", "rle", "jpeg", "lossless", "jls", "j2k"]
CODECS: dict[str, Codec] = {
    uid.ImplicitVRLittleEndian: "native",
    uid.ExplicitVRLittleEndian: "native",
    uid.ExplicitVRBigEndian: "native",
    uid.RLELossless: "rle",
    uid.JPEGBaseline8Bit: "jpeg",
    uid.JPEGExtended12Bit: "jpeg",
    uid.JPEGLossless: "lossless",
    uid.JPEGLosslessSV1: "lossless",
    uid.JPEGLSLossless: "jls",
    uid.JPEGLSNearLossless: "jls",
    uid.JPEG2000Lossless: "j2k",
    uid.JPEG2000: "j2k",
}
"""Transfer syntaxes that are read."""
SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3}
"""Photometric interpretations that are read and their samples a pixel; below those of JPEG 2000 only."""
_JPEG_2000_ONLY = {"YBR_RCT": 3, "YBR_ICT": 3}
_CONVERT = "Convert the file to Explicit VR Little Endian (gdcmconv --raw does), or take it out of the data"


@dataclass(frozen=True)
class PixelForm:
    """The pixels of a file as their elements describe them; `signed` and `planar` as in the standard."""

    codec: Codec
    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    photometric: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame without compression, as it is stored (PS3.3 C.7.6.3.1.2 for YBR_FULL_422)."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.bits_allocated // 8

    @property
    def stored_range(self) -> tuple[int, int]:
        """Least and greatest value that the stored bits can say."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1


def read_form(header: Header) -> tuple[PixelForm, PixelElement]:
    """The pixels' form and place. Raises InputError naming the first element that is missing or contradicts."""
    pixels = header.pixels
    if pixels is None or pixels.length == 0:
        raise unusable(header.path, "PixelData", "is missing or empty: the file has no pixels", EXPORT_AGAIN)
    codec = CODECS.get(header.syntax)
    if codec is None:
        name = header.syntax.name if header.syntax.name != header.syntax else "an unknown one"
        raise unusable(header.path, "TransferSyntaxUID", f"is {name}, which is not read", _CONVERT)
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    for keyword, size in (("Rows", rows), ("Columns", columns)):
        if size < 1:
            raise unusable(header.path, keyword, f"is {size}", EXPORT_AGAIN)
    if rows * columns > MAX_FRAME_PIXELS:
        limit = f"{MAX_FRAME_PIXELS // 1_000_000} megapixels"
        raise unusable(header.path, "Rows", f"times Columns is {columns} x {rows}; the limit is {limit}", EXPORT_AGAIN)
    frames = integer(header, "NumberOfFrames", 1)
    if not 1 <= frames <= MAX_FRAMES:
        what = "is 0: there is no picture" if frames == 0 else f"is {frames}, not between 1 and {MAX_FRAMES}"
        raise unusable(header.path, "NumberOfFrames", what, EXPORT_AGAIN)
    photometric, samples = _colours(header, codec)
    allocated, stored, signed = _bits(header, photometric)
    planar = integer(header, "PlanarConfiguration", 0) if samples == 3 else 0
    if planar not in (0, 1):
        raise unusable(header.path, "PlanarConfiguration", f"is {planar}, neither 0 nor 1", EXPORT_AGAIN)
    form = PixelForm(codec, rows, columns, frames, samples, allocated, stored, signed, planar, photometric)
    _check_pixels(header, form, pixels)
    return form, pixels


def _colours(header: Header, codec: Codec) -> tuple[str, int]:
    photometric = text(header, "PhotometricInterpretation").upper()
    read = SAMPLES | (_JPEG_2000_ONLY if codec == "j2k" else {})
    if photometric not in read:
        # Not quoted: a value that is not known could be anything.
        what = "is missing" if not photometric else f"is none of {', '.join(read)}"
        raise unusable(header.path, "PhotometricInterpretation", what, _CONVERT)
    samples = integer(header, "SamplesPerPixel", 1)
    if samples != read[photometric]:
        what = f"is {samples}, but {photometric} has {read[photometric]}"
        raise unusable(header.path, "SamplesPerPixel", what, EXPORT_AGAIN)
    if photometric == "MONOCHROME2" and value(header, "PixelPresentation") in ("COLOR", "MIXED"):
        what = "says that some grey values stand for colours of a supplemental palette, which is not read"
        raise unusable(header.path, "PixelPresentation", what, "Export the file in RGB colours")
    return photometric, samples


def _bits(header: Header, photometric: str) -> tuple[int, int, bool]:
    allocated = integer(header, "BitsAllocated")
    if allocated not in (8, 16):
        raise unusable(header.path, "BitsAllocated", f"is {allocated}, neither 8 nor 16", _CONVERT)
    stored = integer(header, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise unusable(header.path, "BitsStored", f"is {stored}, but {allocated} are allocated", EXPORT_AGAIN)
    if integer(header, "HighBit", stored - 1) != stored - 1:
        raise unusable(header.path, "HighBit", "is not one less than Bits Stored", EXPORT_AGAIN)
    signed = integer(header, "PixelRepresentation", 0)
    if signed not in (0, 1) or (signed and not photometric.startswith("MONOCHROME")):
        raise unusable(header.path, "PixelRepresentation", f"is {signed}, which {photometric} cannot be", EXPORT_AGAIN)
    if photometric.startswith("YBR") and (allocated, stored) != (8, 8):
        raise unusable(header.path, "BitsStored", f"is {stored}, but {photometric} is read with 8 of 8", _CONVERT)
    return allocated, stored, bool(signed)


def _check_pixels(header: Header, form: PixelForm, pixels: PixelElement) -> None:
    if form.codec != "native":
        if pixels.length != UNDEFINED:
            what = "is not in fragments, although the Transfer Syntax UID (0002,0010) says that it is compressed"
            raise unusable(header.path, "PixelData", what, EXPORT_AGAIN)
        return
    if pixels.length == UNDEFINED:
        what = "is in fragments, although the Transfer Syntax UID (0002,0010) says that it is not compressed"
        raise unusable(header.path, "PixelData", what, EXPORT_AGAIN)
    if pixels.length < form.frame_bytes * form.frames:
        what = f"has {pixels.length} bytes; {form.frames} frames of {form.columns} x {form.rows} pixels need "
        raise unusable(header.path, "PixelData", f"{what}{form.frame_bytes * form.frames}", COPY_AGAIN)
