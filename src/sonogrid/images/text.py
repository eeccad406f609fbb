"""Text burned into a picture: where it is, so that it can be blackened, and whether any can still be read after.

The text detector and the recogniser of RapidOCR (PP-OCRv6, small) run through ONNX Runtime; their models lie in
the wheel of rapidocr and nothing is downloaded. What is recognised is counted and forgotten: it is in no result,
message or log. How well this works is measured by tests/measure_text.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sonogrid.images.boxes import Box, blackened, crop
from sonogrid.pictures import Picture

ENLARGED = (2.0, 1.0)
"""The detector sees a picture at both sizes: small text needs the larger, large text and long lines the smaller."""
LONGEST = (1600, 800)
"""Longer side in pixels that a picture has at most at either size; bounds memory. Larger pictures are reduced."""
PIXEL_SCORE, BOX_SCORE, UNCLIP = 0.2, 0.3, 1.1
"""The detector's thresholds for a pixel and for the mean over a box, and how far it widens a box."""
MARGIN = 3
"""Pixels by which a box is widened on each side: smooth edges and JPEG spread ink beyond what is detected."""
TALLEST = 0.1
"""Share of the longer side above which a box is no line of text, unless it is at most 48 pixels high."""
LETTERS, CONFIDENCE = 1, 0.7
"""A box is readable if so many letters or digits are recognised with at least this mean confidence."""
ROUNDS = 5
"""How often what is found is blackened and the rest looked through again."""


class TextRemains(ValueError):
    """Readable text is left in a picture after all that was found is black; never says what it reads."""


def text_to_mask(picture: Picture) -> list[Box]:
    """Boxes to be blackened so that no text can be found in an H x W x 3 picture, by rows; empty if there is none.

    Text is found, blackened and looked for again until nothing more is found: find_text then finds nothing in the
    blackened picture. Raises TextRemains if it still finds some after ROUNDS rounds.
    """
    boxes: list[Box] = []
    for _ in range(ROUNDS):
        more = find_text(blackened(picture, boxes))
        if not more:
            return sorted(boxes, key=lambda box: (box.y0, box.x0, box.y1, box.x1))
        boxes += more
    left = len(find_text(blackened(picture, boxes)))
    if left:
        raise TextRemains(f"text can still be found in {left} places after {ROUNDS} rounds of blackening")
    return sorted(boxes, key=lambda box: (box.y0, box.x0, box.y1, box.x1))


def find_text(picture: Picture) -> list[Box]:
    """Boxes around the text in an H x W x 3 picture, each inside it; they may overlap.

    A box counts if the detector is sure of it or the recogniser can read it. The same picture gives the same boxes,
    whatever came before and in whatever thread.
    """
    found: list[Box] = []
    for enlarged, longest in zip(ENLARGED, LONGEST, strict=True):
        scale = min(enlarged, longest / max(picture.shape[:2]))
        for box, score in _detected(picture, scale):
            if min(box.x1 - box.x0, box.y1 - box.y0) <= max(48, TALLEST * max(picture.shape[:2])) and _readable(crop(picture, box)):
                found.append(box)
    return sorted(set(found))


def _detected(picture: Picture, scale: float) -> list[tuple[Box, float]]:
    """Upright boxes around what the detector takes for text when it sees the picture at `scale`, and their scores."""
    import cv2

    height, width = picture.shape[:2]
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    # The network takes multiples of 32; the rest stays black instead of stretching the picture.
    canvas = np.zeros((-(-high // 32) * 32, -(-wide // 32) * 32, 3), dtype=np.uint8)
    canvas[:high, :wide] = cv2.resize(_bgr(picture), (wide, high), interpolation=how)
    result = _engines()[0](canvas)
    if result.boxes is None:
        return []
    found = []
    for corners, score in zip(result.boxes, result.scores, strict=True):
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        box = Box(
            max(0, int(left * width / wide) - MARGIN),
            max(0, int(top * height / high) - MARGIN),
            min(width, int(np.ceil((right + 1) * width / wide)) + MARGIN),
            min(height, int(np.ceil((bottom + 1) * height / high)) + MARGIN),
        )
        if box.x0 < box.x1 and box.y0 < box.y1:
            found.append((box, float(score)))
    return found


def _readable(part: Picture) -> bool:
    """Whether the recogniser reads at least LETTERS letters or digits in a part of a picture."""
    upright = part.shape[0] < 1.5 * part.shape[1]
    for turned in [part] if upright else [np.rot90(part), np.rot90(part, 3)]:
        result = _engines()[1](_bgr(turned))
        text, confidence = result.txts[0], result.scores[0]
        if confidence >= CONFIDENCE and sum(map(str.isalnum, text)) >= LETTERS:
            return True
    return False


def _bgr(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[..., ::-1])


_lock = threading.Lock()


def _engines() -> tuple[Any, Any]:
    # The cache alone would let two threads that come first both load the models.
    with _lock:
        return _load()


@cache
def _load() -> tuple[Any, Any]:
    """The detector and the recogniser; after loading they hold no state, so threads share them."""
    import rapidocr

    models = Path(rapidocr.__file__).parent / "models"
    common = {
        "Global.use_cls": False,
        "Global.use_preprocess_img": False,
        "Global.use_vertical_padding": False,
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        # Named files are opened or missed; without names rapidocr would download what it misses.
        "Det.model_path": str(models / "PP-OCRv6_det_small.onnx"),
        "Rec.model_path": str(models / "PP-OCRv6_rec_small.onnx"),
        # 32 is the least that the network takes: the canvas is used as it is.
        "Det.limit_side_len": 32,
        "Det.thresh": PIXEL_SCORE,
        "Det.box_thresh": BOX_SCORE,
        "Det.unclip_ratio": UNCLIP,
    }
    detector = rapidocr.RapidOCR(params=common | {"Global.use_det": True, "Global.use_rec": False})
    reader = rapidocr.RapidOCR(params=common | {"Global.use_det": False, "Global.use_rec": True})
    return detector, reader
