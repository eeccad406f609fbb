"""Every table, figure and panel of a study, in the order of the report.

A new one is a function and an entry here: the rules, the report, its list of files and the captions of
`snakemake --report` follow from this list. The Snakefile imports this module, so it imports nothing heavy; the
functions are named by module and name, and looked up when they are called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal

from sonogrid.config.study import Study
from sonogrid.evaluation import primary
from sonogrid.evaluation.poolings import POOLINGS
from sonogrid.grid import AXES, CONFIGURATION, Grid
from sonogrid.layout import Layout

if TYPE_CHECKING:
    from sonogrid.evaluation.metrics import Metric

TABLE_FORMATS = ("html", "csv", "md", "tex")
"""Formats of every table; the first is what `snakemake --report` shows."""
COLUMN_AXIS = "modality"
ROW_AXES = [axis for axis in CONFIGURATION if axis != COLUMN_AXIS]
"""Axes of the rows of a table, or figure, that shows every configuration; its columns are of COLUMN_AXIS."""
AXES_SHOWN = f"rows: {' and '.join(ROW_AXES)}; columns: {COLUMN_AXIS}"
CEILING_METRIC = "roc_auc_ovo"
"""What ceiling.json is of."""
ONLY_POOLED = f"Images of a patient are pooled by the {POOLINGS[primary.PRIMARY_POOLING].label}."


def _always(_: Study) -> bool:
    return True


def _has_effect(study: Study) -> bool:
    return study.statistics.pretraining_effect is not None


def _has_ceiling(study: Study) -> bool:
    return primary.PRIMARY_METRIC == CEILING_METRIC and study.cohort.simulated


@dataclass(frozen=True)
class Exhibit:
    """One table, figure or panel. A panel is drawn for each backbone and init, by a job of its own.

    `make` names a function of this room as `module.function`. Tables: (study, gathered) -> Table. Figures:
    (study, gathered) -> Figure. Panels: (study, gathered, backbone, init, advance) -> Figure and the table of
    what it shows.

    `title`, `alt` and `caption` may hold the names of FACTS and METRIC_FACTS and the axes of the stem in braces.
    """

    kind: Literal["table", "figure", "panel"]
    stem: str
    """Its files without folder and suffix; of a panel a pattern over axes."""
    section: str
    """Heading in the report, shared with others."""
    title: str
    """What is printed on a figure; the name of a table for screen readers."""
    caption: str
    make: str | Callable[..., Any]
    needs: tuple[str, ...]
    """What it is made from: names of SOURCES."""
    alt: str = ""
    """Text for those who do not see the figure."""
    when: Callable[[Study], bool] = _always
    """Whether a study has it."""
    photograph: bool = False
    """Made of images, so that the report holds it as JPEG; otherwise a line drawing."""
    metric: str = ""
    """A name of METRICS that `make` takes as `metric`, and that title and caption speak of; empty for the primary one,
    of which `make` knows."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes in the stem."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.stem) if name)

    @property
    def labels(self) -> dict[str, str]:
        """Wildcards of the stem by axis, as `snakemake --report` wants them."""
        return {axis: f"{{{axis}}}" for axis in self.axes}

    @property
    def category(self) -> str:
        """Where `snakemake --report` lists it."""
        return {"table": "Tables", "figure": "Figures", "panel": "Panels"}[self.kind]

    def suffixes(self, study: Study) -> tuple[str, ...]:
        """Return the suffixes of its files; the first is the one that people look at."""
        if self.kind == "table":
            return TABLE_FORMATS
        pictures = ("png", *(suffix for suffix in study.figures.formats if suffix != "png"))
        return (*pictures, "csv") if self.kind == "panel" else pictures

    def path(self, layout: Layout, suffix: str) -> Path:
        """Return one of its files."""
        return (layout.table if self.kind == "table" else layout.figure)(self.stem, suffix)

    def files(self, study: Study) -> list[Path]:
        """Return all its files, of a panel as patterns; the first is the one that people look at."""
        return [self.path(Layout(study.results), suffix) for suffix in self.suffixes(study)]

    def caption_file(self, study: Study) -> Path:
        """Return the file with its caption for `snakemake --report`, which the stage `report` writes.

        There is one for all panels of a pattern: it has Snakemake's wildcards.
        """
        stem = re.sub(r"_?\{\w+\}", "", self.stem)
        return replace(self, stem=stem).path(Layout(study.results), "rst")

    def at(self, **axes: str) -> Exhibit:
        """Return the panel of these values of its axes."""
        return replace(self, stem=self.stem.format(**axes))

    def function(self) -> Callable[..., Any]:
        """Return the function that makes it, of its metric if it has one of its own."""
        if callable(self.make):
            found: Callable[..., Any] = self.make
        else:
            module, name = self.make.split(".")
            found = getattr(import_module(f"sonogrid.reporting.{module}"), name)
        return partial(found, metric=self.metric) if self.metric else found

    def filled(self, text: str, study: Study, axes: Mapping[str, str]) -> str:
        """Return its title, alt or caption with facts and axes; only the facts that it names are looked up."""
        names = [name for _, name, _, _ in Formatter().parse(text) if name]
        facts = {name: FACTS[name](study) for name in names if name in FACTS}
        facts |= {name: METRIC_FACTS[name](_metric(self.metric), study) for name in names if name in METRIC_FACTS}
        return text.format(**(facts | {axis: axes[axis] for axis in AXES if axis in axes}))


