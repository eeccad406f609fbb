"""The scan area of a picture: what is left without the scanner's frame and the text beside the scan.

The rule: a pixel is live if its neighbours differ (speckle, tissue) and it is not near black; a place is scan
if most of its surroundings are live; what is thinner than a twentieth of the shorter side (lines of text,
colour bars, rulers) is opened away; the largest connected piece, and every piece at least a quarter as large
(the second view of a dual view), span the scan area. If too little is left, the whole picture is kept.
Text inside the scan cannot be cut away without cutting tissue, and stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sonogrid.arrays import Box, Picture
from sonogrid.images.boxes import whole

DARK = 16
"""Grey levels up to this count as black unless they are textured: frames saved as JPEG are not exactly 0."""
TEXTURE = 4
"""Range of grey levels among 3 x 3 neighbours from which even dark pixels count as live."""
THIN = 0.05
"""Share of the shorter side below which a piece is no scan."""
SECOND_VIEW = 0.25
"""Share of the largest piece's area from which another piece is a view of its own."""
LEAST = 0.05
"""Share of the picture below which a detected area is not believed."""


def scan_area(picture: Picture) -> Box:
    """Find the scan area of an H x W x 3 picture; always inside the picture and never empty."""
    # Here, as jobs that only open a store need none of it.
    import cv2

    outlines, _ = cv2.findContours(_scan_like(picture), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return whole(picture)
    sizes = np.array([cv2.contourArea(outline) for outline in outlines])
    large = sizes >= SECOND_VIEW * sizes.max()
    views = [cv2.boundingRect(outline) for outline, kept in zip(outlines, large, strict=True) if kept]
    found = Box(
        min(left for left, _, _, _ in views),
        min(top for _, top, _, _ in views),
        max(left + wide for left, _, wide, _ in views),
        max(top + high for _, top, _, high in views),
    )
    return found if found.area >= LEAST * whole(picture).area else whole(picture)


def _scan_like(picture: Picture) -> npt.NDArray[np.uint8]:
    import cv2

    # Two maxima: three times as fast as picture.max(axis=2).
    brightest = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
    near = np.ones((3, 3), dtype=np.uint8)
    differs = cv2.dilate(brightest, near) - cv2.erode(brightest, near)
    # Pixels that are 0 are never live: those beside the scan would otherwise widen it.
    live = ((brightest > DARK) & (differs > 0)) | ((brightest > 0) & (differs >= TEXTURE))
    # Odd, so that filters are centred and edges of the scan stay where they are.
    side = max(5, round(THIN * min(brightest.shape)) | 1)
    count = cv2.boxFilter(live.view(np.uint8), cv2.CV_32S, (side, side), None, (-1, -1), False, cv2.BORDER_REPLICATE)
    dense = (2 * count > side * side).view(np.uint8)
    # Edges are repeated so that the picture's border is no frame.
    kernel = np.ones((side, side), dtype=np.uint8)
    padded = cv2.copyMakeBorder(dense, side, side, side, side, cv2.BORDER_REPLICATE)
    opened = cv2.dilate(cv2.erode(padded, kernel), kernel)
    return opened[side:-side, side:-side].astype(np.uint8, copy=False)
