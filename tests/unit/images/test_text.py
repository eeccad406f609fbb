"""Burned-in text: known text is found and gone, tissue stays, nothing is downloaded, logged or remembered."""

from __future__ import annotations

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from burned_in import Ink, as_jpeg, phantom, write

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.images import text
from sonogrid.images.boxes import blackened
from sonogrid.images.messages import TextRemains
from sonogrid.images.text import find_text, text_to_mask

DICOM = Path(__file__).parents[4] / "shared" / "data" / "dicom" / "US1_UNCI.dcm"
NAME = "NOVAK, ANNA"


def masked(picture: Picture, boxes: list[Box]) -> Mask:
    inside: Mask = blackened(np.ones_like(picture), boxes)[..., 0] == 0
    return inside


def tissue(modality: str, seed: int) -> Picture:
    """A part of a simulated scan, half as bright: 220 x 160 pixels."""
    return phantom(modality, seed)[40:200, 20:240] // 2


@pytest.fixture(scope="module")
def named() -> tuple[Picture, Mask]:
    """Simulated B-mode tissue of 220 x 160 pixels with a name in it, and the ink."""
    picture = tissue("bmode", 0)
    return picture, write(picture, NAME, 40, 90, Ink(18, "yellow"))


def test_a_name_is_masked_wholly_and_little_else(named: tuple[Picture, Mask]) -> None:
    picture, ink = named
    inside = masked(picture, text_to_mask(picture))
    assert inside[ink].all()
    assert (inside & ~ink).sum() < 2 * np.ptp(np.nonzero(ink), axis=1).prod()


@pytest.mark.parametrize(
    "how",
    [Ink(10), Ink(28, "cyan"), Ink(14, "green", "DejaVuSansMono.ttf", smooth=False), Ink(16, turned=True)],
    ids=["small", "large", "rough", "turned"],
)
def test_text_of_other_sizes_colours_and_turns(how: Ink) -> None:
    picture = tissue("elastography", 3)
    ink = write(picture, "2023-04-17", 30, 30, how)
    assert masked(picture, text_to_mask(picture))[ink].mean() >= 0.95


def test_text_that_the_edge_cuts_and_jpeg_blurs() -> None:
    picture = tissue("bmode", 1)
    ink = write(picture, NAME, -30, 100, Ink(20))
    assert masked(picture, text_to_mask(as_jpeg(picture, 75)))[ink].mean() >= 0.95


def test_coloured_text_as_bright_as_the_tissue_behind_it() -> None:
    picture = np.random.default_rng(0).integers(20, 235, (160, 220, 1), dtype=np.uint8).repeat(3, axis=2)
    ink = write(picture, "ID 48213377", 40, 70, Ink(12, "green"))
    assert masked(picture, text_to_mask(picture))[ink].mean() >= 0.95


@pytest.mark.parametrize("modality", ["bmode", "cdfi", "elastography"])
def test_simulated_tissue_flow_and_outlines_are_no_text(modality: str) -> None:
    assert text_to_mask(phantom(modality, 6)) == []


def test_text_is_looked_for_again_until_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.full((20, 30, 3), 9, dtype=np.uint8)
    lines = [Box(0, 12, 9, 18), Box(2, 2, 9, 8), Box(12, 2, 20, 8)]

    def next_line(shown: Picture) -> list[Box]:
        return [line for line in lines if shown[line.y0, line.x0].any()][:1]

    monkeypatch.setattr(text, "find_text", next_line)
    assert text_to_mask(picture) == [lines[1], lines[2], lines[0]]
    assert (picture == 9).all()


def test_text_that_remains_is_an_error_that_does_not_say_what_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.full((20, 30, 3), 9, dtype=np.uint8)
    monkeypatch.setattr(text, "find_text", lambda shown: [Box(1, 1, 4, 4), Box(7, 7, 9, 9)])
    with pytest.raises(TextRemains, match=r"^readable text is left in 2 places after 5 rounds of masking$"):
        text_to_mask(picture)


