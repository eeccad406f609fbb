"""Laws from picture to canvas: what is masked leaves no trace, patients are independent, names stay names."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sonogrid.arrays import Box
from sonogrid.cohort.manifest import Cohort, save_cohort
from sonogrid.cohort.sources import Reading, Source
from sonogrid.config.cohort import CohortConfig
from sonogrid.images.canvas import canonical
from sonogrid.images.examine import assemble
from sonogrid.images.framing import Framing
from sonogrid.problems import InputError

CONFIG: dict[str, Any] = {
    "classes": ["a", "b"],
    "modalities": ["bmode"],
    "reader": "folders",
    "folders": {"root": "none", "labels": {"a": "a", "b": "b"}, "modalities": {"bmode": "x"}},
    "burned_in_text": "keep",
}


@st.composite
def boxes(draw: st.DrawFn, within: Box) -> Box:
    """A box that is not empty, inside another."""
    x0 = draw(st.integers(within.x0, within.x1 - 1))
    y0 = draw(st.integers(within.y0, within.y1 - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, within.x1)), draw(st.integers(y0 + 1, within.y1)))


@st.composite
def framings(draw: st.DrawFn) -> tuple[int, int, Framing]:
    """Width and height of a picture, and a framing of it."""
    width, height = draw(st.integers(2, 60)), draw(st.integers(2, 60))
    scan = draw(boxes(Box(0, 0, width, height)))
    return width, height, Framing(scan, tuple(draw(st.lists(boxes(scan), max_size=3))))


@given(framings(), st.integers(4, 80), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 2**32 - 1))
def test_nothing_masked_and_nothing_outside_the_scan_area_reaches_the_canvas(
    framed: tuple[int, int, Framing], size: int, aspect: float, seed: int
) -> None:
    width, height, framing = framed
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    kept = np.zeros((height, width), dtype=bool)
    kept[framing.scan.y0 : framing.scan.y1, framing.scan.x0 : framing.scan.x1] = True
    for box in framing.masked:
        kept[box.y0 : box.y1, box.x0 : box.x1] = False
    other[kept] = one[kept]
    made = canonical(one, framing, size, aspect)
    assert np.array_equal(made.canvas, canonical(other, framing, size, aspect).canvas)
    assert made.canvas.shape == (size, size, 3) and made.canvas.dtype == np.uint8


@given(framings(), st.integers(0, 2**32 - 1))
def test_masking_twice_is_masking_once(framed: tuple[int, int, Framing], seed: int) -> None:
    width, height, framing = framed
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = max(framing.scan.x1 - framing.scan.x0, framing.scan.y1 - framing.scan.y0)
    once = canonical(picture, framing, size)
    x, y = framing.scan.x0 - once.place.left, framing.scan.y0 - once.place.top
    moved = [Box(box.x0 - x, box.y0 - y, box.x1 - x, box.y1 - y) for box in framing.masked]
    again = canonical(once.canvas, Framing(Box(0, 0, size, size), tuple(moved)), size)
    assert np.array_equal(again.canvas, once.canvas)


def written(folder: Path, names: list[tuple[str, str, int]]) -> list[Source]:
    """Sources with these patient and image ids, and pictures of these seeds."""
    made = []
    for number, (patient, image, seed) in enumerate(names):
        path = folder / f"{number}-{seed}.png"
        pixels = np.random.default_rng(seed).integers(20, 230, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        made.append(Source(str(path), image, patient, "a", "bmode", path, mm_per_pixel=(0.1, 0.1)))
    return made


def joined(sources: list[Source], out: Path, key: Path | None = None) -> Cohort:
    config = CohortConfig.model_validate(CONFIG | ({"pseudonym_key": str(key)} if key else {}))
    return assemble(config, Reading(sources), out, 1)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 9)), min_size=1, max_size=5), st.randoms())
def test_what_is_written_of_a_patient_depends_on_no_other_and_on_no_order(
    drawn: list[tuple[str, int]], random: Any
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = written(folder, [(patient, f"{patient}{n}", seed) for n, (patient, seed) in enumerate(drawn)])
        shuffled = random.sample(sources, len(sources))
        together = joined(shuffled, folder / "all")
        for patient in {source.patient_id for source in sources}:
            alone = joined([source for source in sources if source.patient_id == patient], folder / patient)
            for table in ("patients", "images"):
                rows = getattr(together, table)
                rows = rows[rows["patient_id"] == patient].reset_index(drop=True)
                assert rows.equals(getattr(alone, table))


HOSTILE = st.one_of(
    st.sampled_from(
        ["../../x", "/etc/x", "..", "a/../../b", "C:\\x", "~/x", "x\0y", "..\\..\\x", "a" * 300, "-rf", "$(x)"]
    ),
    st.text(min_size=1, max_size=20),
)


@settings(max_examples=40)
@given(HOSTILE, HOSTILE)
def test_no_id_leads_out_of_the_results_folder(patient: str, image: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        key = folder / "keys" / "study.key"
        key.parent.mkdir()
        key.touch(0o600)
        key.write_text("k" * 40)
        sources = written(folder / "data", [(patient, image, 1)])
        try:
            save_cohort(joined(sources, folder / "results" / "cohort", key), folder / "results" / "cohort")
        except InputError:
            return
        made = [path for path in folder.rglob("*") if path.is_file()]
        below = [path for path in made if path.is_relative_to(folder / "results")]
        assert {path.parent for path in set(made) - set(below)} == {folder / "data", key.parent}
        assert len(below) == 5  # patients, manifest, refused, seen, one picture
