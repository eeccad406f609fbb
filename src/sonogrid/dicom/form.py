"""What the header says about the pixels, checked before any is read: sizes, bits, colours, frames, transfer syntax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydicom import uid

from sonogrid.dicom import messages
from sonogrid.dicom.header import UNDEFINED, Header, PixelElement, integer, text, value
from sonogrid.dicom.limits import MAX_FRAME_PIXELS, MAX_FRAMES
from sonogrid.dicom.messages import unusable

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
        raise unusable(header.path, "PixelData", messages.NO_PIXEL_DATA)
    codec = CODECS.get(header.syntax)
    if codec is None:
        name = header.syntax.name if header.syntax.name != header.syntax else None
        raise unusable(header.path, "TransferSyntaxUID", messages.unread_syntax(name))
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    for keyword, size in (("Rows", rows), ("Columns", columns)):
        if size < 1:
            raise unusable(header.path, keyword, messages.below_one(size))
    if rows * columns > MAX_FRAME_PIXELS:
        raise unusable(header.path, "Rows", messages.many_pixels(columns, rows, MAX_FRAME_PIXELS))
    frames = integer(header, "NumberOfFrames", 1)
    if not 1 <= frames <= MAX_FRAMES:
        raise unusable(header.path, "NumberOfFrames", messages.number_of_frames(frames, MAX_FRAMES))
    photometric, samples = _colours(header, codec)
    allocated, stored, signed = _bits(header, photometric)
    planar = integer(header, "PlanarConfiguration", 0) if samples == 3 else 0
    if planar not in (0, 1):
        raise unusable(header.path, "PlanarConfiguration", messages.planar_configuration(planar))
    form = PixelForm(codec, rows, columns, frames, samples, allocated, stored, signed, planar, photometric)
    _check_pixels(header, form, pixels)
    return form, pixels


def _colours(header: Header, codec: Codec) -> tuple[str, int]:
    photometric = text(header, "PhotometricInterpretation").upper()
    read = SAMPLES | (_JPEG_2000_ONLY if codec == "j2k" else {})
    if photometric not in read:
        fault = messages.photometric_interpretation(photometric, read)
        raise unusable(header.path, "PhotometricInterpretation", fault)
    samples = integer(header, "SamplesPerPixel", 1)
    if samples != read[photometric]:
        fault = messages.samples_per_pixel(samples, photometric, read[photometric])
        raise unusable(header.path, "SamplesPerPixel", fault)
    if photometric == "MONOCHROME2" and value(header, "PixelPresentation") in ("COLOR", "MIXED"):
        raise unusable(header.path, "PixelPresentation", messages.SUPPLEMENTAL_PALETTE)
    return photometric, samples


def _bits(header: Header, photometric: str) -> tuple[int, int, bool]:
    allocated = integer(header, "BitsAllocated")
    if allocated not in (8, 16):
        raise unusable(header.path, "BitsAllocated", messages.bits_allocated(allocated))
    stored = integer(header, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise unusable(header.path, "BitsStored", messages.bits_stored(stored, allocated))
    if integer(header, "HighBit", stored - 1) != stored - 1:
        raise unusable(header.path, "HighBit", messages.HIGH_BIT)
    signed = integer(header, "PixelRepresentation", 0)
    if signed not in (0, 1) or (signed and not photometric.startswith("MONOCHROME")):
        raise unusable(header.path, "PixelRepresentation", messages.pixel_representation(signed, photometric))
    if photometric.startswith("YBR") and (allocated, stored) != (8, 8):
        raise unusable(header.path, "BitsStored", messages.bits_of_ybr(stored, photometric))
    return allocated, stored, bool(signed)


def _check_pixels(header: Header, form: PixelForm, pixels: PixelElement) -> None:
    if form.codec != "native":
        if pixels.length != UNDEFINED:
            raise unusable(header.path, "PixelData", messages.NO_FRAGMENTS)
        return
    if pixels.length == UNDEFINED:
        raise unusable(header.path, "PixelData", messages.FRAGMENTS)
    needed = form.frame_bytes * form.frames
    if pixels.length < needed:
        fault = messages.short_pixels(pixels.length, form.frames, form.columns, form.rows, needed)
        raise unusable(header.path, "PixelData", fault)
