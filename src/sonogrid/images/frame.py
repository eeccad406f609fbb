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

from sonogrid.images.boxes import Box, whole
from sonogrid.pictures import Picture

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
    # Here, as it takes a third of a second, and jobs that only open a store need none of it.
    from scipy import ndimage

    pieces, count = ndimage.label(_scan_like(picture))
    if count == 0:
        return whole(picture)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    views = (sizes >= SECOND_VIEW * sizes.max())[pieces] & (pieces > 0)
    rows, columns = np.flatnonzero(views.any(axis=1)), np.flatnonzero(views.any(axis=0))
    found = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return found if found.area >= LEAST * whole(picture).area else whole(picture)


def _scan_like(picture: Picture) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    # Two maxima: three times as fast as picture.max(axis=2).
    brightest = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
    differs = ndimage.maximum_filter(brightest, 3) - ndimage.minimum_filter(brightest, 3)
    # Pixels that are 0 are never live: those beside the scan would otherwise widen it.
    live = ((brightest > DARK) & (differs > 0)) | ((brightest > 0) & (differs >= TEXTURE))
    # Odd, so that filters are centred and edges of the scan stay where they are.
    side = max(5, round(THIN * min(brightest.shape)) | 1)
    dense = ndimage.uniform_filter(live.astype(np.float32), side, mode="nearest") > 0.5
    # Opening is a minimum and then a maximum; edges are repeated so that the picture's border is no frame.
    kept = ndimage.maximum_filter(ndimage.minimum_filter(np.pad(dense, side, mode="edge").view(np.uint8), side), side)
    scan: npt.NDArray[np.bool_] = kept[side:-side, side:-side].astype(bool)
    return scan
