"""Laws of reading DICOM: whatever the bytes, a picture or one clear refusal, within bounds, and no identifier."""

import itertools
import tracemalloc
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from dicoms import IDENTIFIERS, LOSSLESS, NATIVE, palette_elements, region, scene, write
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless

from sonogrid.arrays import Box
from sonogrid.cohort.dicom import chosen_frames
from sonogrid.dicom.facts import HeaderFacts, read_facts
from sonogrid.dicom.limits import MAX_FRAME_PIXELS
from sonogrid.dicom.pixels import read_frame
from sonogrid.dicom.regions import hull
from sonogrid.problems import InputError

MEMORY = 96 * 2**20
"""Bytes that reading may take in this process for pictures of up to a megapixel."""
CODINGS = (*NATIVE, *LOSSLESS, JPEGBaseline8Bit)


@cache
def sound_file(coding: int) -> bytes:
    """A simulated file of every coding, and of a palette; identifiers and regions are in its header."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound.dcm"
        elements = {**IDENTIFIERS, "regions": [region((2, 2, 28, 20))]}
        if coding == len(CODINGS):
            palette = palette_elements(np.arange(768).reshape(256, 3) * 80)
            write(path, scene(samples=1), photometric="PALETTE COLOR", **palette, **elements)
        else:
            write(path, scene(), CODINGS[coding], **elements)
        return path.read_bytes()


codings = st.integers(0, len(CODINGS))


def refused_or(read: Callable[[Path], object], content: bytes) -> object:
    """What reading gives, or None for a refusal, whose message is checked; any other error fails the test."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "hostile.dcm"
        path.write_bytes(content)
        tracemalloc.start()
        try:
            found = read(path)
        except InputError as error:
            (problem,) = error.problems
            assert problem.where.startswith(str(path)) and problem.what and problem.remedy
            assert not any(value in str(error) for value in IDENTIFIERS.values())
            found = None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        size = found.size if isinstance(found, np.ndarray) else 0
        assert peak < MEMORY + 12 * size
        return found


def check(content: bytes) -> None:
    picture = refused_or(read_frame, content)
    if picture is not None:
        assert isinstance(picture, np.ndarray) and picture.dtype == np.uint8
        assert picture.ndim == 3 and picture.shape[2] == 3 and 0 < picture[..., 0].size <= MAX_FRAME_PIXELS
    facts = refused_or(read_facts, content)
    if isinstance(facts, HeaderFacts):
        assert not any(value in repr(facts) for value in IDENTIFIERS.values())
        for box in (*facts.views, *([facts.scan] if facts.scan else [])):
            assert 0 <= box.x0 < box.x1 <= facts.width and 0 <= box.y0 < box.y1 <= facts.height
        if picture is not None:
            assert isinstance(picture, np.ndarray) and picture.shape[:2] == (facts.height, facts.width)


@given(st.binary(max_size=600))
def test_arbitrary_bytes_after_the_prefix(body: bytes) -> None:
    check(bytes(128) + b"DICM" + body)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_after_sound_meta_information(body: bytes) -> None:
    content = sound_file(CODINGS.index(ExplicitVRLittleEndian))
    check(content[: content.index(b"\x08\x00\x16\x00UI")] + body)


@given(codings, st.floats(0, 1))
def test_truncated_files(coding: int, share: float) -> None:
    content = sound_file(coding)
    check(content[: round(share * len(content))])


changes = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "flip", "cut", "insert"]), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, what: Sequence[tuple[float, str, int]], first: int = 132) -> bytes:
    """Bytes set, flipped, cut out and put in at places behind the prefix."""
    data = bytearray(content)
    for share, kind, value in what:
        at = min(len(data) - 1, first + int(share * (len(data) - first)))
        if kind == "set":
            data[at] = value
        elif kind == "flip":
            data[at] ^= 1 << value % 8
        elif kind == "cut":
            del data[at : at + 1 + value % 8]
        else:
            data[at:at] = bytes([value] * (1 + value % 5))
    return bytes(data)


@given(codings, changes)
def test_changed_files(coding: int, what: list[tuple[float, str, int]]) -> None:
    check(changed(sound_file(coding), what))


@given(codings, changes)
def test_changed_headers(coding: int, what: list[tuple[float, str, int]]) -> None:
    """The first elements and those of group 0028, where sizes are, take all changes."""
    content = sound_file(coding)
    end = content.index(b"\x7f\xe0" if b"\x7f\xe0\x00\x10" in content else b"\xe0\x7f")
    check(changed(content[:end], what) + content[end:])


@given(st.integers(len(NATIVE), len(CODINGS) - 1), changes)
def test_changed_codestreams(coding: int, what: list[tuple[float, str, int]]) -> None:
    content = sound_file(coding)
    check(changed(content, what, first=content.index(b"\xe0\x7f\x10\x00") + 20))


@given(
    st.lists(st.tuples(*[st.integers(0, 2**32 - 1) | st.integers(0, 40)] * 4), min_size=1, max_size=4),
    st.lists(st.integers(0, 20), min_size=4, max_size=4),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
)
def test_regions_wherever_they_lie(boxes: list[tuple[int, ...]], types: list[int], formats: list[int]) -> None:
    items = [region(box, kind, data) for box, kind, data in zip(boxes, formats, types, strict=False)]
    with TemporaryDirectory() as folder:
        check(write(Path(folder) / "r.dcm", scene(), regions=items).read_bytes())


@given(st.integers(1, 20_000), st.integers(1, 64))
def test_chosen_frames_are_even_and_inside(frames: int, wanted: int) -> None:
    chosen = chosen_frames(frames, wanted)
    assert len(chosen) == min(frames, wanted)
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < frames
    gaps = [after - before for before, after in itertools.pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    # As far from the start as from the end, to one frame.
    assert abs(chosen[0] - (frames - 1 - chosen[-1])) <= 1


# The encoder of JPEG-LS at hand cannot code pictures of a few pixels.
@given(
    st.sampled_from([coding for coding in (*NATIVE, *LOSSLESS) if coding != JPEGLSLossless]),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 99),
)
def test_frames_of_any_size_come_back(syntax: str, height: int, width: int, seed: int) -> None:
    frames = np.stack([scene(height, width, seed=seed), scene(height, width, seed=seed + 1)])
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "f.dcm", frames, syntax)
        assert np.array_equal(read_frame(path, 0), frames[0])
        assert np.array_equal(read_frame(path, 1), frames[1])


@given(st.integers(1, 16), st.booleans(), st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
def test_grey_is_monotonic_and_uses_the_whole_range(bits: int, signed: bool, photometric: str) -> None:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.linspace(low, high, min(2**bits, 300)).round().astype(np.int16 if signed else np.uint16)[None]
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "g.dcm", values, photometric=photometric, BitsStored=bits)
        grey = read_frame(path)[0, :, 0].astype(int)
    grey = 255 - grey if photometric == "MONOCHROME1" else grey
    assert (grey[0], grey[-1]) == (0, 255) and (np.diff(grey) >= 0).all()


@given(
    st.lists(
        st.tuples(*[st.integers(0, 50)] * 4).map(lambda c: Box(c[0], c[1], c[0] + c[2] + 1, c[1] + c[3] + 1)),
        min_size=1,
    )
)
def test_the_hull_holds_every_box(boxes: list[Box]) -> None:
    around = hull(boxes)
    for box in boxes:
        assert around.x0 <= box.x0 and around.y0 <= box.y0 and box.x1 <= around.x1 and box.y1 <= around.y1
    assert hull([around]) == around
