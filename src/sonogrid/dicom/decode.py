"""One stored frame to an array of samples, by pydicom and the decoders that it is told to use."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from sonogrid.dicom.form import Codec, PixelForm

PLUGINS: dict[Codec, str] = {
    "rle": "pydicom",
    "jpeg": "pillow",
    "lossless": "pillow_lossless",
    "jls": "pyjpegls",
    "j2k": "pillow",
}
"""Named, so that the same bytes give the same picture whatever else is installed."""


def options_of(form: PixelForm, vr: str) -> dict[str, Any]:
    """What pydicom must know to decode; JSON can carry it."""
    return {
        "rows": form.rows,
        "columns": form.columns,
        # Of a compressed frame only this one is handed over.
        "number_of_frames": form.frames if form.codec == "native" else 1,
        "samples_per_pixel": form.samples,
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "planar_configuration": form.planar,
        "photometric_interpretation": form.photometric,
        "pixel_keyword": "PixelData",
        "pixel_vr": vr,
    }


def decode_native(syntax: str, file: BinaryIO, frame: int, options: dict[str, Any]) -> npt.NDArray[Any]:
    """Read one frame that is not compressed from a file at the start of the pixels; as decode in all else."""
    pixels, _ = get_decoder(syntax).as_array(file, index=frame, **options)
    return pixels


def decode(syntax: str, codec: Codec, frame: bytes, options: dict[str, Any]) -> npt.NDArray[Any]:
    """Decode one compressed frame to H x W or H x W x 3 integers; YBR becomes RGB. Raises what the decoders raise."""
    decoder = get_decoder(syntax)
    plugin = PLUGINS[codec]
    if codec == "lossless" and plugin not in decoder.available_plugins:
        decoder.add_plugin(plugin, ("sonogrid.dicom.lossless", "decode_frame"))
    source = encapsulate([frame], has_bot=False)
    pixels, _ = decoder.as_array(source, index=0, decoding_plugin=plugin, **options)
    return pixels
