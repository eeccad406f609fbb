"""Picture files decoded safely: one array form, and one clear Problem for a file that cannot be used.

How each kind of pixel becomes 8-bit RGB: grey and 1-bit are repeated in three channels; 16-bit grey is scaled
linearly from 0..65535 to 0..255; a palette is looked up; transparent pixels are laid over black; CMYK and
YCbCr are converted. 32-bit pixels have no stated range and are refused. The EXIF orientation is applied.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sonogrid.arrays import Mask, Picture
from sonogrid.cohort.picture_messages import (
    damaged,
    empty,
    missing,
    no_picture,
    several_frames,
    too_deep,
    too_large,
)
from sonogrid.cohort.reader import Decoder

_Pixel = TypeVar("_Pixel", bound=np.generic)
PICTURES = "pictures"
"""Name of the decoder of picture files in a manifest."""
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded: no ultrasound export comes near 50 megapixels."""

_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders raise for damaged bytes; there is no common base class below Exception.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


class PictureDecoder(Decoder):
    """Decodes picture files; readers whose sources are picture files inherit from it."""

    packages: ClassVar[tuple[str, ...]] = ("numpy", "pillow")

    @property
    def decoder(self) -> str:
        """Name of this decoder, which readers share."""
        return PICTURES

    def decode(self, path: Path, decoding: Mapping[str, Any]) -> Picture:
        """Return the picture of a file; see open_picture."""
        return open_picture(path)


class PictureFiles(PictureDecoder):
    """The decoder of picture files by itself, for rows of a manifest."""

    name: ClassVar[str] = PICTURES


def open_picture(path: Path) -> Picture:
    """Decode a whole picture file to uint8 RGB, H x W x 3.

    Raises InputError with one Problem that names the file if it is missing, empty, not a picture of a known
    format (FORMATS), damaged or cut short, of several frames, above MAX_PIXELS, or of 32-bit pixels.
    """
    # asarray copies the decoder's pixels once, into an array that is read-only.
    return _decoded(path, lambda image: np.asarray(_to_rgb(image)))


def open_mask(path: Path) -> Mask:
    """Decode a lesion mask to H x W booleans: True where any channel is above 0. Raises as open_picture."""
    return _decoded(path, _inside)


def _inside(image: Image.Image) -> Mask:
    if image.mode == "L" and "transparency" not in image.info:
        return np.asarray(np.asarray(image) > 0)
    return np.asarray(np.asarray(_to_rgb(image)).max(axis=2) > 0)


def _decoded(path: Path, as_array: Callable[[Image.Image], NDArray[_Pixel]]) -> NDArray[_Pixel]:
    """The array of a picture that can be used, turned as its EXIF data say; raises as open_picture."""
    if not path.is_file():
        raise missing(path)
    if path.stat().st_size == 0:
        raise empty(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise too_large(path, image.size, MAX_PIXELS)
            frames = getattr(image, "n_frames", 1)
            if frames > 1:
                raise several_frames(path, frames)
            if image.mode in ("I", "F"):
                raise too_deep(path)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return as_array(image)
    except UnidentifiedImageError as error:
        raise no_picture(path, FORMATS) from error
    except _BOMB as error:
        raise too_large(path, None, MAX_PIXELS) from error
    except _DAMAGE as error:
        raise damaged(path, error) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        # Rounded division by 257, which maps 65535 to 255 exactly.
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colour = image.convert("RGBA")
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, colour)
    return image if image.mode == "RGB" else image.convert("RGB")