def test_what_cannot_be_read_or_is_no_line_is_not_masked(
    named: tuple[Picture, Mask], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, _ = named
    for reading, found in ((("Q9", 0.71), True), (("Q9", 0.69), False), (("-+1", 0.99), False), (("王明", 0.9), True)):
        monkeypatch.setattr(text, "read_text", lambda part, reading=reading: [("", 0.0), reading])
        assert bool(find_text(picture)) == found
        monkeypatch.setattr(text, "HIGH", 2)
        monkeypatch.setattr(text, "TALL", 0.001)
        assert find_text(picture) == []
        monkeypatch.undo()


def test_a_line_on_its_head_or_on_its_side_is_read_as_it_stands(named: tuple[Picture, Mask]) -> None:
    picture, ink = named
    rows, columns = np.nonzero(ink)
    line = picture[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5]
    for turns in (0, 1, 3):
        assert "NOVAK" in [reading.split(",")[0] for reading, _ in text.read_text(np.rot90(line, turns))]


def test_a_picture_beyond_the_limit_is_reduced_for_the_detector_and_boxes_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = np.zeros((900, 4800, 3), dtype=np.uint8)
    ink = write(picture, NAME, 3000, 400, Ink(100))
    engines, seen = text._engines(), []

    def detector(canvas: Picture) -> object:
        seen.append(canvas.shape)
        return engines[0](canvas)

    monkeypatch.setattr(text, "_engines", lambda: (detector, engines[1]))
    assert masked(picture, find_text(picture))[ink].mean() >= 0.95
    assert set(seen) == {(320, 1600, 3), (160, 800, 3)}


def test_a_long_flat_part_is_read_within_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    engines, seen = text._engines(), []

    def reader(line: Picture) -> object:
        seen.append(line.shape)
        return engines[1](np.zeros((48, 48, 3), dtype=np.uint8))

    monkeypatch.setattr(text, "_engines", lambda: (engines[0], reader))
    text.read_text(np.zeros((3, 2000, 3), dtype=np.uint8))
    text.read_text(np.zeros((2000, 3, 3), dtype=np.uint8))
    assert seen == [(50, 2000, 3)] * 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (3, 2000), (2000, 3), (31, 33)])
@pytest.mark.parametrize("level", [0, 255])
def test_pictures_too_small_for_text_hold_none(shape: tuple[int, int], level: int) -> None:
    assert find_text(np.full((*shape, 3), level, dtype=np.uint8)) == []


def test_a_view_into_a_larger_array_and_a_read_only_picture_are_taken(named: tuple[Picture, Mask]) -> None:
    picture, _ = named
    frozen = picture.copy()
    frozen.flags.writeable = False
    around = np.zeros((picture.shape[0] + 9, picture.shape[1] + 9, 3), dtype=np.uint8)
    around[4:-5, 4:-5] = picture
    assert find_text(frozen) == find_text(around[4:-5, 4:-5]) == find_text(picture)


def test_boxes_do_not_depend_on_other_pictures_or_threads(named: tuple[Picture, Mask]) -> None:
    pictures = [tissue("cdfi", seed) for seed in range(3)]
    for number, picture in enumerate(pictures):
        write(picture, f"ID 4821{number}", 20 + 30 * number, 60, Ink(16))
    pictures.append(named[0])
    alone = [find_text(picture) for picture in pictures]
    assert all(alone)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(find_text, pictures[::-1]))
    assert together[::-1] == alone


def test_nothing_is_downloaded_and_nothing_that_is_read_is_logged(
    named: tuple[Picture, Mask], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    text._load.cache_clear()
    for name in ("", "RapidOCR"):
        logging.getLogger(name).addHandler(handler)
    try:
        assert find_text(named[0])
    finally:
        for name in ("", "RapidOCR"):
            logging.getLogger(name).removeHandler(handler)
    assert not [record for record in records if record.name == "RapidOCR" or "NOVAK" in record.getMessage()]
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not DICOM.is_file(), reason="the shared real data are not there")
def test_on_a_real_export_every_line_goes_and_the_scan_stays() -> None:
    picture: Picture = pydicom.dcmread(DICOM).pixel_array[:200, :320]
    inside = masked(picture, text_to_mask(picture))
    # White ink in the five lines above the scan on the left, as seen in the picture; the colour box below.
    lines = np.zeros(inside.shape, dtype=np.bool_)
    lines[24:104, 18:172] = picture[24:104, 18:172].min(axis=2) > 128
    assert lines.sum() > 1000 and inside[lines].all()
    assert not inside[148:, 88:].any()
