"""Laws of views and colour bars: nothing found lies outside, nothing else than the picture decides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sonogrid.arrays import Box, Picture
from sonogrid.config.cohort import ScreenLayout
from sonogrid.images.boxes import is_inside
from sonogrid.images.colour_bar import find_bars
from sonogrid.images.views import view_of

MODALITIES = st.sampled_from(["bmode", "cdfi", "elastography"])


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Anything from one pixel to smooth, striped, repeated or noisy pictures."""
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 180))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["noise", "ramp", "repeated", "few colours"]))
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "ramp":
        rows = np.linspace(0, 255, height)[:, None, None] * rng.random(3)
        strips = rng.random((1, width, 1)) < 0.5
        return (rows * strips).astype(np.uint8)
    if kind == "repeated":
        half = rng.integers(0, 256, (height, (width + 1) // 2, 1), dtype=np.uint8).repeat(3, axis=2)
        tinted = half.copy()
        tinted[..., 0] |= 128
        return np.concatenate([half, tinted], axis=1)[:, :width]
    return draw(arrays.arrays(np.uint8, (height, width, 3), fill=st.integers(0, 255), elements=st.integers(0, 255)))


@st.composite
def boxes_in(draw: st.DrawFn, picture: Picture) -> Box:
    height, width = picture.shape[:2]
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return Box(x0, y0, draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height)))


DIRECTIONS = st.sampled_from(["side_by_side", "stacked"])
LAYOUTS = (
    st.none()
    | st.builds(ScreenLayout, direction=DIRECTIONS)
    | st.builds(
        ScreenLayout,
        views=st.permutations(["bmode", "cdfi", "elastography"]).map(lambda names: tuple(names[:2])),
        direction=DIRECTIONS,
        at=st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
    )
)


@given(st.data())
def test_a_view_is_inside_the_scan_area(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    scan = data.draw(boxes_in(picture))
    view = view_of(picture, scan, data.draw(MODALITIES), data.draw(LAYOUTS))
    assert scan.x0 <= view.x0 < view.x1 <= scan.x1 and scan.y0 <= view.y0 < view.y1 <= scan.y1


@given(st.data())
def test_what_lies_outside_the_scan_area_does_not_matter(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    scan, modality = data.draw(boxes_in(picture)), data.draw(MODALITIES)
    alone = np.full_like(picture, data.draw(st.integers(0, 255)))
    alone[scan.y0 : scan.y1, scan.x0 : scan.x1] = picture[scan.y0 : scan.y1, scan.x0 : scan.x1]
    assert view_of(picture, scan, modality) == view_of(alone, scan, modality)


@given(st.data())
def test_the_other_sides_view_is_found_in_the_mirror(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    height, width, gap = data.draw(st.integers(60, 120)), data.draw(st.integers(80, 140)), data.draw(st.integers(0, 12))
    grey = rng.integers(20, 160, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)
    tinted = grey.copy()
    tinted[20:50, 20:60, 0] += 90
    picture = np.concatenate([grey, np.zeros((height, gap, 3), dtype=np.uint8), tinted], axis=1)
    scan = Box(0, 0, 2 * width + gap, height)
    # Mirrored, the first view comes last; both are still where they were, seen from the other side.
    for shown, first in ((picture, True), (picture[:, ::-1], False)):
        views = [Box(0, 0, width, height), Box(width + gap, 0, 2 * width + gap, height)]
        grey_view, tinted_view = views if first else views[::-1]
        assert view_of(shown, scan, "bmode") == grey_view
        assert view_of(shown, scan, "cdfi") == tinted_view


@given(st.data())
def test_bars_are_inside_the_picture(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    scan = data.draw(st.none() | boxes_in(picture))
    for bar in find_bars(picture, scan):
        assert is_inside(bar.box, picture)
        assert bar.colours.shape == (256, 3) and bar.colours.dtype == np.float32
        assert bar.colours.min() >= 0 and bar.colours.max() <= 255


@given(st.data())
def test_a_turned_picture_has_turned_bars(data: st.DataObject) -> None:
    picture = data.draw(pictures())
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    boxes = {bar.box for bar in find_bars(picture)}
    assert boxes == {Box(y0, x0, y1, x1) for (x0, y0, x1, y1) in (bar.box for bar in find_bars(turned))}
