"""A plugin that lets pydicom decode lossless JPEG (processes 14 and 14 SV1) of 8 bits by Pillow's libjpeg-turbo.

The decoders that pydicom knows for it are under the GPL (pylibjpeg-libjpeg) or crash on damaged frames (GDCM).
The module has the shape that pydicom's Decoder.add_plugin asks for.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image
from pydicom import uid

DECODER_DEPENDENCIES = dict.fromkeys((uid.JPEGLossless, uid.JPEGLosslessSV1), ("pillow>=11",))


def is_available(syntax: str) -> bool:
    """Whether this plugin decodes a transfer syntax."""
    return syntax in DECODER_DEPENDENCIES


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Samples of a frame as they are coded, colour by pixel: lossless JPEG is not converted."""
    with Image.open(BytesIO(source), formats=("JPEG",)) as image:
        runner.set_option("planar_configuration", 0)
        # The samples of a frame are 8 bits wide, whatever is allocated in the header.
        runner.set_option("bits_allocated", 8)
        return image.tobytes()
