"""Figures for people: each function takes a study and what was gathered of it, and returns a Figure.

Whoever calls them sets STYLE and prints the title, which says if data are simulated.
"""

from __future__ import annotations

import io
import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from sonogrid.config.modalities import title as modality_title
from sonogrid.config.study import Study
from sonogrid.evaluation.measurements import primary_metric
from sonogrid.evaluation.metrics import METRICS, Metric, class_codes, confusion
from sonogrid.files import whole_file
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.reporting.exhibits import COLUMN_AXIS, ROW_AXES
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.tables import ALL, by_place, effect_rows, grid_rows, row_names
from sonogrid.reporting.words import plain, signed, value_with_interval

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 200,
    "savefig.dpi": "figure",
    "svg.hashsalt": "sonogrid",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
"""Style of every figure.

DejaVu Sans comes with matplotlib, so that machines agree on it. Axes are laid out at the resolution that is
written, as widths of text depend on it.
"""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colour-blind-safe palette, without its yellow, which does not show on white."""
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
WHITE_ABOVE = 0.6
"""Share of the colour scale `Blues` above which white text reads better than black."""
SIMULATED = "Simulated data"
_REPEATS = [axis for axis in AXES if axis not in CONFIGURATION]
"""Axes over which a configuration is repeated."""


METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
"""Metadata of each format of `figures.formats`, without a date. Another format is an entry here."""


def save_figure(figure: Figure, paths: Mapping[str, Path]) -> None:
    """Write a figure in each format to its path, each whole; the same figure gives the same bytes.

    PNG has 200 dpi. matplotlib writes to memory: some formats hold the name of the file they are written to, and a
    temporary name is different each time.
    """
    with rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # otherwise every drawing moves the axes by a little
    for kind, path in paths.items():
        content = io.BytesIO()
        with rc_context(STYLE), _fixed_date():
            figure.savefig(content, format=kind, metadata=METADATA[kind])
        with whole_file(path) as temporary:
            temporary.write_bytes(content.getvalue())


@contextmanager
def _fixed_date() -> Iterator[None]:
    """Let matplotlib date files 1 January 1970, in formats that cannot do without a date, as PostScript.

    The variable is the only way to set that date (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    name = "SOURCE_DATE_EPOCH"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def set_title(figure: Figure, text: str, simulated: bool) -> None:
    """Print the title at the left, wrapped to the figure's width; it says first when the data are simulated."""
    size = 10
    columns = max(24, int(figure.get_figwidth() * 72 / (0.6 * size)))
    whole = f"{SIMULATED}. {text}" if simulated else text
    figure.suptitle(textwrap.fill(whole, columns), x=0.01, ha="left", fontsize=size, fontweight="bold")


def _of(frame: pd.DataFrame, names: Sequence[str], modality: str) -> pd.DataFrame:
    """Return the rows of a frame at a configuration: its values of ROW_AXES and its modality."""
    at = np.ones(len(frame), dtype=bool)
    for column, value in zip((*ROW_AXES, COLUMN_AXIS), (*names, modality), strict=True):
        at &= frame[column].eq(value).to_numpy(dtype=bool)
    return frame[at]


def _axes_of(
    rows: Sequence[str], columns: Sequence[str], size: tuple[float, float], share: dict[str, Any]
) -> tuple[Figure, NDArray[Any]]:
    """Return a grid of axes with a title over each column and a label beside each row; `size` of one in inches."""
    width, height = size[0] * len(columns) + 0.9, size[1] * len(rows) + 0.9
    figure = Figure(figsize=(max(width, 3.4), height))
    axes = figure.subplots(len(rows), len(columns), squeeze=False, **share)
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name)
    longest = max(len(line) for name in rows for line in name.splitlines())
    fitting = min(8.0, 72 * size[1] / (0.7 * longest))
    for ax, name in zip(axes[:, 0], rows, strict=True):
        ax.set_ylabel(name, fontweight="bold", fontsize=fitting)
    return figure, axes


