"""Side-by-side pictures of findings, drawn from canvases alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sonogrid.arrays import Picture
from sonogrid.audit.album import Album, AlbumEntry
from sonogrid.audit.findings import Finding, Severity
from sonogrid.files import whole_file

MOST_PICTURES = 200
"""Findings that get a picture; of more, the first in the order of the table."""
MOST_CANVASES = 8
"""Canvases in one picture; the title counts the rest."""
COLUMNS = 4
SIDE = 256
"""Pixels of a canvas in the picture."""
_LINE, _GAP = 14, 6


def illustrated(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that get a picture: those about images, at most MOST_PICTURES."""
    return [one for one in findings if one.images][:MOST_PICTURES]


def side_by_side(finding: Finding, album: Album) -> Picture:
    """Canvases of a finding beside one another, each with image id, label and modality above; H x W x 3."""
    by_name = {one.image: one for one in album.entries}
    shown = [by_name[name] for name in finding.images[:MOST_CANVASES]]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = columns * (SIDE + _GAP) + _GAP, 2 * _LINE + rows * (SIDE + 2 * _LINE + _GAP) + _GAP
    page = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    rest = len(finding.images) - len(shown)
    draw.text((_GAP, 2), _fitting(finding.name, width), fill=_COLOUR[finding.severity])
    draw.text((_GAP, _LINE), _fitting(finding.what + (f" ({rest} more)" if rest else ""), width), fill=(0, 0, 0))
    for place, entry in enumerate(shown):
        left = _GAP + place % columns * (SIDE + _GAP)
        top = 2 * _LINE + _GAP + place // columns * (SIDE + 2 * _LINE + _GAP)
        draw.text((left, top), _fitting(entry.image, SIDE), fill=(0, 0, 0))
        draw.text((left, top + _LINE), _fitting(_caption(entry), SIDE), fill=(90, 90, 90))
        canvas = Image.fromarray(np.ascontiguousarray(album.canvas(entry)))
        page.paste(canvas.resize((SIDE, SIDE), Image.Resampling.BILINEAR), (left, top + 2 * _LINE))
    return np.asarray(page, dtype=np.uint8)


def write_pictures(findings: Sequence[Finding], album: Album, folder: Path) -> list[Path]:
    """Write NAME.png for the illustrated findings and remove pictures of earlier ones; gives the files."""
    files = []
    for finding in illustrated(findings):
        files.append(folder / f"{finding.name}.png")
        with whole_file(files[-1]) as temporary:
            Image.fromarray(side_by_side(finding, album)).save(temporary)
    for old in sorted(set(folder.glob("[!.]*.png")) - set(files)):
        old.unlink()
    return files


_COLOUR: dict[Severity, tuple[int, int, int]] = {"stop": (180, 0, 0), "note": (0, 0, 0)}


def _caption(entry: AlbumEntry) -> str:
    return f"{entry.label}, {entry.modality}"


def _fitting(text: str, width: int) -> str:
    """Text that Pillow's built-in font (6 pixels a letter, Latin 1) can show in so many pixels."""
    plain = text.encode("latin-1", "replace").decode("latin-1")
    letters = (width - _GAP) // 6
    return plain if len(plain) <= letters else plain[: letters - 3] + "..."
