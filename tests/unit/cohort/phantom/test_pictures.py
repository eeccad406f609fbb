"""What the simulated pictures show: the traits of the table, to scale and inside the scan area."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion, label

from sonogrid.cohort.phantom import exposure
from sonogrid.cohort.phantom.exposure import Subject
from sonogrid.cohort.phantom.flow import draw_flow
from sonogrid.cohort.phantom.scanner import DUAL_GAP, OVERLAY, SCANNERS, dual_view, overlay_flow, single_view
from sonogrid.cohort.phantom.scene import draw_anatomy, draw_tissue, node_frame, place_node
from sonogrid.config.modalities import MODALITIES

TRAITS = {
    "ratio": 0.6,
    "echogenicity": -15.0,
    "margin": "sharp",
    "hilum": "absent",
    "necrosis": "none",
    "calcification": "none",
    "flow": "hilar",
    "stiffness": 0.8,
}


def subject(scanner=SCANNERS[0], size=16.0, organ="neck", **traits):
    anatomy = draw_anatomy(organ, np.random.default_rng(8))
    return Subject(TRAITS | traits, size, anatomy, scanner)


def expose(modality, seed=1, **changes):
    picture, mask, scan, _ = exposure.expose(modality, subject(**changes), np.random.default_rng(seed))
    return picture.astype(float), mask, scan


def axes(mask):
    """Long and short axis in pixels from second moments: those of the ellipse with the same covariance."""
    rows_columns = np.stack(np.nonzero(mask))
    return 4 * np.sqrt(np.linalg.eigvalsh(np.cov(rows_columns))[::-1])


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
@pytest.mark.parametrize("margin", ["sharp", "indistinct", "irregular"])
@pytest.mark.parametrize(("organ", "ratio"), [("neck", 0.4), ("neck", 0.95), ("thyroid", 1.3)])
def test_node_is_drawn_to_scale(scanner, margin, organ, ratio):
    size = 17.0
    short = size * min(ratio, 1 / ratio)
    for modality, view, copies in (("bmode", single_view, 1), ("elastography", dual_view, 2)):
        _, mask, _ = expose(modality, scanner=scanner, size=size, organ=organ, ratio=ratio, margin=margin)
        nodes, _ = label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(nodes.ravel())[1:]
        assert (sizes > 0.05 * sizes.max()).sum() == copies
        for node in np.argsort(sizes)[::-1][:copies] + 1:
            measured = axes(nodes == node) * view(scanner).mm_per_pixel
            np.testing.assert_allclose(measured, [size, short], rtol=0.05)


def test_upright_nodule_is_taller_than_wide():
    for ratio, taller in ((0.7, False), (1.4, True)):
        _, mask, _ = expose("bmode", organ="thyroid", ratio=ratio)
        rows, columns = np.nonzero(mask)
        assert (np.ptp(rows) > np.ptp(columns)) == taller


def test_node_lies_inside_the_scan_area():
    for modality in MODALITIES:
        picture, mask, (x0, y0, x1, y1) = expose(modality)
        assert picture.shape[:2] == mask.shape
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0


def test_node_of_a_dual_view_is_the_same_in_both_views():
    _, mask, (x0, y0, x1, y1) = expose("elastography")
    view = dual_view(SCANNERS[0])
    left, right = mask[y0:y1, x0 : x0 + view.width], mask[y0:y1, x0 + view.width + DUAL_GAP : x1]
    np.testing.assert_array_equal(left, right)


def test_bmode_scan_area_is_grey_and_speckled():
    picture, _, (x0, y0, x1, y1) = expose("bmode")
    scan = picture[y0:y1, x0:x1]
    assert (scan == scan[..., :1]).all()
    assert scan.std() > 20


def test_flow_is_painted_inside_its_box_only():
    scanner = SCANNERS[1]
    grey = np.full((60, 80, 3), 77.0, dtype=np.float32)
    velocity = np.where(np.arange(80) % 2, 0.8, -0.8).astype(np.float32) * np.ones((60, 1), dtype=np.float32)
    shown = overlay_flow(grey, velocity, (10, 20, 50, 40), scanner)
    changed = (shown != grey).any(axis=2)
    assert changed[20:40, 10:50].all()
    changed[20:40, 10:50] = False
    assert not changed.any()
    towards, away = shown[30, 21], shown[30, 20]
    assert towards[0] > towards[2] and away[2] > away[0]


def test_doppler_is_coloured_near_the_node_only():
    picture, mask, (x0, y0, x1, y1) = expose("cdfi", flow="mixed")
    scan = picture[y0:y1, x0:x1]
    coloured = np.ptp(scan, axis=2) > 30
    assert 0.005 < coloured.mean() < 0.15
    rows, columns = np.nonzero(mask[y0:y1, x0:x1])
    margin = 4.2 / single_view(SCANNERS[0]).mm_per_pixel + 60
    found_rows, found_columns = np.nonzero(coloured)
    assert found_columns.min() > columns.min() - margin and found_columns.max() < columns.max() + margin
    assert found_rows.min() > rows.min() - margin and found_rows.max() < rows.max() + margin


def test_flow_pattern_says_where_the_vessels_lie():
    share = {}
    for pattern in ("hilar", "mixed", "peripheral"):
        who, view = subject(flow=pattern), single_view(SCANNERS[0])
        outer = []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            node = place_node(who.traits, who.size_mm, view, who.anatomy, rng)
            frame = node_frame(view, node)
            tissue = draw_tissue(view, who.anatomy, node, frame, rng)
            seen = (np.abs(draw_flow(view, who.anatomy, node, tissue, rng)) > 0.3) & ~tissue.lumen
            assert frame.radius[seen].max() < 1.5
            outer.append((frame.radius[seen] > 0.75).mean())
        share[pattern] = np.mean(outer)
    assert share["hilar"] < 0.2 < share["mixed"] < 0.8 < share["peripheral"]


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.hospital)
@pytest.mark.parametrize("stiffness", [0.15, 0.5, 0.9])
def test_stiffness_can_be_read_back_with_the_colour_bar(scanner, stiffness):
    picture, mask, (x0, y0, x1, y1) = expose("elastography", scanner=scanner, stiffness=stiffness)
    width = dual_view(scanner).width
    left, right = picture[y0:y1, x0 : x0 + width], picture[y0:y1, x1 - width : x1]
    assert (left == left[..., :1]).all()
    inside = binary_erosion(mask[y0:y1, x0 : x0 + width] > 0, iterations=5)
    colour = (right[inside] - (1 - OVERLAY) * left[inside]) / OVERLAY
    distance = ((colour[:, None, :] - scanner.stiffness[None]) ** 2).sum(axis=2)
    assert distance.argmin(axis=1).mean() / 255 == pytest.approx(stiffness, abs=0.06)


@pytest.mark.parametrize(
    ("change", "brighter"),
    [({"hilum": "wide"}, True), ({"echogenicity": -5.0}, True), ({"necrosis": "present"}, False)],
)
def test_traits_change_the_nodes_grey(change, brighter):
    def grey(**traits):
        picture, mask, _ = expose("bmode", **traits)
        return picture[mask > 0].mean()

    assert (grey(**change) > grey() + 3) if brighter else (grey(**change) < grey() - 3)


def test_coarse_calcification_casts_a_shadow():
    def below(kind):
        picture, mask, (_, _, _, y1) = expose("bmode", calcification=kind)
        rows, columns = np.nonzero(mask)
        return picture[rows.max() + 5 : y1 - 5, columns.min() : columns.max()].mean(axis=(0, 2))

    change = below("coarse") - below("none")
    assert change.min() < -40
    assert np.median(change) > -15


def test_gain_differs_by_hospital():
    means = []
    for scanner in SCANNERS:
        same_view = dataclasses.replace(scanner, depth_mm=SCANNERS[0].depth_mm)
        picture, _, (x0, y0, x1, y1) = expose("bmode", scanner=same_view)
        means.append(picture[y0:y1, x0:x1].mean())
    assert np.ptp(means) > 15


@pytest.mark.parametrize("modality", list(MODALITIES))
def test_burned_in_text_says_simulated(modality):
    picture, _, (x0, y0, x1, y1) = expose(modality)
    expected = Image.new("RGB", (picture.shape[1], picture.shape[0]), SCANNERS[0].background)
    ImageDraw.Draw(expected).text((14, 8), "SIMULATED", fill=SCANNERS[0].ink, font=ImageFont.load_default(15))
    word = np.asarray(expected)[:30, :96].astype(float)
    assert word.any()
    np.testing.assert_array_equal(picture[:30, :96], word)
    assert y0 >= 30
    outside = picture.copy()
    outside[y0:y1, x0:x1] = 0
    assert (np.ptp(outside, axis=2) > 60).any() == (MODALITIES[modality].drawing is not None)
