"""What is known of pictures that were looked at before, so that a second run looks only at what is new.

A picture is the same if its bytes, what its source tells of it, the settings and the code are: the digest of all
of these is its key. The file is a convenience: without it every picture is looked at again, with the same result.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sonogrid.files import write_csv
from sonogrid.images.boxes import boxes_as_text, boxes_from_text
from sonogrid.images.framing import Framing

COLUMNS = ("key", "sha256", "mask_sha256", "width", "height", "scan", "masked", "long_mm", "short_mm")
KEPT_EVERY = 200
"""So many new pictures at most are looked at again after a crash."""


@dataclass(frozen=True)
class Look:
    """What was seen: SHA-256 of the file the manifest names, size in pixels, framing, and axes of the lesion in mm.

    `mask_sha256` is that of the mask, where one was made, else ''.
    """

    sha256: str
    width: int
    height: int
    framing: Framing
    axes_mm: tuple[float, float] | None
    mask_sha256: str = ""


class Seen:
    """Looks by key: those of an earlier run, and those of this one, which are written as they come."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.earlier = _read(file)
        self.now: dict[str, Look] = {}
        self._unwritten = 0

    def keep(self, key: str, look: Look) -> None:
        """Remember a look of this run."""
        self.now[key] = look
        self._unwritten += key not in self.earlier
        if self._unwritten >= KEPT_EVERY:
            _write(self.earlier | self.now, self.file)
            self._unwritten = 0

    def close(self, whole: bool) -> None:
        """Write what is known: of a `whole` run its own looks, of one that was cut short those of earlier ones too."""
        looks = self.now if whole else self.earlier | self.now
        if looks != self.earlier:
            _write(looks, self.file)


def _write(looks: dict[str, Look], file: Path) -> None:
    rows = [
        (
            *(key, look.sha256, look.mask_sha256, look.width, look.height),
            *(boxes_as_text([look.framing.scan]), boxes_as_text(look.framing.masked)),
            *(look.axes_mm or ("", "")),
        )
        for key, look in sorted(looks.items())
    ]
    write_csv(pd.DataFrame(rows, columns=list(COLUMNS)), file)


def _read(file: Path) -> dict[str, Look]:
    """The looks in a file; none if it is missing or damaged, as they can be made again."""
    try:
        with file.open(encoding="utf-8", newline="") as rows:
            return {row["key"]: _look(row) for row in csv.DictReader(rows)}
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return {}


def _look(row: dict[str, str]) -> Look:
    (scan,), masked = boxes_from_text(row["scan"]), boxes_from_text(row["masked"])
    axes = (float(row["long_mm"]), float(row["short_mm"])) if row["long_mm"] else None
    width, height = int(row["width"]), int(row["height"])
    for box in (scan, *masked):
        if not (0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height):
            raise ValueError(f"{tuple(box)} is not inside {width} x {height} pixels")
    return Look(row["sha256"], width, height, Framing(scan, masked), axes, row["mask_sha256"])
