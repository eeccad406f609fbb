"""Which code and packages decide a look (what is kept of a picture, and the lesion's axes) and a canvas.

Digested is what is reached by imports from `images/look.py` or `images/canvas.py`, and from the decoder of the
picture. What is imported and not digested is listed here, with the entries of the key or recipe that carry its effect.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from importlib.metadata import version
from types import MappingProxyType

from sonogrid.cohort.registry import decoder_of
from sonogrid.files import digest
from sonogrid.imports import file_of, reached
from sonogrid.provenance import code_digest

LOOK, CANVAS = "sonogrid.images.look", "sonogrid.images.canvas"
REFUSED = ("none: it is raised, and what raises has no canvas",)
NO_PIXELS = ("none: it finds files and passes them on, and touches no pixel",)
CARRIED = MappingProxyType(
    {
        LOOK: {
            "sonogrid.cohort.picture_files": ("mask_code",),
            "sonogrid.cohort.sources": ("files", "scan", "mm_per_pixel", "modality"),
            "sonogrid.config.cohort": ("layout", "settings"),
            "sonogrid.config.modalities": ("modality",),
            "sonogrid.images.messages": REFUSED,
            "sonogrid.problems": REFUSED,
        },
        CANVAS: {
            "sonogrid.cohort.registry": ("decoder", "code"),
            "sonogrid.cohort.sources": ("decoding",),
            "sonogrid.config.cohort": ("layout",),
            "sonogrid.config.images": ("size", "channels"),
            "sonogrid.config.modalities": ("modality",),
            "sonogrid.images.messages": REFUSED,
        },
    }
)
"""Digested module -> module that is imported and not digested -> entries of the key or recipe that carry its effect."""
NOT_DECODING = MappingProxyType(
    {
        "sonogrid.cohort.manifest": NO_PIXELS,
        "sonogrid.cohort.picture_messages": REFUSED,
        "sonogrid.cohort.reader": NO_PIXELS,
        "sonogrid.cohort.sources": ("decoding", "framing", "pixel_aspect"),
        "sonogrid.config": ("decoding", "framing", "pixel_aspect"),
        "sonogrid.console": NO_PIXELS,
        "sonogrid.dicom.allowance": REFUSED,
        "sonogrid.dicom.messages": REFUSED,
        "sonogrid.parallel": NO_PIXELS,
        "sonogrid.problems": REFUSED,
    }
)
"""The same for decoders."""
PACKAGES = MappingProxyType(
    {
        LOOK: ("numpy", "scipy", "opencv-python-headless", "rapidocr", "onnxruntime"),
        CANVAS: ("numpy", "pillow", "opencv-python-headless"),
    }
)
"""Digested module -> packages whose version decides with it."""


@functools.cache
def deciding_code(what: str, decoder: str) -> str:
    """Return the digest of all code and packages that decide LOOK or CANVAS for pictures of one decoder.

    Raise InputError with how to install a package of the decoder that is missing.
    """
    decodes = decoder_of(decoder)
    versions = [*(f"{name} {version(name)}" for name in PACKAGES[what]), *decodes.versions()]
    return digest(
        code=_code([what], tuple(CARRIED[what])),
        decoder=_code(decodes.code(), tuple(NOT_DECODING)),
        versions=versions,
    )


def _code(roots: Iterable[str], without: Collection[str]) -> str:
    files = [file_of(module) for module in reached(roots, without)]
    return code_digest([file for file in files if file is not None])