EXHIBITS = [
    Exhibit(
        kind="table",
        stem="ablation",
        section="Ablation table",
        title="Ablation table",
        caption=f"{{metric}} at patient level, averaged over {{folds_and_seeds}} (weights of folds: {{weights}})."
        f" {ONLY_POOLED}",
        make="tables.ablation_table",
        needs=("metrics",),
    ),
    Exhibit(
        kind="table",
        stem="ceiling",
        section="Ablation table",
        title="Ceiling",
        caption="The ceiling of the simulation: AUC of the exact posterior given the traits that a modality shows, in"
        " a large simulated population and in this cohort. No classifier of the images can do better except by"
        " chance. Beside it the highest AUC of the ablation table with its interval, which is optimistic, being the"
        " best of several.",
        make="tables.ceiling_table",
        needs=("metrics", "ceiling"),
        when=_has_ceiling,
    ),
    Exhibit(
        kind="figure",
        stem="auc_heatmap",
        section="Ablation table",
        title="Patient-level {metric_short} with interval, mean of {folds_and_seeds}",
        alt=f"Heat map of the ablation table, {AXES_SHOWN}. The table above holds the same numbers.",
        caption=f"The ablation table as a heat map, mean of {{folds_and_seeds}}. {{colours}}; {AXES_SHOWN}.",
        make="figures.auc_heatmap",
        needs=("metrics",),
    ),
    Exhibit(
        kind="table",
        stem="pretraining_effect",
        section="Pre-training effect",
        title="Pre-training effect",
        caption=f"Pre-training effect, init {{treated}} minus init {{reference}}. {{metric}} at patient level, averaged"
        f" over {{folds_and_seeds}}. The same patients and the same resamples on both sides; p is two-sided,"
        f" Holm within this table. {ONLY_POOLED}",
        make="tables.pretraining_effect_table",
        needs=("effects",),
        when=_has_effect,
    ),
    Exhibit(
        kind="figure",
        stem="pretraining_effect",
        section="Pre-training effect",
        title="Pre-training effect, mean of {folds_and_seeds}",
        alt="Forest plot of the differences between init {treated} and init {reference} with intervals. The table"
        " above holds the same numbers.",
        caption="Paired differences in {metric_short} with intervals, mean of {folds_and_seeds}; {better_side} of zero"
        " init {treated} is better.",
        make="figures.pretraining_effect",
        needs=("effects",),
        when=_has_effect,
    ),
    Exhibit(
        kind="figure",
        stem="roc_curves",
        section="ROC curves",
        title="ROC curves by patient, mean of {folds_and_seeds}",
        alt="ROC curves, one panel for each class and modality, one line for each backbone and init.",
        caption="One-vs-rest ROC curves of held-out patients. Each curve is the vertical average of the curves of"
        " {folds_and_seeds}, weighted by the number of case pairs, so that its area is the AUC averaged in the same"
        " way. The grey diagonal is chance. With two classes only the second is shown.",
        make="figures.roc_curves",
        needs=("predictions",),
    ),
    Exhibit(
        kind="figure",
        stem="confusion_matrices",
        section="Confusion matrices",
        title="Confusion matrices by patient, all folds{mean_of_seeds}",
        alt=f"Confusion matrices of patients, {AXES_SHOWN}.",
        caption="Confusion matrices of held-out patients, all folds together{mean_of_seeds}. The predicted class has"
        f" the highest pooled probability. Entries: patients, and percentage of the true class; {AXES_SHOWN}.",
        make="figures.confusion_matrices",
        needs=("predictions",),
    ),
    Exhibit(
        kind="panel",
        stem="gradcam_{backbone}_{init}",
        section="Grad-CAM",
        title="Grad-CAM of the true class, {backbone}, {init}",
        alt="Grad-CAM panels of {backbone}, init {init}; rows: class; columns: modality.",
        caption="Grad-CAM of {backbone}, init {init}, on held-out images: for each class patients at the {quantiles}"
        " of the predicted probability of their true class, each by the model{of_first_seed} that has not seen the"
        " patient. A map shows what moved the score, not why.",
        make="panels.gradcam_panel",
        needs=("first_models", "stores", "manifest"),
        photograph=True,
    ),
    Exhibit(
        kind="figure",
        stem="example_images",
        section="Example images",
        title="Example images as the models see them",
        alt="Example images, rows: class; columns: modality.",
        caption="Example images as the models see them: the scan area on a square canvas, aspect ratio unchanged."
        " Shown is the first image of each class in the store.",
        make="figures.example_images",
        needs=("stores",),
        photograph=True,
    ),
    Exhibit(
        kind="figure",
        stem="training_curves",
        section="Training",
        title="Training curves, a line for each {fold_or_seed}",
        alt=f"Training loss and inner log loss by epoch, {AXES_SHOWN}.",
        caption="Training loss and class-balanced log loss on the inner part by epoch, a line for each {fold_or_seed}."
        f" The dot marks the epoch whose weights were kept; {AXES_SHOWN}.",
        make="figures.training_curves",
        needs=("histories", "runs"),
    ),
    Exhibit(
        kind="table",
        stem="training_times",
        section="Training",
        title="Training times",
        caption="Training time, from the cells' run records; evaluation and figures are not in it. Epochs and time of"
        " one cell are medians.",
        make="tables.training_times_table",
        needs=("runs",),
    ),
]
"""All exhibits, in the order of the report."""


