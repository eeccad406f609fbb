"""Long and short axis: known shapes, the simulated nodes, and the rule for a patient."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sonogrid.cohort.phantom.scanner import SCANNERS, dual_view, single_view
from sonogrid.cohort.phantom.scene import Node, draw_anatomy, node_frame, place_node
from sonogrid.cohort.phantom.simulate import draw_patients
from sonogrid.cohort.phantom.traits import ORGANS
from sonogrid.config.modalities import MODALITIES
from sonogrid.config.readers import PhantomSource
from sonogrid.images.axes import Ellipse, axes_mm, drawn, ellipse_widths, moment_ellipse
from sonogrid.images.patient_axes import patient_axes


def test_a_disc_has_its_diameter_twice() -> None:
    disc = drawn(Ellipse(10.0, 10.0, 6.0, 6.0, 0.0), (200, 200), 0.1, 0.1)
    assert axes_mm(disc, 0.1, 0.1) == pytest.approx((12, 12), rel=0.005)


def test_a_rectangle_has_its_diagonal_and_the_width_across_it() -> None:
    # 16 x 12 mm: the diagonal is 20 mm; perpendicular to it the calipers open 2 * 16 * 12 / 20 = 19.2 mm.
    mask = np.zeros((150, 200), dtype=bool)
    mask[10:130, 20:180] = True
    assert axes_mm(mask, 0.1, 0.1) == pytest.approx((20, 19.2), rel=0.02)


def test_a_capsule_has_length_and_thickness_on_anisotropic_pixels() -> None:
    # All points within 3 mm of a segment of 10 mm along y: 16 x 6 mm; pixels of 0.1 x 0.05 mm.
    y, x = np.ogrid[:400, :200]
    along = np.clip((y + 0.5) * 0.05, 5, 15)
    mask = np.hypot((x + 0.5) * 0.1 - 10, (y + 0.5) * 0.05 - along) < 3
    assert axes_mm(mask, 0.1, 0.05) == pytest.approx((16, 6), rel=0.02)


@pytest.mark.parametrize(("shape", "lengths"), [((1, 1), (1, 1)), ((1, 40), (40, 1)), ((40, 1), (40, 1))])
def test_pixels_count_with_their_extent(shape: tuple[int, int], lengths: tuple[int, int]) -> None:
    assert axes_mm(np.ones(shape, dtype=bool), 1, 1) == pytest.approx(lengths, abs=0.4)


def test_of_several_components_the_largest_counts_and_touching_corners_connect() -> None:
    large = drawn(Ellipse(60.0, 60.0, 40.0, 20.0, 0.3), (120, 260), 1, 1)
    small = drawn(Ellipse(200.0, 60.0, 30.0, 20.0, 2.0), (120, 260), 1, 1)
    assert axes_mm(large | small, 1, 1) == pytest.approx(axes_mm(large, 1, 1), rel=1e-9)
    assert axes_mm(np.eye(50, dtype=bool), 1, 1)[0] == pytest.approx(50 * np.sqrt(2), rel=0.02)


def test_an_outline_has_the_axes_of_what_it_surrounds() -> None:
    filled = drawn(Ellipse(60.0, 60.0, 50.0, 30.0, 0.5), (120, 120), 1, 1)
    inner = drawn(Ellipse(60.0, 60.0, 48.5, 28.5, 0.5), (120, 120), 1, 1)
    assert axes_mm(filled & ~inner, 1, 1) == pytest.approx((100, 60), rel=0.02)


def test_a_lesion_that_fills_a_huge_picture_is_measured_on_fewer_pixels() -> None:
    mask = drawn(Ellipse(1500.0, 1500.0, 1480.0, 900.0, 0.4), (3000, 3000), 1, 1)
    assert axes_mm(mask, 1, 1) == pytest.approx((2960, 1800), rel=0.005)


def test_an_empty_mask_and_impossible_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        axes_mm(np.zeros((5, 5), dtype=bool), 1, 1)
    for mm in (0.0, -1.0, float("nan"), float("inf")):
        for sides in ((mm, 1.0), (1.0, mm)):
            with pytest.raises(ValueError, match="above 0"):
                axes_mm(np.ones((5, 5), dtype=bool), *sides)


def test_moments_and_widths_of_a_known_ellipse() -> None:
    known = Ellipse(12.0, 9.0, 8.0, 4.0, 0.6)
    found = moment_ellipse(drawn(known, (180, 480), 0.05, 0.1), 0.05, 0.1)
    assert found.x == pytest.approx(12, abs=0.01) and found.y == pytest.approx(9, abs=0.01)
    assert (found.a, found.b) == pytest.approx((8, 4), rel=0.003)
    assert np.sin(found.angle - 0.6) == pytest.approx(0, abs=0.01)
    widths = ellipse_widths(known)
    assert widths.max() == pytest.approx(16, rel=1e-3) and widths.min() == pytest.approx(8, rel=1e-3)


def test_ellipses_of_40_pixels_at_random_are_met_to_two_percent() -> None:
    rng, errors = np.random.default_rng(3), []
    for _ in range(300):
        mm_x, mm_y = rng.uniform(0.05, 0.1, 2)
        long, short = 40 * max(mm_x, mm_y) * np.array((1, rng.uniform(0.3, 1)))
        middle, angle = long + rng.uniform(0, 0.1, 2), rng.uniform(0, np.pi)
        shape = int(2.2 * long / mm_y), int(2.2 * long / mm_x)
        mask = drawn(Ellipse(*middle, long / 2, short / 2, angle), shape, mm_x, mm_y)
        errors.append(np.divide(axes_mm(mask, mm_x, mm_y), (long, short)) - 1)
    found = np.abs(errors)
    assert (np.percentile(found, 95, axis=0) <= 0.012).all() and (np.percentile(found, 99, axis=0) <= 0.02).all()
    assert (np.abs(np.mean(errors, axis=0)) <= 0.003).all()


def nodes() -> list[tuple[Node, np.ndarray, float]]:
    """Simulated nodes with their masks and mm per pixel: both organs, every scanner, single and dual view."""
    rng, found = np.random.default_rng(11), []
    for organ in ORGANS.values():
        patients = draw_patients(PhantomSource(organ=organ.name, patients=12), MODALITIES, 5)
        for patient, scanner, view_of in itertools.product(patients, SCANNERS, (single_view, dual_view)):
            view = view_of(scanner)
            node = place_node(patient.values(organ), patient.size_mm, view, draw_anatomy(organ.name, rng), rng)
            found.append((node, node_frame(view, node).radius < 1, view.mm_per_pixel))
    return found


def calipers(node: Node) -> tuple[float, float]:
    """The axes of the contour that the phantom draws, from its 720 points, without pixels."""
    angle = np.arange(len(node.contour)) * 2 * np.pi / len(node.contour)
    u, v = np.linalg.solve(node.whiten.astype(float), np.stack((np.cos(angle), np.sin(angle))) * node.contour)
    x, y = u * node.long_mm / 2, v * node.short_mm / 2
    turns = np.arange(1800) * np.pi / 1800
    widths = np.ptp(np.outer(np.cos(turns), x) + np.outer(np.sin(turns), y), axis=1)
    return float(widths.max()), float(widths[(int(widths.argmax()) + 900) % 1800])


def test_axes_of_simulated_nodes_are_those_of_the_drawn_contour() -> None:
    errors = np.array([np.divide(axes_mm(mask, mm, mm), calipers(node)) - 1 for node, mask, mm in nodes()])
    assert len(errors) == 144
    assert np.abs(errors).max() <= 0.02
    assert (np.abs(errors.mean(axis=0)) <= 0.002).all() and (np.abs(errors).mean(axis=0) <= 0.005).all()


def test_moments_of_simulated_nodes_are_those_of_the_patient_table() -> None:
    # The table gives a node the axes of the ellipse with its second moments, whatever its margin.
    for node, mask, mm in nodes():
        found = moment_ellipse(mask, mm, mm)
        assert (2 * found.a, 2 * found.b) == pytest.approx((node.long_mm, node.short_mm), rel=0.01)


def test_calipers_agree_with_the_patient_table_where_the_margin_is_smooth() -> None:
    # Calipers lie on the lobules of an irregular margin, and read more than the table's ellipse there.
    smooth = [(n, mask, mm) for n, mask, mm in nodes() if n.traits["margin"] != "irregular"]
    errors = np.array([np.divide(axes_mm(mask, mm, mm), (n.long_mm, n.short_mm)) - 1 for n, mask, mm in smooth])
    assert len(errors) >= 50
    assert (np.abs(errors).mean(axis=0) <= 0.012).all() and np.abs(errors).max() <= 0.03


COLUMNS = ["patient_id", "image_id", "modality", "mm_per_pixel_x", "mm_per_pixel_y", "long_axis_mm", "short_axis_mm"]
NA = float("nan")
MEASURED = ["measured_image_id", *COLUMNS[3:5], "measured_long_axis_mm", "measured_short_axis_mm"]


def test_the_axes_of_a_patient_are_those_of_the_largest_bmode_lesion() -> None:
    rows = [
        ("b", "b1", "cdfi", 0.1, 0.1, 30.0, 12.0),
        ("b", "b2", "bmode", 0.1, 0.2, 18.0, 9.0),
        ("b", "b3", "bmode", 0.3, 0.3, 20.0, 8.0),
        ("a", "a2", "cdfi", 0.1, 0.1, 15.0, 7.0),
        ("a", "a1", "elastography", 0.2, 0.2, 15.0, 6.0),
        ("a", "a3", "bmode", NA, NA, NA, NA),
        ("c", "c2", "cdfi", 0.4, 0.5, NA, NA),
        ("c", "c1", "elastography", 0.6, 0.7, NA, NA),
        ("d", "d1", "bmode", NA, NA, NA, NA),
    ]
    expected = {
        "a": ["a1", 0.2, 0.2, 15.0, 6.0],
        "b": ["b3", 0.3, 0.3, 20.0, 8.0],
        "c": ["c1", 0.6, 0.7, NA, NA],
        "d": [NA, NA, NA, NA, NA],
    }
    for order in (rows, rows[::-1]):
        found = patient_axes(pd.DataFrame(order, columns=COLUMNS)).set_index("patient_id")
        assert found.index.tolist() == ["a", "b", "c", "d"] and found.columns.tolist() == MEASURED
        wanted = pd.DataFrame.from_dict(expected, orient="index", columns=MEASURED)
        pd.testing.assert_frame_equal(found, wanted, check_dtype=False, check_names=False)
