from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

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
    write_stores,
)
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sonogrid.config.results import FigureFormat
from sonogrid.config.study import Study
from sonogrid.grid import Grid, named
from sonogrid.problems import InputError
from sonogrid.reporting import figures
from sonogrid.reporting.exhibits import EXHIBITS, figures_of
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import draw_figure

NAMES = [exhibit.stem for exhibit in EXHIBITS if exhibit.kind == "figure"]


def gather(study: Study, simulated: bool = True) -> Gathered:
    """What figures are made from: canvases in the results folder, all else in memory. Epoch 2 is the chosen one."""
    write_stores(study)
    predictions = make_predictions(study)
    patients = predictions[["patient_id", "label"]].drop_duplicates().assign(hospital="A", simulated=str(simulated))
    cells = [dict(named(cell)) for cell in Grid.of(study).cells()]
    losses = [(epoch, 1 / epoch, 1.5 / epoch) for epoch in (1, 2, 3)]
    gathered = Gathered(study)
    vars(gathered).update(patients=patients, predictions=predictions)
    metrics = make_metrics(gathered.scored, study)
    vars(gathered).update(
        metrics=metrics,
        effects=make_effects(metrics, study),
        runs=pd.DataFrame([cell | {"chosen_epoch": 2} for cell in cells]),
        histories=pd.DataFrame(
            [
                cell | {"epoch": epoch, "train_loss": train, "inner_loss": inner + cell["fold"] + 10 * cell["seed"]}
                for cell in cells
                for epoch, train, inner in losses
            ]
        ),
    )
    return gathered


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return gather(make_study(DEMO, tmp_path_factory.mktemp("results")))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    """Three seeds."""
    axes = DEMO | {"backbones": ("resnet18",), "modalities": ("bmode", "cdfi")}
    return gather(make_study(axes, tmp_path_factory.mktemp("several"), seeds=(0, 1, 5)))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    return gather(make_study(BINARY, tmp_path_factory.mktemp("small")))


def draw(name: str, gathered: Gathered) -> Figure:
    """The named figure."""
    exhibit = next(one for one in figures_of(gathered.study) if one.stem == name)
    return draw_figure(exhibit, gathered.study, gathered)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("name", NAMES)
def test_simulated_is_on_the_figure_when_and_only_when_it_is(name: str, small: Gathered, tmp_path: Path) -> None:
    assert any(text.startswith("Simulated data") for text in texts(draw(name, small)))
    real = gather(make_study(BINARY, tmp_path), simulated=False)
    assert not any("imulated" in text for text in texts(draw(name, real)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [PAPER, BINARY], ids=["paper", "binary"])
def test_all_is_drawn_inside_the_figure(name: str, axes: dict[str, tuple[str, ...]], tmp_path: Path) -> None:
    figure = draw(name, gather(make_study(axes, tmp_path)))
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_heat_map_prints_the_ablation_table(gathered: Gathered) -> None:
    shown, metrics = texts(draw("auc_heatmap", gathered)), gathered.metrics
    rows = metrics[metrics["method"].eq("bca") & metrics["fold"].eq("mean") & metrics["pooling"].eq("log")]
    rows = rows[rows["metric"].eq("roc_auc_ovo")]
    assert len(rows) == 12
    for _, row in rows.iterrows():
        assert f"{row['value']:.3f}" in shown and f"[{row['low']:.3f}, {row['high']:.3f}]" in shown


def test_heat_map_refuses_a_missing_configuration(gathered: Gathered) -> None:
    lacking = Gathered(gathered.study)
    vars(lacking).update(metrics=gathered.metrics[gathered.metrics["modality"].ne("cdfi")])
    with pytest.raises(InputError, match="modality cdfi"):
        figures.auc_heatmap(lacking.study, lacking)


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("seeds", ["gathered", "several"])
def test_area_under_the_drawn_curve_is_the_mean_over_seeds_of_the_fold_mean(
    number: int, seeds: str, request: pytest.FixtureRequest
) -> None:
    found: Gathered = request.getfixturevalue(seeds)
    classes = found.study.cohort.classes
    for _, group in found.scored.groupby(["backbone", "init", "modality"]):
        fpr, tpr = figures.mean_roc(group, classes[number])
        assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= -1e-12).all()
        assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == pytest.approx((0, 0, 1, 1))
        of_seeds = [fold_mean(part, classes)[1][number] for _, part in group.groupby("seed")]
        assert len(of_seeds) == len(found.study.grid.seeds)
        assert np.trapezoid(tpr, fpr) == pytest.approx(np.mean(of_seeds), abs=1e-12)