def exhibits_of(study: Study) -> list[Exhibit]:
    """Return the exhibits that a study has, in the order of the report."""
    return [exhibit for exhibit in EXHIBITS if exhibit.when(study)]


def tables_of(study: Study) -> list[Exhibit]:
    """Return the tables of a study."""
    return _of_kind("table", study)


def figures_of(study: Study) -> list[Exhibit]:
    """Return the figures of a study that are drawn by one job."""
    return _of_kind("figure", study)


def panels_of(study: Study) -> list[Exhibit]:
    """Return the figures that have a job for each backbone and init; their stems are patterns."""
    return _of_kind("panel", study)


def _of_kind(kind: str, study: Study) -> list[Exhibit]:
    # The kind first: a job has only the keys of the config that its own kind looks at.
    return [exhibit for exhibit in EXHIBITS if exhibit.kind == kind and exhibit.when(study)]


def at_each_point(exhibit: Exhibit, study: Study) -> Iterator[tuple[Exhibit, dict[str, str]]]:
    """Yield an exhibit, or a panel for all values of its axes, with these values."""
    grid = Grid.of(study)
    for values in product(*(grid.texts(axis) for axis in exhibit.axes)):
        axes = dict(zip(exhibit.axes, values, strict=True))
        yield exhibit.at(**axes), axes


def files_of(exhibits: Sequence[Exhibit], study: Study) -> list[Path]:
    """Return all files of some exhibits, panels for all values of their axes."""
    return [path for exhibit in exhibits for one, _ in at_each_point(exhibit, study) for path in one.files(study)]


def captions_of(study: Study) -> list[Path]:
    """Return the files with captions for `snakemake --report`."""
    return [exhibit.caption_file(study) for exhibit in exhibits_of(study)]


