"""Text burned into a picture: where it is, so that it can be blackened until none is found any more.

The text detector and the recogniser of RapidOCR (PP-OCRv6, small) run through ONNX Runtime; their models lie in
the wheel of rapidocr and nothing is downloaded. What is recognised is counted and forgotten: it is in no result,
message or log. How well all this works is measured by tests/tools/measure_text.py.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sonogrid.arrays import Box, Picture
from sonogrid.images.boxes import blackened, crop
from sonogrid.images.messages import text_remains

DARKENED, PLAIN, COLOUR = (2.0, 1600), (1.0, 800), (1.0, 800)
"""How far each view of a picture is enlarged for the detector, and its longer side in pixels at most.

The limit bounds memory. Pictures beyond 800 pixels are enlarged less, beyond 1600 reduced: text is looked for
from about 8 pixels of font size, or 1/100 of a longer side above 800.
"""
COLOURED = 24
"""Difference between the channels of a pixel from which it is no grey of the tissue, after JPEG too."""
PIXEL_SCORE, BOX_SCORE, UNCLIP = 0.2, 0.3, 1.1
"""The detector's thresholds for a pixel and for the mean over a box, and how far it widens a box.

Low, for the recogniser decides: of what the detector marks in tissue, it reads next to nothing.
"""
LETTERS, CONFIDENCE = 2, 0.7
"""A box is readable if so many letters or digits (of any script) are recognised with this mean confidence.

Two, as a single one names nobody and is mostly the number of a calliper at the lesion's rim.
"""
MARGIN = 3
"""A box is widened by so many pixels on each side: smooth edges and JPEG spread ink beyond what is detected."""
HIGH, TALL = 48, 0.1
"""What is higher than so many pixels and than this share of the picture's longer side is no line of text."""
LONG = 40
"""Maximum ratio of length to height of a line when it is read; bounds memory."""
ROUNDS = 5
"""How often what is found is blackened and the rest looked through again, before the picture is given up."""

_lock = threading.Lock()


def text_to_mask(picture: Picture) -> list[Box]:
    """Boxes of an H x W x 3 picture to be blackened so that no text is found in it, from top to bottom.

    Text is found, blackened and looked for again until find_text finds nothing in the blackened picture. Raises
    TextRemains if it still finds some after ROUNDS rounds.
    """
    boxes: list[Box] = []
    for _ in range(ROUNDS + 1):
        left = find_text(blackened(picture, boxes))
        if not left:
            return sorted(boxes, key=_from_the_top)
        boxes += left
    raise text_remains(len(left), ROUNDS)


def find_text(picture: Picture) -> list[Box]:
    """Boxes around the text in an H x W x 3 picture, each inside it, from top to bottom; they may overlap.

    A box counts if the detector marks it, it is no higher than a line of text, and the recogniser can read in it.
    Both see three views: the picture darkened, in which text stands out of bright tissue; as it is, for dim text on
    black; and its colour alone. The same picture gives the same boxes, whatever came before and in whatever thread.
    """
    longer = max(picture.shape[:2])
    highest = max(HIGH, TALL * longer)
    found = set()
    for view, (enlarged, most) in ((_darkened(picture), DARKENED), (picture, PLAIN), (_colour(picture), COLOUR)):
        # Grey pictures have nothing to show in the last view and are spared its cost.
        marked = _marked(view, min(enlarged, most / longer)) if view.any() else []
        lines = (box for box in marked if min(box.x1 - box.x0, box.y1 - box.y0) <= highest)
        found |= {box for box in lines if _is_readable(crop(view, box))}
    return sorted(found, key=_from_the_top)


def _darkened(picture: Picture) -> Picture:
    """Every value squared and scaled to 255: white and yellow stay, the middle greys of tissue become dark."""
    squared: Picture = np.rint(np.arange(256) ** 2 / 255).astype(np.uint8)[picture]
    return squared


def _colour(picture: Picture) -> Picture:
    """How far each pixel is from grey, as a grey picture: coloured text without the tissue behind it."""
    distance = picture.max(axis=2) - picture.min(axis=2)
    strong = np.where(distance >= COLOURED, np.minimum(distance, 170) * 1.5, 0).astype(np.uint8)
    return np.repeat(strong[..., None], 3, axis=2)


def _from_the_top(box: Box) -> tuple[int, int, int, int]:
    return box.y0, box.x0, box.y1, box.x1


def _marked(picture: Picture, scale: float) -> list[Box]:
    """Upright boxes around what the detector takes for text when it sees the picture at `scale`, widened."""
    import cv2

    height, width = picture.shape[:2]
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    # The network takes multiples of 32; the rest stays black, so that the picture is not stretched.
    canvas = np.zeros((-(-high // 32) * 32, -(-wide // 32) * 32, 3), dtype=np.uint8)
    canvas[:high, :wide] = cv2.resize(_bgr(picture), (wide, high), interpolation=how)
    corners = _engines()[0](canvas).boxes
    if corners is None:
        return []
    to_picture = np.array([width / wide, height / high])
    first = np.clip(np.floor(corners.min(axis=1) * to_picture - MARGIN), 0, None).astype(int)
    last = np.clip(np.ceil((corners.max(axis=1) + 1) * to_picture + MARGIN), None, (width, height)).astype(int)
    # What is marked in the black rest alone is dropped.
    inside = (first < last).all(axis=1)
    return [Box(*map(int, (*start, *end))) for start, end in zip(first[inside], last[inside], strict=True)]


def _is_readable(part: Picture) -> bool:
    read = read_text(part)
    return any(confidence >= CONFIDENCE and sum(map(str.isalnum, text)) >= LETTERS for text, confidence in read)


def read_text(part: Picture) -> list[tuple[str, float]]:
    """What the recogniser reads in a part of a picture, and its mean confidence; high parts both ways up.

    For measurements: what it returns may name a patient, so it is neither kept nor shown.
    """
    lying = part.shape[0] < 1.5 * part.shape[1]
    found = []
    for line in [part] if lying else [np.rot90(part), np.rot90(part, 3)]:
        missing = max(0, -(-line.shape[1] // LONG) - line.shape[0])
        result = _engines()[1](_bgr(np.pad(line, ((0, missing), (0, 0), (0, 0)))))
        found.append((result.txts[0], float(result.scores[0])))
    return found


def _bgr(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[..., ::-1])


def _engines() -> tuple[Any, Any]:
    # Without the lock, two threads that both come first would both load.
    with _lock:
        return _load()


@cache
def _load() -> tuple[Any, Any]:
    """The detector and the recogniser, loaded once a process; calls leave no trace in them, so threads share them."""
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    common = {
        "Global.log_level": "critical",
        "Global.use_cls": False,
        "Global.use_preprocess_img": False,
        "Global.use_vertical_padding": False,
        # Pictures are spread over threads by the caller.
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        # A model that is named is opened or missed; one that is not named is downloaded if it is missed.
        "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
        "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
        # Below the smallest canvas, so that the canvas is used as it is.
        "Det.limit_side_len": 32,
        "Det.thresh": PIXEL_SCORE,
        "Det.box_thresh": BOX_SCORE,
        "Det.unclip_ratio": UNCLIP,
    }
    detector = rapidocr.RapidOCR(params={**common, "Global.use_rec": False})
    reader = rapidocr.RapidOCR(params={**common, "Global.use_det": False})
    return detector, reader
