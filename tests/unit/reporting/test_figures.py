from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dummy_study import (
    BINARY,
    DEMO,
    PAPER,
    fold_mean,
    make_effects,
    make_images,
    make_metrics,
    make_predictions,
    make_study,
)
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sonogrid.evaluation.metrics import pool_patients
from sonogrid.grid import Grid
from sonogrid.problems import InputError
from sonogrid.reporting import figures

STUDY = make_study(DEMO)
SMALL = make_study(BINARY)
PATIENTS = pool_patients(make_predictions(STUDY), STUDY.cohort.classes)
METRICS = make_metrics(PATIENTS, STUDY)


def history_of(study=STUDY) -> tuple[pd.DataFrame, dict[tuple[str, str, str, int], int]]:  # type: ignore[no-untyped-def]
    rows, chosen = [], {}
    for cell in Grid.of(study).cells():
        key = (cell.backbone, cell.init, cell.modality, cell.fold)
        chosen[key] = 2
        axes = dict(zip(("backbone", "init", "modality", "fold"), key, strict=True))
        rows += [axes | {"epoch": e, "train_loss": 1 / e, "inner_loss": 1.5 / e + cell.fold} for e in (1, 2, 3)]
    return pd.DataFrame(rows), chosen


def draw(name: str, simulated: bool = True, study=STUDY) -> Figure:  # type: ignore[no-untyped-def]
    """The named figure of a study's dummy results."""
    patients = PATIENTS if study is STUDY else pool_patients(make_predictions(study), study.cohort.classes)
    metrics = make_metrics(patients, study, simulated)
    makers: dict[str, Callable[[], Figure]] = {
        "auc_heatmap": lambda: figures.auc_heatmap(metrics, study),
        "roc_curves": lambda: figures.roc_curves(patients, study, simulated),
        "confusion_matrices": lambda: figures.confusion_matrices(patients, study, simulated),
        "training_curves": lambda: figures.training_curves(*history_of(study), study, simulated),
        "example_images": lambda: figures.example_images(make_images(study), study, simulated),
        "pretraining_effect": lambda: figures.pretraining_effect(make_effects(metrics, study), study),
    }
    return makers[name]()


NAMES = (
    "auc_heatmap",
    "roc_curves",
    "confusion_matrices",
    "training_curves",
    "example_images",
    "pretraining_effect",
)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", NAMES)
def test_simulated_stands_on_the_figure_when_and_only_when_it_is(name: str) -> None:
    assert any(text.startswith("Simulated data") for text in texts(draw(name, True, SMALL)))
    assert not any("imulated" in text for text in texts(draw(name, False, SMALL)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [PAPER, BINARY], ids=["paper", "binary"])
def test_all_is_drawn_inside_the_figure(name: str, axes: dict[str, tuple[str, ...]]) -> None:
    figure = draw(name, study=make_study(axes))
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_heat_map_prints_the_ablation_table() -> None:
    shown = texts(draw("auc_heatmap"))
    rows = METRICS[METRICS["method"].eq("bca") & METRICS["fold"].eq("mean") & METRICS["pooling"].eq("log")]
    rows = rows[rows["metric"].eq("roc_auc_ovo")]
    assert len(rows) == 12
    for _, row in rows.iterrows():
        assert f"{row['value']:.3f}" in shown and f"[{row['low']:.3f}, {row['high']:.3f}]" in shown


def test_heat_map_refuses_a_missing_configuration() -> None:
    with pytest.raises(InputError, match="modality cdfi"):
        figures.auc_heatmap(METRICS[METRICS["modality"].ne("cdfi")], STUDY)


@pytest.mark.parametrize("number", range(3))
def test_area_under_the_drawn_curve_is_the_fold_mean_of_the_metric(number: int) -> None:
    name = STUDY.cohort.classes[number]
    for _, group in PATIENTS.groupby(["backbone", "init", "modality"]):
        fpr, tpr = figures.mean_roc(group, name)
        assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= -1e-12).all()
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == pytest.approx((0, 0, 1, 1))
        _, by_class = fold_mean(group, STUDY.cohort.classes)
        assert np.trapezoid(tpr, fpr) == pytest.approx(by_class[number], abs=1e-12)