SOURCES: dict[str, Callable[[Layout, Grid], list[Path]]] = {
    "metrics": lambda layout, grid: [layout.metrics],
    "effects": lambda layout, grid: [layout.effects],
    "predictions": lambda layout, grid: [layout.predictions],
    # A cell's history and record are made by the job that makes its predictions, and predictions.csv is made from those
    # of all cells: it stands for them, as thousands of inputs take seconds to look at.
    "histories": lambda layout, grid: [layout.predictions],
    "runs": lambda layout, grid: [layout.predictions],
    "first_models": lambda layout, grid: [
        layout.model(cell) for cell in grid.cells() if cell.seed == grid.axes["seed"][0]
    ],
    "patients": lambda layout, grid: [layout.cohort.patients],
    "manifest": lambda layout, grid: [layout.cohort.manifest],
    "ceiling": lambda layout, grid: [layout.cohort.ceiling],
    "stores": lambda layout, grid: [
        path(modality) for modality in grid.texts("modality") for path in (layout.cohort.store, layout.cohort.index)
    ],
}
"""What an exhibit can be made from: the files that its rule has as inputs."""


def inputs_of(exhibits: Sequence[Exhibit], study: Study) -> list[Path]:
    """Return the files that some exhibits are made from, each once; those of a panel have its axes as wildcards.

    All need patients.csv, which says whether data are simulated.
    """
    layout, axes = Layout(study.results), Grid.of(study).axes
    found: dict[Path, None] = {}
    for exhibit in exhibits:
        grid = Grid({**axes, **{axis: (wildcard,) for axis, wildcard in exhibit.labels.items()}})
        for need in ("patients", *exhibit.needs):
            found |= dict.fromkeys(SOURCES[need](layout, grid))
    return list(found)


def report_inputs(study: Study) -> list[Path]:
    """Return the files that the report is made from: what tables need, and the pictures of figures and panels."""
    pictures = [
        one.path(Layout(study.results), suffix)
        for exhibit in (*figures_of(study), *panels_of(study))
        for one, _ in at_each_point(exhibit, study)
        for suffix in study.figures.formats
        if suffix in ("png", "svg")
    ]
    return [*inputs_of(tables_of(study), study), *pictures]


def _metric(name: str) -> Metric:
    from sonogrid.evaluation.metrics import METRICS

    return METRICS[name or primary.PRIMARY_METRIC]


def _colours(metric: Metric, study: Study) -> str:
    if metric.scale is None:
        return "Colour runs over the values shown, darker is better"
    chance, best = metric.scale
    return f"Colour runs from {chance:g} (chance) to {best:g}"


def _folds_and_seeds(study: Study) -> str:
    folds, seeds = study.splits.folds, len(study.grid.seeds)
    return f"{folds} folds" + (f" and {seeds} seeds" if seeds > 1 else "")


def _quantiles(study: Study) -> str:
    found = study.explain.quantiles
    return f"quantile{'s' if len(found) > 1 else ''} {', '.join(f'{quantile:g}' for quantile in found)}"


def _compared(study: Study, place: int) -> str:
    assert study.statistics.pretraining_effect is not None
    return study.statistics.pretraining_effect[place]


FACTS: dict[str, Callable[[Study], str]] = {
    "folds_and_seeds": _folds_and_seeds,
    "mean_of_seeds": lambda study: f", mean of {len(study.grid.seeds)} seeds" if len(study.grid.seeds) > 1 else "",
    "fold_or_seed": lambda study: "seed and fold" if len(study.grid.seeds) > 1 else "fold",
    "of_first_seed": lambda study: f" of seed {study.grid.seeds[0]}" if len(study.grid.seeds) > 1 else "",
    "quantiles": _quantiles,
    "treated": lambda study: _compared(study, 0),
    "reference": lambda study: _compared(study, 1),
}
"""What titles and captions can say of a study: name -> words."""
METRIC_FACTS: dict[str, Callable[[Metric, Study], str]] = {
    "metric": lambda metric, study: metric.title(study.cohort.classes),
    "metric_short": lambda metric, study: metric.label,
    "weights": lambda metric, study: metric.weights_of_folds,
    "better_side": lambda metric, study: "right" if metric.higher_is_better else "left",
    "colours": _colours,
}
"""What they can say of the metric that an exhibit shows: name -> words."""