def test_area_holds_with_ties_and_folds_of_unequal_size() -> None:
    random = np.random.default_rng(2)
    p = random.integers(0, 4, 60) / 4
    fold = np.repeat([0, 1, 2], [10, 20, 30])
    label = np.where(random.random(60) < 0.4, "yes", "no")
    frame = pd.DataFrame({"seed": 0, "fold": fold, "label": label, "p_yes": p, "p_no": 1 - p})
    fpr, tpr = figures.mean_roc(frame, "yes")
    assert np.trapezoid(tpr, fpr) == pytest.approx(fold_mean(frame, ("no", "yes"))[1][1], abs=1e-12)


def test_roc_by_hand() -> None:
    """Scores .9 (case) .8 (control) .7 (case) .1 (control): up to 1/2, right to 1/2, up to 1, right to 1."""
    frame = pd.DataFrame({"seed": 0, "fold": 0, "label": ["yes", "no", "yes", "no"], "p_yes": [0.9, 0.8, 0.7, 0.1]})
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
    frame = pd.DataFrame({"seed": 0, "fold": 0, "label": ["no", "no"], "p_yes": [0.2, 0.3]})
    assert [len(part) for part in figures.mean_roc(frame, "yes")] == [0, 0]


def test_roc_has_a_row_for_each_class_and_one_for_two_classes(gathered: Gathered, small: Gathered) -> None:
    panels = [ax for ax in draw("roc_curves", gathered).axes if ax.lines]
    assert len(panels) == 9 and all(len(ax.lines) == 5 for ax in panels)
    binary = draw("roc_curves", small)
    assert len(binary.axes) == 1 and "malignant vs rest" in texts(binary)


@pytest.mark.parametrize(("seeds", "kind"), [("gathered", int), ("several", float)])
def test_confusion_panels_hold_every_patient_once_and_rows_make_one_hundred(
    seeds: str, kind: Any, request: pytest.FixtureRequest
) -> None:
    for ax in draw("confusion_matrices", request.getfixturevalue(seeds)).axes:
        entries = [text.get_text().split("\n") for text in ax.texts]
        counts = np.array([kind(count) for count, _ in entries]).reshape(3, 3)
        shares = np.array([int(share.rstrip("%")) for _, share in entries]).reshape(3, 3)
        # Means of three seeds are printed with one decimal, so a row of three may be off by 3 * 0.05.
        assert counts.sum(axis=1) == pytest.approx([30, 30, 30], abs=0 if kind is int else 0.15001)
        assert np.abs(shares - 100 * counts / 30).max() <= (0.5 if kind is int else 0.5 + 100 * 0.05 / 30)


def test_a_confusion_matrix_of_several_seeds_is_the_mean_of_theirs(several: Gathered) -> None:
    scored = several.scored[several.scored["modality"].eq("cdfi") & several.scored["init"].eq("scratch")]
    p = scored[[f"p_{name}" for name in several.study.cohort.classes]].to_numpy()
    right = np.array(several.study.cohort.classes)[p.argmax(axis=1)] == scored["label"]
    wanted = [f"{right[scored['label'] == name].sum() / 3:.1f}" for name in several.study.cohort.classes]
    ax = draw("confusion_matrices", several).axes[1]
    assert [ax.texts[4 * number].get_text().split("\n")[0] for number in range(3)] == wanted


def test_training_curves_mark_the_chosen_epoch_of_every_seed_and_fold(gathered: Gathered, several: Gathered) -> None:
    for found, seeds in ((gathered, (0,)), (several, (0, 1, 5))):
        for ax in draw("training_curves", found).axes:
            dots = [line.get_xydata().ravel().tolist() for line in ax.lines if line.get_marker() == "o"]
            assert dots == [[2.0, 0.75 + fold + 10 * seed] for seed in seeds for fold in range(3)]
            assert len(ax.lines) == 3 * len(dots)


