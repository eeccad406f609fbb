"""The header of a DICOM file, read within bounds: only the elements that are needed, never the pixels.

pydicom parses. What it is given cannot be read beyond its end, so a claimed length allocates nothing; elements that
are not named in KEYWORDS are skipped unread, so that names, dates and numbers of patients are not even parsed.
"""

from __future__ import annotations

import logging
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from sonogrid.dicom import messages
from sonogrid.dicom.limits import MAX_FILE_BYTES, MAX_HEADER_BYTES, MAX_HEADER_READS, MAX_VALUE_BYTES
from sonogrid.dicom.messages import Fault, unusable, unusable_at

KEYWORDS = (
    *("SpecificCharacterSet", "ImageType", "Manufacturer", "ManufacturerModelName", "PixelPresentation", "PatientID"),
    *("SequenceOfUltrasoundRegions", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("NumberOfFrames", "Rows", "Columns", "UltrasoundColorDataPresent", "PixelSpacing", "BitsAllocated", "BitsStored"),
    *("HighBit", "PixelRepresentation", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
    *("RedPaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData"),
    *("GreenPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableData"),
    *("BluePaletteColorLookupTableDescriptor", "BluePaletteColorLookupTableData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
"""The only elements that are read. PatientID is the one that identifies; only sonogrid.dicom.facts takes it out."""
SINGLE = ("PatientID",)
"""Texts of which a second value is no addition but a contradiction."""
UNDEFINED = 0xFFFFFFFF
"""Length of an element that ends with a delimiter."""
DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, struct.error, InvalidDicomError),
)
"""What pydicom and the decoders raise for damaged bytes; there is no common base class below Exception."""

_PREFIX_END = 132
_TAG_BYTES = 8
_FIRST_PIXELS = 0x7FE00008
_WANTED = {BaseTag(cast(int, tag_for_keyword(keyword))) for keyword in KEYWORDS}
_TRANSFER_SYNTAX = BaseTag(0x00020010)


class DamageError(Exception):
    """A file is at fault; the caller knows which one and mostly the element."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


@dataclass(frozen=True)
class PixelElement:
    """Where the value of Pixel Data lies: VR ('' in implicit VR), offset in the file and length in bytes."""

    vr: str
    offset: int
    length: int


@dataclass(frozen=True)
class Header:
    """The needed elements of a file, how its pixels are coded, and where they are (None: there are none)."""

    path: Path
    syntax: UID
    pixels: PixelElement | None
    data: Dataset = field(repr=False)


class BoundedFile:
    """read, seek and tell of a file: never beyond its end, and no more than a number of bytes and of calls."""

    def __init__(self, file: BinaryIO, size: int, most_bytes: int) -> None:
        self._file, self._size, self._bytes, self._reads = file, size, most_bytes, MAX_HEADER_READS
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes from here to the end."""
        return self._size - self.position

    def read(self, count: int = -1) -> bytes:
        left = self.left
        # pydicom finds the end of a file by a tag and length that are cut short.
        if count > max(left, _TAG_BYTES):
            raise DamageError(messages.claims_more(count, left))
        wanted = left if count < 0 else min(count, left)
        self._bytes, self._reads = self._bytes - wanted, self._reads - 1
        if self._bytes < 0 or self._reads < 0:
            raise DamageError(messages.READS_TOO_MUCH)
        self._file.seek(self.position)
        found = self._file.read(wanted)
        self.position += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self._size}[whence]
        if not 0 <= start + offset <= self._size:
            raise DamageError(messages.leads_outside(start + offset, self._size))
        self.position = start + offset
        return self.position

    def tell(self) -> int:
        return self.position


@contextmanager
def bounded(path: Path, most_bytes: int) -> Iterator[BoundedFile]:
    """Open a file for reading within bounds. Raises InputError if it is no file, unreadable or too large."""
    silence()
    # Checked first: opening a pipe would wait for ever.
    if not path.is_file():
        raise unusable(path, "", messages.NO_FILE)
    try:
        file = path.open("rb")
    except OSError as error:
        raise unusable(path, "", messages.unreadable(error)) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise unusable(path, "", messages.large_file(size, MAX_FILE_BYTES))
        yield BoundedFile(file, size, most_bytes)


def silence() -> None:
    """Drop what pydicom warns and logs: it quotes values, which may identify a patient."""
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


def read_header(path: Path) -> Header:
    """Read the needed elements of a DICOM file. Raises InputError with one problem if that is not possible."""
    with bounded(path, MAX_HEADER_BYTES) as file:
        walk = _Walk(file)
        try:
            return _read(path, file, walk)
        except DamageError as damage:
            raise unusable_at(path, walk.tag, damage.fault) from damage
        except DAMAGE as error:
            raise unusable_at(path, walk.tag, messages.DAMAGED_HEADER) from error


class _Walk:
    """Follows pydicom through the elements of the top level and checks the length that each claims."""

    def __init__(self, file: BoundedFile) -> None:
        self.file, self.tag = file, 0
        self.pixels: PixelElement | None = None

    def in_meta(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether the file meta information ends before this element."""
        return tag >> 16 != 2 or self._check(tag, length)

    def in_body(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether the pixels begin with this element."""
        self._check(tag, length)
        if tag >= _FIRST_PIXELS:
            self.pixels = PixelElement(vr or "", self.file.tell(), length) if tag == 0x7FE00010 else None
        return tag >= _FIRST_PIXELS

    def _check(self, tag: int, length: int) -> bool:
        self.tag = tag
        if length != UNDEFINED:
            if length > self.file.left:
                raise DamageError(messages.claims_more(length, self.file.left))
            if tag in _WANTED and length > MAX_VALUE_BYTES:
                raise DamageError(messages.large_value(length, MAX_VALUE_BYTES))
        return False


def _read(path: Path, file: BoundedFile, walk: _Walk) -> Header:
    if file.left < _PREFIX_END or file.read(_PREFIX_END)[-4:] != b"DICM":
        raise DamageError(messages.NOT_DICOM)
    stream = cast(BinaryIO, file)
    meta = read_dataset(stream, False, True, stop_when=walk.in_meta, specific_tags=[_TRANSFER_SYNTAX])
    syntax = meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID):
        raise unusable(path, "TransferSyntaxUID", messages.NO_SYNTAX)
    if syntax == DeflatedExplicitVRLittleEndian:
        raise unusable(path, "TransferSyntaxUID", messages.DEFLATED)
    implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    data = read_dataset(stream, implicit, little, stop_when=walk.in_body, specific_tags=list(_WANTED))
    return Header(path, syntax, walk.pixels, data)


def value(header: Header, keyword: str) -> Any:
    """Value of an element, None where it is missing or empty. Raises InputError if it cannot be converted."""
    try:
        found = header.data.get(keyword)
    except DAMAGE as error:
        raise unusable(header.path, keyword, messages.DAMAGED_VALUE) from error
    return None if isinstance(found, str | bytes | MultiValue) and not found else found


def integer(header: Header, keyword: str, default: int | None = None) -> int:
    """A whole number. Raises InputError if it is no such number, or is missing and has no default."""
    found = value(header, keyword)
    if found is None and default is not None:
        return default
    if found is None:
        raise unusable(header.path, keyword, messages.MISSING)
    if not isinstance(found, int | float) or int(found) != found:
        raise unusable(header.path, keyword, messages.NO_WHOLE_NUMBER)
    return int(found)


def text(header: Header, keyword: str) -> str:
    """One text without outer white space, '' where it is missing; of several values the first.

    Raises InputError if it cannot be converted, or has several values and is one of SINGLE.
    """
    found = value(header, keyword)
    if isinstance(found, MultiValue):
        if keyword in SINGLE and len(found) > 1:
            raise unusable(header.path, keyword, messages.several_values(len(found)))
        found = found[0]
    return "" if found is None else str(found).strip(" \0")
