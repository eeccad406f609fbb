"""What is said of DICOM files that cannot be used. It decides no pixel: where one of these is raised, there is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_description, tag_for_keyword

from sonogrid.problems import InputError, Problem


class Fault(NamedTuple):
    """What is wrong with a file or an element, and what to do about it: phrases of a Problem."""

    what: str
    remedy: str


def unusable(path: Path, keyword: str, fault: Fault) -> InputError:
    """Return the error that names a file, an element by its keyword ('' for none) and a way out."""
    return unusable_at(path, _tag(keyword) if keyword else 0, fault)


def unusable_at(path: Path, tag: int, fault: Fault) -> InputError:
    """Return the same for an element by its tag, 0 for none."""
    where = f"{path}, {_named(tag)}" if tag else str(path)
    return InputError([Problem(where, fault.what, fault.remedy)])


def element(keyword: str) -> str:
    """Return name and number of an element: 'Rows (0028,0010)'."""
    return _named(_tag(keyword))


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword!r} is no keyword of the DICOM dictionary")
    return tag


def _named(tag: int) -> str:
    number = f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
    try:
        return f"{dictionary_description(tag)} {number}"
    except KeyError:
        return f"element {number}"


_LEAVE_OUT = "take it out of the data"
_COPY_AGAIN = f"Copy the file again from its source, or {_LEAVE_OUT}"
_EXPORT_AGAIN = f"Export the file again from the scanner or the archive, or {_LEAVE_OUT}"
_CONVERT = "Convert the file to Explicit VR Little Endian"
_DECOMPRESS = f"{_CONVERT} (gdcmconv --raw does)"
_DECOMPRESS_OR_LEAVE_OUT = f"{_DECOMPRESS}, or {_LEAVE_OUT}"

# Files and their headers.

NO_FILE = Fault("there is no such file", f"Correct the path, or {_LEAVE_OUT}")
NOT_DICOM = Fault("is not a DICOM file: DICM is not at byte 128", f"Replace it, or {_LEAVE_OUT}")
READS_TOO_MUCH = Fault("needs more bytes or elements to be read than any picture has", _EXPORT_AGAIN)
DAMAGED_HEADER = Fault("cannot be read: the file is damaged or nests too deeply", _COPY_AGAIN)
NO_SYNTAX = Fault("is missing: how the file is coded is not known", _EXPORT_AGAIN)
DEFLATED = Fault("says that the whole file is deflated, which is not read", f"{_CONVERT} (dcmconv or gdcmconv do)")
MISSING = Fault("is missing", _EXPORT_AGAIN)
DAMAGED_VALUE = Fault("cannot be read: its value is damaged", _COPY_AGAIN)
NO_WHOLE_NUMBER = Fault("is not one whole number", _EXPORT_AGAIN)


def unreadable(error: OSError) -> Fault:
    """Return the fault of a file that cannot be opened."""
    return Fault(f"cannot be read ({error.strerror})", _COPY_AGAIN)


def large_file(size: int, most: int) -> Fault:
    """Return the fault of a file of too many bytes."""
    return Fault(f"has {size} bytes; the limit is {most // 2**30} GB", "Export fewer frames into one file")


def large_value(size: int, most: int) -> Fault:
    """Return the fault of an element of too many bytes."""
    return Fault(f"has {size} bytes; the limit is {most}", _EXPORT_AGAIN)


def claims_more(size: int, left: int) -> Fault:
    """Return the fault of a length that goes beyond the end of the file."""
    return Fault(f"claims {size} bytes where the file has {left} left", _COPY_AGAIN)


def leads_outside(offset: int, size: int) -> Fault:
    """Return the fault of a place that is outside of the file."""
    return Fault(f"leads to byte {offset} of a file of {size}", _COPY_AGAIN)


def several_values(values: int) -> Fault:
    """Return the fault of an element that contradicts itself."""
    what = f"has {values} values (separated by a backslash) where the standard has one"
    return Fault(what, "Write the one that is right, or take the file out of the data")


# The form of the pixels.

NO_PIXEL_DATA = Fault("is missing or empty: the file has no pixels", _EXPORT_AGAIN)
HIGH_BIT = Fault("is not one less than Bits Stored", _EXPORT_AGAIN)
SUPPLEMENTAL_PALETTE = Fault(
    "says that some grey values stand for colours of a supplemental palette, which is not read",
    "Export the file in RGB colours",
)
NO_FRAGMENTS = Fault(
    "is not in fragments, although the Transfer Syntax UID (0002,0010) says that it is compressed", _EXPORT_AGAIN
)
FRAGMENTS = Fault(
    "is in fragments, although the Transfer Syntax UID (0002,0010) says that it is not compressed", _EXPORT_AGAIN
)


def unread_syntax(name: str | None) -> Fault:
    """Return the fault of a transfer syntax that is not read; None: it has no name."""
    return Fault(f"is {name or 'an unknown one'}, which is not read", _DECOMPRESS_OR_LEAVE_OUT)


def below_one(size: int) -> Fault:
    """Return the fault of a picture without a row or column."""
    return Fault(f"is {size}", _EXPORT_AGAIN)


def many_pixels(columns: int, rows: int, most: int) -> Fault:
    """Return the fault of Rows of a frame of too many pixels."""
    what = f"times Columns is {columns} x {rows}; the limit is {most // 1_000_000} megapixels"
    return Fault(what, _EXPORT_AGAIN)


def number_of_frames(frames: int, most: int) -> Fault:
    """Return the fault of a file with no frame or too many."""
    what = "is 0: there is no picture" if frames == 0 else f"is {frames}, not between 1 and {most}"
    return Fault(what, _EXPORT_AGAIN)


def planar_configuration(planar: int) -> Fault:
    """Return the fault of samples in an order that is not known."""
    return Fault(f"is {planar}, neither 0 nor 1", _EXPORT_AGAIN)


def photometric_interpretation(said: str, read: Iterable[str]) -> Fault:
    """Return the fault of colours that are missing or not read; what is said is not quoted, it could be anything."""
    return Fault(f"is none of {', '.join(read)}" if said else "is missing", _DECOMPRESS_OR_LEAVE_OUT)


def samples_per_pixel(samples: int, photometric: str, expected: int) -> Fault:
    """Return the fault of samples that do not fit the colours."""
    return Fault(f"is {samples}, but {photometric} has {expected}", _EXPORT_AGAIN)


def bits_allocated(bits: int) -> Fault:
    """Return the fault of samples of other sizes than are read."""
    return Fault(f"is {bits}, neither 8 nor 16", _DECOMPRESS_OR_LEAVE_OUT)


def bits_stored(bits: int, allocated: int) -> Fault:
    """Return the fault of more bits than there is room for, or none."""
    return Fault(f"is {bits}, but {allocated} are allocated", _EXPORT_AGAIN)


def bits_of_ybr(bits: int, photometric: str) -> Fault:
    """Return the fault of YBR colours of other than 8 bits."""
    return Fault(f"is {bits}, but {photometric} is read with 8 of 8", _DECOMPRESS_OR_LEAVE_OUT)


def pixel_representation(signed: int, photometric: str) -> Fault:
    """Return the fault of a sign that the colours cannot have."""
    return Fault(f"is {signed}, which {photometric} cannot be", _EXPORT_AGAIN)


def short_pixels(size: int, frames: int, columns: int, rows: int, needed: int) -> Fault:
    """Return the fault of pixels that end before the last frame does."""
    what = f"has {size} bytes; {frames} frames of {columns} x {rows} pixels need {needed}"
    return Fault(what, _COPY_AGAIN)


# Frames, compressed or not.

CUT_SHORT = Fault("is cut short within the header of a compressed frame", _COPY_AGAIN)
OTHER_CODEC = Fault("is not coded as the Transfer Syntax UID (0002,0010) says", _EXPORT_AGAIN)
NO_MARKER = Fault("has a damaged compressed frame: a marker is missing", _COPY_AGAIN)
NO_END = Fault("is cut short: a compressed frame has no end", _COPY_AGAIN)
FEWER_SAMPLES = Fault("has a frame with fewer samples of one colour than of another", _EXPORT_AGAIN)
SEGMENT_ORDER = Fault("has an RLE frame whose segments are not in order", _COPY_AGAIN)
LARGE_SEGMENTS = Fault("has an RLE frame that is larger than its pixels", _EXPORT_AGAIN)
DAMAGED_FRAME = Fault("has a compressed frame that is damaged", _COPY_AGAIN)
BREAKS_DECODER = Fault("has a compressed frame that breaks its decoder", _COPY_AGAIN)


def no_frame(frame: int, frames: int) -> Fault:
    """Return the fault of a frame that a file does not have."""
    what = f"is {frames}: there is no frame {frame} (the first is 0)"
    return Fault(what, "Read the cohort again (snakemake --forcerun cohort), or correct the frame")


def cannot_decode(frame: int) -> Fault:
    """Return the fault of a frame whose place or pixels are damaged."""
    return Fault(f"cannot be decoded at frame {frame}: it is damaged", _COPY_AGAIN)


def compressed_size(size: int) -> Fault:
    """Return the fault of a compressed frame of no bytes or too many."""
    return Fault(f"has a compressed frame of {size} bytes", _COPY_AGAIN)


def offset_table(size: int, most_frames: int) -> Fault:
    """Return the fault of an offset table that is longer than any needs to be."""
    return Fault(f"has an offset table of {size} bytes for at most {most_frames} frames", _COPY_AGAIN)


def slow_frame(seconds: float) -> Fault:
    """Return the fault of a frame that takes too long."""
    return Fault(f"has a frame that takes more than {seconds:.0f} s to decode", _EXPORT_AGAIN)


def frame_size(found: tuple[int, int, int], expected: tuple[int, int, int]) -> Fault:
    """Return the fault of a codestream of other rows, columns and samples than the header says."""
    what = (
        f"has a compressed frame of {found[1]} x {found[0]} pixels with {found[2]} samples, the header says "
        f"{expected[1]} x {expected[0]} with {expected[2]}"
    )
    return Fault(what, _EXPORT_AGAIN)


def frame_bits(bits: int, allocated: int) -> Fault:
    """Return the fault of a codestream of more bits than there is room for."""
    return Fault(f"has a frame of {bits} bits, but {allocated} are allocated", _EXPORT_AGAIN)


def jpeg_bits(bits: int) -> Fault:
    """Return the fault of JPEG of other than 8 bits."""
    return Fault(f"is JPEG with {bits} bits a sample, of which only 8 are read", _DECOMPRESS)


def many_scans(most: int) -> Fault:
    """Return the fault of a JPEG frame of too many scans."""
    return Fault(f"has a frame of more than {most} scans", _EXPORT_AGAIN)


def many_tiles(most: int) -> Fault:
    """Return the fault of a JPEG 2000 frame of too many tiles."""
    return Fault(f"has a frame of more than {most} tiles", _EXPORT_AGAIN)


def rle_segments(segments: int, expected: int) -> Fault:
    """Return the fault of an RLE frame of other segments than its samples have bytes."""
    return Fault(f"has an RLE frame of {segments} segments, not {expected}", _EXPORT_AGAIN)


# Grey levels and palettes.

CANNOT_APPLY = Fault("cannot be applied to the grey values", _EXPORT_AGAIN)
NO_LUT_DESCRIPTOR = Fault("has no LUT Descriptor (0028,3002)", _EXPORT_AGAIN)
NO_NUMBER = Fault("is not one number", _EXPORT_AGAIN)
NO_SLOPE = Fault("is not a positive number below 1e9", _EXPORT_AGAIN)
UNLIKE_DESCRIPTORS = Fault("is not the same for red, green and blue", _EXPORT_AGAIN)
UNLIKE_DATA = Fault("is coded unlike green and blue", _EXPORT_AGAIN)
NO_DESCRIPTOR = Fault("is missing: the palette's colours are not known", _EXPORT_AGAIN)
BAD_DESCRIPTOR = Fault("is not three whole numbers", _EXPORT_AGAIN)
NO_PALETTE = Fault(
    "is missing: the palette has no colours, or is segmented, which is not read",
    "Export the file in RGB colours or with a plain palette",
)


def lut_bits(bits: int) -> Fault:
    """Return the fault of a LUT of entries of too few or too many bits."""
    return Fault(f"has entries of {bits} bits, not 8 to 16", _EXPORT_AGAIN)


def palette_entries(entries: int, bits: int) -> Fault:
    """Return the fault of a palette of sizes that no palette has."""
    return Fault(f"says {entries} entries of {bits} bits, not of 8 or 16", _EXPORT_AGAIN)


def palette_size(size: int, entries: int) -> Fault:
    """Return the fault of a palette that does not fit its descriptor."""
    what = f"has {size} bytes for {entries} entries: the palette is shorter or longer than its descriptor says"
    return Fault(what, _COPY_AGAIN)


# Regions.


def many_regions(regions: int, most: int) -> Fault:
    """Return the fault of a file with too many regions."""
    return Fault(f"has {regions} regions; the limit is {most}", _EXPORT_AGAIN)


def damaged_region(number: int) -> Fault:
    """Return the fault of a region that cannot be read."""
    return Fault(f"has a damaged or incomplete region {number}", _EXPORT_AGAIN)


def no_region(notes: Iterable[str]) -> Fault:
    """Return the fault of regions of which none is a view; each note says why one is not."""
    what = f"tells of no 2D region within the pixels: {'; '.join(notes)}"
    return Fault(what, "Take the file out of the data, or export the 2D picture alone")