def test_area_holds_with_ties_and_folds_of_unequal_size() -> None:
    random = np.random.default_rng(2)
    p = random.integers(0, 4, 60) / 4
    fold = np.repeat([0, 1, 2], [10, 20, 30])
    label = np.where(random.random(60) < 0.4, "yes", "no")
    frame = pd.DataFrame({"fold": fold, "label": label, "p_yes": p, "p_no": 1 - p})
    fpr, tpr = figures.mean_roc(frame, "yes")
    assert np.trapezoid(tpr, fpr) == pytest.approx(fold_mean(frame, ("no", "yes"))[1][1], abs=1e-12)


def test_roc_by_hand() -> None:
    """Scores .9 (case) .8 (control) .7 (case) .1 (control): up to 1/2, right to 1/2, up to 1, right to 1."""
    frame = pd.DataFrame({"fold": 0, "label": ["yes", "no", "yes", "no"], "p_yes": [0.9, 0.8, 0.7, 0.1]})
    fpr, tpr = figures.mean_roc(frame, "yes")
    assert list(zip(fpr, tpr, strict=True)) == [
        (0, 0),
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
        (1, 1),
    ]


def test_roc_of_a_class_that_no_fold_has_is_empty() -> None:
    frame = pd.DataFrame({"fold": 0, "label": ["no", "no"], "p_yes": [0.2, 0.3]})
    assert [len(part) for part in figures.mean_roc(frame, "yes")] == [0, 0]


def test_roc_has_a_row_for_each_class_and_one_for_two_classes() -> None:
    panels = [ax for ax in draw("roc_curves").axes if ax.lines]
    assert len(panels) == 9 and all(len(ax.lines) == 5 for ax in panels)
    binary = draw("roc_curves", study=make_study(BINARY))
    assert len(binary.axes) == 1 and "malignant vs rest" in texts(binary)


def test_confusion_panels_hold_every_patient_once_and_rows_make_one_hundred() -> None:
    for ax in draw("confusion_matrices").axes:
        entries = [text.get_text().split("\n") for text in ax.texts]
        counts = np.array([int(count) for count, _ in entries]).reshape(3, 3)
        shares = np.array([int(share.rstrip("%")) for _, share in entries]).reshape(3, 3)
        assert counts.sum(axis=1).tolist() == [30, 30, 30]
        assert np.abs(shares - 100 * counts / 30).max() <= 0.5


def test_training_curves_mark_the_chosen_epoch_of_every_fold() -> None:
    for ax in draw("training_curves").axes:
        dots = [line.get_xydata().ravel().tolist() for line in ax.lines if line.get_marker() == "o"]
        assert dots == [[2.0, 0.75], [2.0, 1.75], [2.0, 2.75]]


def test_example_sheet_shows_the_arrays_and_says_what_is_absent() -> None:
    images = make_images(STUDY)
    figure = draw("example_images")
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 8 and all(np.array_equal(a, b) for a, b in zip(shown, images.values(), strict=True))
    assert texts(figure).count("no image") == 1


def test_forest_plot_draws_value_and_interval_of_each_difference() -> None:
    effects = make_effects(METRICS, STUDY)
    lines = draw("pretraining_effect").axes[0].lines[:-1]
    drawn = [(*interval.get_xdata(), point.get_xdata()[0]) for interval, point in zip(*[iter(lines)] * 2, strict=True)]
    assert np.allclose(drawn, effects[["low", "high", "value"]])


@pytest.mark.parametrize("name", ["auc_heatmap", "training_curves"])
def test_same_figure_same_bytes_and_saving_twice_changes_nothing(name: str, tmp_path: Path) -> None:
    first = draw(name, study=SMALL)
    files = [figures.save(first, tmp_path / "a"), figures.save(first, tmp_path / "b")]
    files.append(figures.save(draw(name, study=SMALL), tmp_path / "c"))
    assert [path.suffix for path in files[0]] == [".png", ".svg"]
    for paths in files[1:]:
        assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in files[0]]


def test_saved_files_are_200_dpi_and_carry_no_date_or_outside_resource(tmp_path: Path) -> None:
    figure = draw("auc_heatmap", study=SMALL)
    png, svg = figures.save(figure, tmp_path / "with.dot")
    assert png.name == "with.dot.png"
    with Image.open(png) as image:
        assert image.width == round(figure.get_figwidth() * 200)
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    text = svg.read_text("utf-8")
    assert "<dc:date>" not in text and 'href="http' not in text and "url(http" not in text


def test_figures_leave_matplotlib_as_it_was() -> None:
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy(); import sonogrid.reporting.figures;"
        "assert matplotlib.rcParams.copy() == before; assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
