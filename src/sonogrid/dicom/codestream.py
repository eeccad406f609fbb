"""What a compressed frame says about itself, compared with the header before a decoder sees it.

A decoder allocates for the size that the codestream claims, so that size must be the one of the header. Layouts:
JPEG (ITU-T T.81, B.2), JPEG-LS (ITU-T T.87, C.2), JPEG 2000 (ITU-T T.800, A.5.1), RLE (DICOM PS3.5, G.5).
"""

from __future__ import annotations

import struct
from itertools import pairwise

from sonogrid.dicom import messages
from sonogrid.dicom.form import PixelForm
from sonogrid.dicom.header import DamageError
from sonogrid.dicom.limits import MAX_SCANS, MAX_TILES

_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
# Start-of-frame markers by codec; 0xC3 is lossless, 0xC0 to 0xC2 are baseline, extended and progressive.
_FRAMES = {"jpeg": {0xC0, 0xC1, 0xC2}, "lossless": {0xC3}, "jls": {0xF7}}
_ALL_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_NO_LENGTH = {0x01, *range(0xD0, 0xD8)}


def check_codestream(frame: bytes, form: PixelForm) -> None:
    """Raise DamageError unless a compressed frame is of the codec, size, samples and bits of the form."""
    try:
        if form.codec == "rle":
            _check_rle(frame, form)
        elif form.codec == "j2k":
            _check_j2k(frame, form)
        else:
            _check_jpeg(frame, form)
    except (struct.error, IndexError) as error:
        raise DamageError(messages.CUT_SHORT) from error


def _check_jpeg(frame: bytes, form: PixelForm) -> None:
    if frame[:2] != bytes((0xFF, _START)):
        raise DamageError(messages.OTHER_CODEC)
    found: list[tuple[int, int, int, int, int]] = []
    at = 2
    while True:
        while frame[at] == 0xFF and frame[at + 1] == 0xFF:
            at += 1
        if frame[at] != 0xFF:
            raise DamageError(messages.NO_MARKER)
        marker = frame[at + 1]
        if marker == _SCAN:
            break
        if marker in _NO_LENGTH:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        if marker in _ALL_FRAMES:
            found.append((marker, *struct.unpack_from(">BHHB", frame, at + 4)))
        at += 2 + max(length, 2)
    if len(found) != 1 or found[0][0] not in _FRAMES[form.codec]:
        raise DamageError(messages.OTHER_CODEC)
    _, bits, rows, columns, samples = found[0]
    _check_size((rows, columns, samples), form)
    if form.codec != "jls" and bits != 8:
        raise DamageError(messages.jpeg_bits(bits))
    _check_bits(bits, form)
    # Within compressed data 0xFF is followed by 0 or a restart marker, so that this counts scans alone.
    if frame.count(bytes((0xFF, _SCAN))) > MAX_SCANS:
        raise DamageError(messages.many_scans(MAX_SCANS))
    # CharLS works on for seconds where the data end too early.
    if form.codec == "jls" and bytes((0xFF, _END)) not in frame[-10:]:
        raise DamageError(messages.NO_END)


def _check_j2k(frame: bytes, form: PixelForm) -> None:
    if frame[:4] != b"\xff\x4f\xff\x51":
        raise DamageError(messages.OTHER_CODEC)
    x1, y1, x0, y0, tile_x, tile_y, first_x, first_y, samples = struct.unpack_from(">8IH", frame, 8)
    _check_size((y1 - y0, x1 - x0, samples), form)
    if min(tile_x, tile_y) < 1 or -(-(x1 - first_x) // tile_x) * -(-(y1 - first_y) // tile_y) > MAX_TILES:
        raise DamageError(messages.many_tiles(MAX_TILES))
    for sample in range(samples):
        bits, step_x, step_y = struct.unpack_from(">3B", frame, 42 + 3 * sample)
        _check_bits((bits & 0x7F) + 1, form)
        if (step_x, step_y) != (1, 1):
            raise DamageError(messages.FEWER_SAMPLES)


def _check_rle(frame: bytes, form: PixelForm) -> None:
    (segments,) = struct.unpack_from("<I", frame)
    expected = form.samples * form.bits_allocated // 8
    if segments != expected:
        raise DamageError(messages.rle_segments(segments, expected))
    offsets = [*struct.unpack_from(f"<{segments}I", frame, 4), len(frame)]
    if offsets[0] < 64 or any(after < before for before, after in pairwise(offsets)):
        raise DamageError(messages.SEGMENT_ORDER)
    # 129 bytes stand for at most 128; what is longer only keeps the decoder busy.
    if len(frame) > 2 * form.rows * form.columns * segments + 1024:
        raise DamageError(messages.LARGE_SEGMENTS)


def _check_size(found: tuple[int, int, int], form: PixelForm) -> None:
    expected = (form.rows, form.columns, form.samples)
    if found != expected:
        raise DamageError(messages.frame_size(found, expected))


def _check_bits(bits: int, form: PixelForm) -> None:
    if bits > form.bits_allocated:
        raise DamageError(messages.frame_bits(bits, form.bits_allocated))