def auc_heatmap(study: Study, gathered: Gathered, metric: str = "") -> Figure:
    """Return a heat map of the ablation table of a metric, without a name of the primary one.

    Intervals are under the values. The darker, the better: the colour scale is that of the metric, if it has one, or
    runs over the values. Raises InputError for a missing configuration.
    """
    grid = Grid.of(study)
    of_metric = METRICS[metric] if metric else primary_metric()
    places = by_place(grid_rows(gathered.metrics, grid, metric))
    names, modalities = row_names(grid), grid.texts(COLUMN_AXIS)
    values = np.array([[places[row, column]["value"] for column in modalities] for row in names], dtype=float)
    low, high = _colour_limits(of_metric, values)
    figure = Figure(figsize=(1.35 * len(modalities) + 2.6, 0.52 * len(names) + 1.1))
    ax = figure.subplots()
    colours = "Blues" if of_metric.higher_is_better else "Blues_r"
    image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    white_from = WHITE_ABOVE if of_metric.higher_is_better else 1.0 - WHITE_ABOVE
    for (y, row), (x, modality) in product(enumerate(names), enumerate(modalities)):
        place = places[row, modality]
        text = value_with_interval(place, plain)
        value, _, bounds = text.partition(" [")
        above = place["value"] > white_from * (high - low) + low
        colour = "white" if above == of_metric.higher_is_better and not np.isnan(place["value"]) else "black"
        ax.text(x, y - 0.12, value if bounds else text, ha="center", va="center", color=colour, fontsize=10)
        if bounds:
            ax.text(x, y + 0.26, f"[{bounds}", ha="center", va="center", color=colour, fontsize=7)
    ax.set_xticks(range(len(modalities)), [modality_title(modality) for modality in modalities], fontsize=9)
    ax.set_yticks(range(len(names)), ["  ".join(row) for row in names], fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    ax.set_xticks(np.arange(len(modalities) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    extend = "min" if np.nanmin(values, initial=high) < low else "neither"
    bar = figure.colorbar(image, ax=ax, label=of_metric.label, extend=extend, fraction=0.06, pad=0.03)
    bar.outline.set_visible(False)
    return figure


def _colour_limits(metric: Metric, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the colour scale: those of the metric, otherwise lowest and highest value."""
    finite = values[np.isfinite(values)]
    if metric.scale is not None or not len(finite):
        return metric.scale or (0.0, 1.0)
    return float(finite.min()), float(finite.max())


def mean_roc(patients: pd.DataFrame, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ROC curve of class `name` against the rest, averaged vertically over seeds and folds.

    `patients` has seed, fold, label and p_{name}, one row per patient and seed. Weights are numbers of case pairs,
    so that the area under the curve is the mean over seeds of the weighted fold mean of the AUC. Returns false and
    true positive rates, both rising from 0 to 1; empty where no fold has the class and the rest. Vertical averaging:
    Fawcett 2006, doi:10.1016/j.patrec.2005.10.010.
    """
    curves, weights = [], []
    for _, fold in patients.groupby(_REPEATS):
        truth = fold["label"].eq(name).to_numpy(dtype=bool)
        pairs = int(truth.sum()) * int((~truth).sum())
        if pairs:
            fpr, tpr, _ = roc_curve(truth, fold[f"p_{name}"], drop_intermediate=False)
            curves.append((fpr, tpr))
            weights.append(pairs)
    if not curves:
        return np.empty(0), np.empty(0)
    at = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    # Each curve may rise straight up at a false positive rate: keep the foot and the head of every such step.
    steps = np.average([_foot_and_head(fpr, tpr, at) for fpr, tpr in curves], axis=0, weights=weights)
    return np.concatenate([[0.0], np.repeat(at, 2)]), np.concatenate([[0.0], steps.ravel()])


def _foot_and_head(fpr: NDArray[np.float64], tpr: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest and highest true positive rate of a ROC curve at each rate of `at`, shape len(at) x 2."""
    own, first = np.unique(fpr, return_index=True)
    last = np.append(first[1:], len(fpr)) - 1
    before = np.searchsorted(own, at, side="right") - 1
    after = np.minimum(before + 1, len(own) - 1)
    exact = own[before] == at
    width = np.where(after > before, own[after] - own[before], 1.0)
    between = tpr[last][before] + (tpr[first][after] - tpr[last][before]) * (at - own[before]) / width
    foot, head = np.where(exact, tpr[first][before], between), np.where(exact, tpr[last][before], between)
    return np.stack([foot, head], axis=1)


def roc_curves(study: Study, gathered: Gathered) -> Figure:
    """Return one-vs-rest ROC curves, out of fold: rows class, columns modality, lines ROW_AXES.

    Curves are averaged vertically over seeds and folds (`mean_roc`). With two classes the second is shown, as the
    first is its mirror image.
    """
    grid = Grid.of(study)
    classes = study.cohort.classes if len(study.cohort.classes) > 2 else study.cohort.classes[1:]
    columns = [modality_title(modality) for modality in grid.texts("modality")]
    share = {"sharex": True, "sharey": True}
    figure, axes = _axes_of([f"{name} vs rest" for name in classes], columns, (1.95, 2.0), share)
    for (row, name), (column, modality) in product(enumerate(classes), enumerate(grid.texts("modality"))):
        ax = axes[row, column]
        ax.plot([0, 1], [0, 1], color="0.8", linewidth=0.8, zorder=0)
        for names in row_names(grid):
            fpr, tpr = mean_roc(_of(gathered.scored, names, modality), name)
            ax.plot(fpr, tpr, linewidth=1.2, **_look(grid, names))
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    for ax in axes[-1]:
        ax.set_xlabel("false positive rate")
    figure.supylabel("true positive rate", fontsize=8)
    handles = [Line2D([], [], label=", ".join(names), **_look(grid, names)) for names in row_names(grid)]
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(figure, handles))
    return figure


def _look(grid: Grid, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the look of a row's line: its colour says the first of ROW_AXES, its dashes the others."""
    first = ROW_AXES[0]
    others = [row[1:] for row in row_names(grid)]
    return {
        "color": COLOURS[grid.texts(first).index(names[0]) % len(COLOURS)],
        "linestyle": DASHES[others.index(names[1:]) % len(DASHES)],
    }


def _legend_columns(figure: Figure, handles: Sequence[Line2D]) -> int:
    """Return as many legend columns as fit the figure's width."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    inches = 0.062 * longest + 0.5
    return max(1, min(len(handles), int(figure.get_figwidth() / inches)))


def confusion_matrices(study: Study, gathered: Gathered) -> Figure:
    """Return confusion matrices by patient, out of fold, all folds together: rows ROW_AXES, columns modality.

    The predicted class has the highest pooled probability. Entries: count, the mean over seeds, and percentage of the
    true class, which is also the colour.
    """
    grid, classes, n_seeds = Grid.of(study), study.cohort.classes, len(study.grid.seeds)
    columns = [modality_title(modality) for modality in grid.texts("modality")]
    side = max(0.37 * len(classes) + 0.12, 1.2)
    rows = row_names(grid)
    share = {"sharex": True, "sharey": True}
    figure, axes = _axes_of(["\n".join(names) for names in rows], columns, (side + 0.1, side), share)
    for (row, names), (column, modality) in product(enumerate(rows), enumerate(grid.texts(COLUMN_AXIS))):
        part = _of(gathered.scored, names, modality)
        p = part[[f"p_{name}" for name in classes]].to_numpy(dtype=float)
        counts = confusion(class_codes(part["label"], classes), p) / n_seeds
        _draw_confusion(axes[row, column], counts, decimals=0 if n_seeds == 1 else 1)
    for ax in axes.flat:
        ax.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(classes)), classes, rotation=0)
    figure.supxlabel("predicted class", fontsize=8)
    figure.supylabel("true class", fontsize=8)
    return figure


def _draw_confusion(ax: Axes, counts: NDArray[np.float64], decimals: int) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.ndindex(*counts.shape):
        part = share[true, predicted]
        text = f"{counts[true, predicted]:.{decimals}f}\n{100 * part:.0f}%"
        colour = "white" if part > WHITE_ABOVE else "black"
        ax.text(predicted, true, text, ha="center", va="center", color=colour, fontsize=6.5, linespacing=1.05)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)


def training_curves(study: Study, gathered: Gathered) -> Figure:
    """Return training and inner loss by epoch, a line for each seed and fold: rows ROW_AXES, columns modality.

    Losses are in nats; a dot marks the epoch whose weights were kept.
    """
    history = gathered.histories.merge(gathered.runs[[*AXES, "chosen_epoch"]], on=AXES, validate="many_to_one")
    grid = Grid.of(study)
    rows = row_names(grid)
    columns = [modality_title(modality) for modality in grid.texts("modality")]
    figure, axes = _axes_of(
        ["\n".join(names) for names in rows], columns, (2.1, 1.35), {"sharex": True, "sharey": "row"}
    )
    lines = {"train_loss": ("training loss", COLOURS[4]), "inner_loss": ("inner log loss", COLOURS[0])}
    for (row, names), (column, modality) in product(enumerate(rows), enumerate(grid.texts(COLUMN_AXIS))):
        ax = axes[row, column]
        for _, epochs in _of(history, names, modality).groupby(_REPEATS):
            for loss, (_, colour) in lines.items():
                ax.plot(epochs["epoch"], epochs[loss], color=colour, linewidth=0.8, alpha=0.8)
            best = epochs[epochs["epoch"] == epochs["chosen_epoch"]]
            ax.plot(best["epoch"], best["inner_loss"], "o", color="black", markersize=2.5, zorder=3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    figure.supylabel("loss", fontsize=8)
    handles = [Line2D([], [], color=colour, label=label) for label, colour in lines.values()]
    handles.append(Line2D([], [], color="black", marker="o", linestyle="", markersize=3, label="chosen epoch"))
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(figure, handles))
    return figure


def example_images(study: Study, gathered: Gathered) -> Figure:
    """Return example canvases, rows class, columns modality: the first of the store, which nobody picked.

    A class without one has an empty panel that says so.
    """
    label = gathered.patients.set_index("patient_id")["label"]
    columns = [modality_title(modality) for modality in study.grid.modalities]
    figure, axes = _axes_of(study.cohort.classes, columns, (1.9, 1.9), {})
    for column, modality in enumerate(study.grid.modalities):
        store = gathered.store(modality)
        of_image = store.index["patient_id"].map(label)
        for row, name in enumerate(study.cohort.classes):
            ax, found = axes[row, column], store.index.loc[of_image == name, "row"]
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if len(found):
                ax.imshow(store.pixels[int(found.iloc[0])], interpolation="nearest")
            else:
                ax.text(0.5, 0.5, "no image", ha="center", va="center", color="0.4", transform=ax.transAxes)
    return figure


def pretraining_effect(study: Study, gathered: Gathered) -> Figure:
    """Return a forest plot of the paired differences of the pre-training effect, main effect last.

    Raises InputError for a missing difference.
    """
    rows = effect_rows(gathered.effects, study)
    assert study.statistics.pretraining_effect is not None
    init, reference = study.statistics.pretraining_effect
    figure = Figure(figsize=(6.4, 0.24 * len(rows) + 1.3))
    ax = figure.subplots()
    labels = []
    for y, (_, row) in enumerate(rows.iterrows()):
        main = row["modality"] == ALL
        place = 0 if main else study.grid.modalities.index(row["modality"])
        colour = "black" if main else COLOURS[place % len(COLOURS)]
        marker = "d" if main else MARKERS[place % len(MARKERS)]
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.3, solid_capstyle="butt")
        ax.plot([row["value"]], [y], marker, color=colour, markersize=7 if main else 5)
        labels.append("all" if main else f"{row['backbone']}  {modality_title(row['modality'])}")
    ax.axvline(0, color="0.5", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(rows)), labels, fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    right = ax.twinx()
    texts = [value_with_interval(row, signed) for _, row in rows.iterrows()]
    right.set_yticks(range(len(rows)), texts, fontsize=7.5)
    right.set_ylim(ax.get_ylim())
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel(f"difference in {primary_metric().label} by patient: {init} minus {reference}")
    return figure
