"""The decoder of DICOM files, apart from their reader, so that how files are found decides no canvas."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sonogrid.arrays import Picture
from sonogrid.cohort.reader import Decoder
from sonogrid.dicom.pixels import read_frame


class DicomDecoder(Decoder):
    """Decodes one frame of a DICOM file; see sonogrid.dicom.pixels."""

    name: ClassVar[str] = "dicom"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "pillow", "pydicom", "pyjpegls")
    # The decoder of lossless JPEG is named to pydicom as text.
    modules: ClassVar[tuple[str, ...]] = ("sonogrid.dicom.lossless",)

    def decode(self, path: Path, decoding: Mapping[str, Any]) -> Picture:
        """Return the frame that `decoding` names."""
        return read_frame(path, int(decoding["frame"]))