def test_titles_say_how_many_seeds_when_there_are_several(gathered: Gathered, several: Gathered) -> None:
    for name, of_one, of_three in (
        ("auc_heatmap", "mean of 3 folds", "mean of 3 folds and 3 seeds"),
        ("roc_curves", "mean of 3 folds", "mean of 3 folds and 3 seeds"),
        ("confusion_matrices", "all folds", "all folds, mean of 3 seeds"),
        ("training_curves", "for each fold", "for each seed and fold"),
    ):
        for found, words in ((gathered, of_one), (several, of_three)):
            assert draw(name, found).get_suptitle().replace("\n", " ").endswith(words)


def test_example_sheet_shows_the_arrays_and_says_what_is_absent(gathered: Gathered) -> None:
    images = make_images(gathered.study)
    figure = draw("example_images", gathered)
    shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(shown) == 8 and all(np.array_equal(a, b) for a, b in zip(shown, images.values(), strict=True))
    assert texts(figure).count("no image") == 1


def test_forest_plot_draws_value_and_interval_of_each_difference(gathered: Gathered) -> None:
    lines = draw("pretraining_effect", gathered).axes[0].lines[:-1]
    drawn = [(*interval.get_xdata(), point.get_xdata()[0]) for interval, point in zip(*[iter(lines)] * 2, strict=True)]
    assert np.allclose(drawn, gathered.effects[["low", "high", "value"]])


def test_every_format_that_the_config_offers_can_be_saved() -> None:
    assert set(figures.METADATA) == set(get_args(FigureFormat))


def save_on_a_day(
    figure: Figure, stem: Path, kinds: Iterable[str], day: int, monkeypatch: pytest.MonkeyPatch
) -> list[bytes]:
    """Return the files of a figure as saved on a day since 1970, as far as matplotlib can tell."""
    paths = {kind: stem.with_suffix(f".{kind}") for kind in kinds}
    with monkeypatch.context() as patched:
        patched.setenv("SOURCE_DATE_EPOCH", str(86400 * day))
        figures.save_figure(figure, paths)
        assert os.environ["SOURCE_DATE_EPOCH"] == str(86400 * day)
    return [path.read_bytes() for path in paths.values()]


@pytest.mark.parametrize("name", ["auc_heatmap", "training_curves", "example_images"])
def test_same_figure_same_bytes_and_saving_twice_changes_nothing(
    name: str, small: Gathered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, files = draw(name, small), []
    for day, figure in enumerate((first, first, draw(name, small))):
        files.append(save_on_a_day(figure, tmp_path / f"day{day}", get_args(FigureFormat), day, monkeypatch))
    assert len(files[0]) == len(figures.METADATA) and files[1] == files[0] and files[2] == files[0]


@pytest.mark.parametrize("kind", ["eps", "ps"])
def test_formats_that_always_have_a_date_and_a_title_need_an_entry_alone(
    kind: str, small: Gathered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(figures.METADATA, kind, {"Creator": "sonogrid"})
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    figure = draw("auc_heatmap", small)
    figures.save_figure(figure, {kind: tmp_path / f"first.{kind}"})
    assert "SOURCE_DATE_EPOCH" not in os.environ
    content = (tmp_path / f"first.{kind}").read_bytes()
    assert b"%%CreationDate: Thu Jan 01 00:00:00 1970" in content and b"%%Title" not in content
    assert save_on_a_day(figure, tmp_path / "second", [kind], 5, monkeypatch) == [content]


def test_saved_files_are_200_dpi_and_carry_no_date_or_outside_resource(small: Gathered, tmp_path: Path) -> None:
    figure = draw("auc_heatmap", small)
    png, svg, pdf = (tmp_path / f"with.dot.{kind}" for kind in ("png", "svg", "pdf"))
    figures.save_figure(figure, {"png": png, "svg": svg, "pdf": pdf})
    with Image.open(png) as image:
        assert image.width == round(figure.get_figwidth() * 200)
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    text = svg.read_text("utf-8")
    assert "<dc:date>" not in text and 'href="http' not in text and "url(http" not in text
    assert pdf.read_bytes().startswith(b"%PDF-") and b"Date" not in pdf.read_bytes()


def test_figures_leave_matplotlib_as_it_was() -> None:
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy(); import sonogrid.reporting.figures;"
        "assert matplotlib.rcParams.copy() == before; assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
