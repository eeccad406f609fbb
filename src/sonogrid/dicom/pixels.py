"""One frame of a DICOM file as an RGB picture. The rule for more than 8 bits is in sonogrid.dicom.colours."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy.typing as npt
from pydicom.encaps import get_frame

from sonogrid.arrays import Picture
from sonogrid.dicom import messages
from sonogrid.dicom.codestream import check_codestream
from sonogrid.dicom.colours import to_rgb
from sonogrid.dicom.decode import decode_native, options_of
from sonogrid.dicom.form import PixelForm, read_form
from sonogrid.dicom.header import DAMAGE, BoundedFile, DamageError, Header, PixelElement, bounded, read_header, value
from sonogrid.dicom.limits import MAX_FRAME_BYTES, MAX_FRAMES
from sonogrid.dicom.messages import unusable
from sonogrid.dicom.worker import decode_apart


def read_frame(path: Path, frame: int = 0) -> Picture:
    """Decode one frame, counted from 0, to H x W x 3, whatever its colours and compression.

    Colours are those of pydicom's own conversion, value by value. Only this frame is read and decoded. Raises
    InputError with one problem, which names file, element and remedy, for a file or frame that cannot be read.
    """
    header = read_header(path)
    form, pixels = read_form(header)
    if not 0 <= frame < form.frames:
        raise unusable(path, "NumberOfFrames", messages.no_frame(frame, form.frames))
    try:
        samples = _samples(header, form, pixels, frame)
    except DamageError as damage:
        raise unusable(path, "PixelData", damage.fault) from damage
    except DAMAGE as error:
        raise unusable(path, "PixelData", messages.cannot_decode(frame)) from error
    return to_rgb(samples, form, header)


def _samples(header: Header, form: PixelForm, pixels: PixelElement, frame: int) -> npt.NDArray[Any]:
    options = options_of(form, pixels.vr)
    with bounded(header.path, 2 * MAX_FRAME_BYTES) as file:
        file.seek(pixels.offset)
        stream = cast(BinaryIO, file)
        if form.codec == "native":
            return decode_native(header.syntax, stream, frame, options)
        _check_offsets(file)
        offsets, lengths = value(header, "ExtendedOffsetTable"), value(header, "ExtendedOffsetTableLengths")
        table = (offsets, lengths) if offsets and lengths else None
        stored = get_frame(stream, frame, number_of_frames=form.frames, extended_offsets=table)
    if not 0 < len(stored) <= MAX_FRAME_BYTES:
        raise DamageError(messages.compressed_size(len(stored)))
    check_codestream(stored, form)
    return decode_apart(header.syntax, form.codec, stored, options)


def _check_offsets(file: BoundedFile) -> None:
    """Raise DamageError if the basic offset table, with which the fragments begin, is longer than any needs to be."""
    start = file.tell()
    _, length = struct.unpack("<II", file.read(8))
    if length > 4 * MAX_FRAMES:
        raise DamageError(messages.offset_table(length, MAX_FRAMES))
    file.seek(start)
