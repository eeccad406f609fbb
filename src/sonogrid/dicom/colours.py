"""Samples to 8-bit RGB: grey levels (MONOCHROME1 inverted), palettes, and colours of more than 8 bits.

The rule, in this order:
- MONOCHROME: modality LUT or rescale slope and intercept, then the first VOI LUT or window if there is one, both by
  pydicom; then linearly from the least and greatest value that can come out (not those that do) to 0 and 255, rounded
  half up. Without LUT and window that is the range of the stored bits. MONOCHROME1 is inverted last.
- PALETTE COLOR: looked up; indices below the first entry take the first, those above the last take the last. Of 16-bit
  entries the high byte counts: writers store v x 256 or v x 257 for v, and both give v back.
- RGB of more than 8 bits: linearly from the range of the stored bits to 0 to 255, rounded half up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from sonogrid.arrays import Picture
from sonogrid.dicom import messages
from sonogrid.dicom.form import PixelForm
from sonogrid.dicom.header import DAMAGE, Header, value
from sonogrid.dicom.messages import unusable

Levels = npt.NDArray[np.uint8]
_COLOURS = ("Red", "Green", "Blue")


def to_rgb(samples: npt.NDArray[Any], form: PixelForm, header: Header) -> Picture:
    """Decoded samples, H x W or H x W x 3, as an 8-bit RGB picture. Raises InputError for a damaged LUT."""
    low, high = form.stored_range
    if form.photometric == "PALETTE COLOR":
        first, colours = palette(header)
        return _look_up(colours, samples.astype(np.int32) - first)
    if form.samples == 1:
        grey = _look_up(grey_levels(form, header), samples.astype(np.int32) - low)
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    if form.bits_stored == 8:
        return np.ascontiguousarray(np.minimum(samples, high).astype(np.uint8, copy=False))
    return _look_up(_linear(np.arange(high + 1), low, high), samples)


def _look_up(table: Levels, index: npt.NDArray[Any]) -> Levels:
    """Entries of a table; what leaves it takes the first or the last (a codestream may say more than the header)."""
    found: Levels = np.take(table, index, axis=0, mode="clip")
    return found


def grey_levels(form: PixelForm, header: Header) -> Levels:
    """The grey level of every value that the stored bits can say, in their order."""
    low, high = form.stored_range
    least, greatest = _output_range(form, header)
    keyword = next((name for name in ("VOILUTSequence", "ModalityLUTSequence") if name in header.data), "WindowWidth")
    try:
        stored = np.arange(low, high + 1, dtype=np.int32)
        shown = apply_voi_lut(apply_modality_lut(stored, header.data), header.data)
        levels = _linear(shown, least, greatest)
    except DAMAGE as error:
        raise unusable(header.path, keyword, messages.CANNOT_APPLY) from error
    return 255 - levels if form.photometric == "MONOCHROME1" else levels


def _output_range(form: PixelForm, header: Header) -> tuple[float, float]:
    """Least and greatest value after modality and VOI transform, as PS3.3 C.11.1 and C.11.2 define their output."""
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        if value(header, keyword):
            try:
                bits = int(header.data[keyword].value[0].LUTDescriptor[2])
            except DAMAGE as error:
                raise unusable(header.path, keyword, messages.NO_LUT_DESCRIPTOR) from error
            if not 8 <= bits <= 16:
                raise unusable(header.path, keyword, messages.lut_bits(bits))
            return 0, 2**bits - 1
    low, high = form.stored_range
    slope, intercept = value(header, "RescaleSlope"), value(header, "RescaleIntercept")
    if slope is None or intercept is None:
        return low, high
    try:
        scale, offset = float(slope), float(intercept)
    except DAMAGE as error:
        raise unusable(header.path, "RescaleSlope", messages.NO_NUMBER) from error
    if not (0 < scale < 1e9 and abs(offset) < 1e9):
        raise unusable(header.path, "RescaleSlope", messages.NO_SLOPE)
    return low * scale + offset, high * scale + offset


def _linear(values: npt.NDArray[Any], least: float, greatest: float) -> Levels:
    share = (values.astype(np.float64) - least) * 255 / (greatest - least)
    return np.clip(np.floor(share + 0.5), 0, 255).astype(np.uint8)


def palette(header: Header) -> tuple[int, Levels]:
    """The stored value of the first entry, and N x 3 colours of the palette (PS3.3 C.7.6.3.1.5 and 6)."""
    descriptors = [_descriptor(header, f"{colour}PaletteColorLookupTableDescriptor") for colour in _COLOURS]
    if len(set(descriptors)) > 1:
        raise unusable(header.path, "RedPaletteColorLookupTableDescriptor", messages.UNLIKE_DESCRIPTORS)
    entries, first, bits = descriptors[0]
    columns = [_entries(header, f"{colour}PaletteColorLookupTableData", entries) for colour in _COLOURS]
    if len({column.dtype for column in columns}) > 1:
        raise unusable(header.path, "RedPaletteColorLookupTableData", messages.UNLIKE_DATA)
    table = np.stack(columns, axis=1).astype(np.uint16)
    # PS3.3 C.7.6.3.1.6: some writers pad 8-bit entries to 16 bits, with or without saying so in the descriptor.
    padded = bits == 8 or table.max() <= 255
    return first, np.minimum(table if padded else table >> 8, 255).astype(np.uint8)


def _descriptor(header: Header, keyword: str) -> tuple[int, int, int]:
    found = value(header, keyword)
    if found is None:
        raise unusable(header.path, keyword, messages.NO_DESCRIPTOR)
    try:
        entries, first, bits = (int(part) for part in found)
    except DAMAGE as error:
        raise unusable(header.path, keyword, messages.BAD_DESCRIPTOR) from error
    if bits not in (8, 16) or not 0 <= entries <= 2**16:
        raise unusable(header.path, keyword, messages.palette_entries(entries, bits))
    return entries or 2**16, first, bits


def _entries(header: Header, keyword: str, entries: int) -> npt.NDArray[np.uint8 | np.uint16]:
    data = value(header, keyword)
    if data is None:
        raise unusable(header.path, keyword, messages.NO_PALETTE)
    if not isinstance(data, bytes) or len(data) not in (entries, entries + entries % 2, 2 * entries):
        size = len(data) if isinstance(data, bytes) else 0
        raise unusable(header.path, keyword, messages.palette_size(size, entries))
    order = "<" if header.data.original_encoding[1] else ">"
    words = np.frombuffer(data, dtype=f"{order}u2").astype(np.uint16)
    if len(data) == 2 * entries:
        return words
    # Two entries a word, the first in the low byte, whatever the byte order of the file.
    return words.astype("<u2").view(np.uint8)[:entries]
