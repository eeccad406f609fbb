"""The report: one HTML file that holds tables, figures, methods and provenance, and loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image

from sonogrid.config.study import Study
from sonogrid.files import read_json, write_text
from sonogrid.grid import Grid
from sonogrid.layout import ANY_CELL, Layout
from sonogrid.problems import Problems
from sonogrid.reporting.formats import Table, render, to_html
from sonogrid.reporting.tables import (
    ablation_table,
    is_simulated,
    metric_name,
    modality_name,
    plain,
    pretraining_effect_table,
    primary_rows,
    read_measurements,
    value_with_interval,
)

RASTER_BYTES = 4_500_000
"""Largest sum of the embedded photographs; with the line drawings the report stays below 10 MB."""
RASTER_WIDTHS = (1600, 1200, 800, 500)
"""Widths in pixels tried in turn until the photographs fit."""
SHOWN = 1.3 * 96 / 200
"""CSS pixels a pixel of the PNG: somewhat larger than on paper, as screens are read from further away."""
LARGEST_DRAWING = 500_000
"""A line drawing of more bytes than this is embedded as PNG instead of SVG."""


@dataclass(frozen=True)
class Picture:
    """A figure of the report: stem of its files in the figures folder, what it shows, and its caption."""

    stem: str
    alt: str
    caption: str
    photograph: bool = False
    """Made of images, so that it is embedded as JPEG; else a line drawing, embedded as SVG."""


class Embedded(NamedTuple):
    """A picture inside the page: its data URI and the size in CSS pixels at which it is shown."""

    uri: Markup
    width: int
    height: int


@dataclass(frozen=True)
class Results:
    """What the report is made from."""

    metrics: pd.DataFrame
    effects: pd.DataFrame | None
    ceiling: Mapping[str, Mapping[str, float]] | None
    runs: pd.DataFrame
    figures: Path


def gather_runs(results: Path, grid: Grid) -> pd.DataFrame:
    """The run.json of every cell, one row a cell in the order of the grid, beside its four axes.

    Raises InputError naming every cell without one.
    """
    return pd.DataFrame([read_json(path) | axes for path, axes in _of_cells(results, grid, "run.json")])


def gather_history(results: Path, grid: Grid) -> pd.DataFrame:
    """The history.csv of every cell, one row an epoch, with backbone, init, modality and fold.

    Raises InputError naming every cell without one.
    """
    found = _of_cells(results, grid, "history.csv")
    return pd.concat([pd.read_csv(path).assign(**axes) for path, axes in found], ignore_index=True)


def _of_cells(results: Path, grid: Grid, name: str) -> list[tuple[Path, dict[str, Any]]]:
    """The file of that name of every cell, with its axes by name; InputError names the missing ones."""
    layout = Layout(results)
    found = [(layout.cell(cell) / name, asdict(cell)) for cell in grid.cells()]
    problems = Problems()
    for path, _ in found:
        if not path.is_file():
            problems.add(str(path), "is missing", "Train the cell")
    problems.raise_if_any()
    return found


def chosen_epochs(runs: pd.DataFrame) -> dict[tuple[str, str, str, int], int]:
    """(backbone, init, modality, fold) -> the epoch whose weights were kept, from `gather_runs`."""
    columns = ["backbone", "init", "modality", "fold", "chosen_epoch"]
    return {(b, i, m, int(f)): int(epoch) for b, i, m, f, epoch in zip(*(runs[c] for c in columns), strict=True)}


def gather_results(study: Study) -> Results:
    """Read what the report is made from below the study's results folder."""
    effects = None
    if study.statistics.pretraining_effect is not None:
        effects = read_measurements(study.results / "effects.csv")
    ceiling = study.results / "cohort" / "ceiling.json" if study.cohort.reader == "phantom" else None
    return Results(
        metrics=read_measurements(study.results / "metrics.csv"),
        effects=effects,
        ceiling=read_json(ceiling) if ceiling else None,
        runs=gather_runs(study.results, Grid.of(study)),
        figures=study.results / "figures",
    )


def write_report(study: Study, results: Results, path: Path) -> None:
    """Write the report whole.

    It loads nothing from anywhere, shows no patient identifier, and has every picture inside. Raises
    InputError naming every missing figure or configuration.
    """
    grid = Grid.of(study)
    rows = primary_rows(results.metrics, grid)
    simulated = is_simulated(rows)
    ablation = ablation_table(results.metrics, study)
    effect = None if results.effects is None else pretraining_effect_table(results.effects, study)
    pictures = _pictures(study, simulated)
    embedded = _embed(pictures, results.figures)
    page = render(
        "report.html.jinja",
        study=study,
        grid=grid,
        simulated=simulated,
        metric=metric_name(study),
        modalities=[modality_name(modality) for modality in grid.texts("modality")],
        ablation=Markup(to_html(ablation)),
        effect=Markup(to_html(effect)) if effect else None,
        ceiling=_ceiling(results.ceiling, rows) if results.ceiling else [],
        figures={picture.stem: (picture, embedded[picture.stem]) for picture in pictures},
        gradcam=[picture.stem for picture in pictures if picture.stem.startswith("gradcam_")],
        times=_times(results.runs),
        provenance=_provenance(study, results.runs),
        settings=study.model_dump_json(indent=2, include={"images", "splits", "training", "explain", "statistics"}),
        files=_files(study, [ablation, *([effect] if effect else [])], pictures),
    )
    write_text(page, path)


def _pictures(study: Study, simulated: bool) -> list[Picture]:
    """Every figure of the report with alternative text and a caption, which says if data are simulated."""
    prefix = "Simulated data. " if simulated else ""
    found = [*_drawings(study), *_photographs(study)]
    return [Picture(one.stem, one.alt, prefix + one.caption, one.photograph) for one in found]


ROWS = "rows: backbone and init; columns: modality"


def _drawings(study: Study) -> list[Picture]:
    found = [
        Picture(
            "auc_heatmap",
            f"Heat map of the ablation table, {ROWS}. The table above holds the same numbers.",
            f"The ablation table as a heat map. Colour runs from 0.5 (chance) to 1; {ROWS}.",
        ),
        Picture(
            "roc_curves",
            "ROC curves, one panel for each class and modality, one line for each backbone and init.",
            "One-vs-rest ROC curves of held-out patients. Each curve is the vertical average of the curves of"
            f" {study.splits.folds} folds, weighted by the number of case pairs, so that its area is the AUC"
            " averaged over folds. The grey diagonal is chance.",
        ),
        Picture(
            "confusion_matrices",
            f"Confusion matrices of patients, {ROWS}.",
            "Confusion matrices of held-out patients, all folds together. The predicted class has the highest"
            f" pooled probability. Entries: patients, and percentage of the true class; {ROWS}.",
        ),
        Picture(
            "training_curves",
            f"Training loss and inner log loss by epoch, {ROWS}.",
            "Training loss and class-balanced log loss on the inner part by epoch, a line for each fold. The"
            f" dot marks the epoch whose weights were kept; {ROWS}.",
        ),
    ]
    effect = study.statistics.pretraining_effect
    if effect:
        alt = f"Forest plot of the differences between init {effect[0]} and init {effect[1]} with intervals."
        words = f"Paired differences in AUC with intervals; right of zero init {effect[0]} is better."
        found.append(Picture("pretraining_effect", f"{alt} The table above holds the same numbers.", words))
    return found


def _photographs(study: Study) -> list[Picture]:
    several = "s" * (len(study.explain.quantiles) > 1)
    quantiles = f"quantile{several} {', '.join(f'{quantile:g}' for quantile in study.explain.quantiles)}"
    which = (
        f"on held-out images: for each class patients at the {quantiles} of the predicted"
        " probability of their true class, each by the model that has not seen the patient. A map shows what"
        " moved the score, not why."
    )
    examples = Picture(
        "example_images",
        "Example images, rows: class; columns: modality.",
        "Example images as the models see them: the scan area on a square canvas, aspect ratio unchanged.",
        photograph=True,
    )
    return [examples] + [
        Picture(
            f"gradcam_{backbone}_{init}",
            f"Grad-CAM panels of {backbone}, init {init}; rows: class; columns: modality.",
            f"Grad-CAM of {backbone}, init {init}, {which}",
            photograph=True,
        )
        for backbone, init in product(study.grid.backbones, study.grid.inits)
    ]


def _embed(pictures: Sequence[Picture], folder: Path) -> dict[str, Embedded]:
    """Stem -> the picture to embed. Raises InputError naming every file that is missing."""
    problems = Problems()
    for picture, kind in product(pictures, ("png", "svg")):
        path = folder / f"{picture.stem}.{kind}"
        if not path.is_file():
            problems.add(str(path), "is missing", "Make the figures again")
    problems.raise_if_any()
    drawings = [picture.stem for picture in pictures if not picture.photograph]
    uris = {stem: _drawing(folder, stem) for stem in drawings}
    photographs = [picture.stem for picture in pictures if picture.photograph]
    for width in RASTER_WIDTHS:
        jpegs = {stem: _jpeg(folder / f"{stem}.png", width) for stem in photographs}
        if sum(map(len, jpegs.values())) <= RASTER_BYTES:
            break
    uris |= {stem: _data_uri("image/jpeg", content) for stem, content in jpegs.items()}
    return {stem: Embedded(uri, *_shown_size(folder / f"{stem}.png")) for stem, uri in uris.items()}


def _drawing(folder: Path, stem: str) -> Markup:
    svg = (folder / f"{stem}.svg").read_bytes()
    if len(svg) <= LARGEST_DRAWING:
        return _data_uri("image/svg+xml", svg)
    return _data_uri("image/png", (folder / f"{stem}.png").read_bytes())


def _shown_size(path: Path) -> tuple[int, int]:
    """Width and height in CSS pixels at which a picture is shown, from its PNG of 200 pixels an inch."""
    with Image.open(path) as image:
        return round(image.width * SHOWN), round(image.height * SHOWN)


def _jpeg(path: Path, width: int) -> bytes:
    """A picture file as JPEG, no wider than `width` pixels."""
    with Image.open(path) as image:
        picture = image.convert("RGB")
    if picture.width > width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85, subsampling=0, optimize=True)
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}")


def _ceiling(ceiling: Mapping[str, Mapping[str, float]], rows: pd.DataFrame) -> list[dict[str, str]]:
    """For each modality the ceiling beside the highest value of the table."""
    lines = []
    for modality, group in rows.groupby("modality", sort=False):
        limits = ceiling.get(str(modality))
        if limits is None or group["value"].isna().all():
            continue
        best = group.iloc[int(np.nanargmax(group["value"]))]
        lines.append(
            {
                "modality": modality_name(str(modality)),
                "population": f"{limits['population_auc']:.3f} (n = {limits['population_n']:,})",
                "cohort": f"{limits['cohort_auc']:.3f} (n = {limits['cohort_n']:,})",
                "best": value_with_interval(best, plain),
                "recipe": f"{best['backbone']}, {best['init']}",
            }
        )
    return lines


def duration(seconds: float) -> str:
    """Seconds as people read them: 42 s, 3 min 20 s, 5 h 07 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _times(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Training time of each backbone and init, and of all cells together."""
    groups = [(f"{key[0]}, {key[1]}", part) for key, part in runs.groupby(["backbone", "init"], sort=False)]
    return [
        {
            "name": name,
            "cells": str(len(part)),
            "epochs": f"{part['epochs_run'].median():g}",
            "one": duration(float(part["seconds"].median())),
            "all": duration(float(part["seconds"].sum())),
        }
        for name, part in [*groups, ("all cells", runs)]
    ]


def _provenance(study: Study, runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Seed, commit, device, threads and package versions; several values are all given."""
    versions: dict[str, set[str]] = {}
    for one in runs["versions"]:
        for name, version in one.items():
            versions.setdefault(name, set()).add(str(version))
    return [
        ("Seed", str(study.seed)),
        ("Commit", _several(runs["commit"].fillna("not in a git checkout"))),
        ("Device", _several(runs["device"])),
        ("Threads", _several(runs["threads"])),
        *((name, _several(found)) for name, found in versions.items()),
    ]


def _several(values: Iterable[Any]) -> str:
    return ", ".join(sorted(set(map(str, values))))


def _files(study: Study, tables: Sequence[Table], pictures: Sequence[Picture]) -> list[tuple[str, str]]:
    """Path below the results folder and what lies there."""
    formats = "csv, md, tex, html"
    listed = [
        ("metrics.csv", "every measurement with its interval"),
        *([("effects.csv", "paired differences")] if study.statistics.pretraining_effect else []),
        ("predictions.csv", "every held-out image of every configuration"),
        ("splits.csv", "patients in folds and parts"),
        *((f"tables/{table.name}.{{{formats}}}", "a table of this report") for table in tables),
        *((f"figures/{picture.stem}.{{png, svg}}", "a figure of this report") for picture in pictures),
        (f"{Layout(Path()).cell(ANY_CELL)}/", "model.safetensors, history.csv, predictions.csv, run.json of a cell"),
    ]
    if any(study.inits[init].source == "corpus" for init in study.grid.inits):
        listed.append(
            (
                f"{Layout(Path()).pretrained('{init}', '{backbone}', '{seed}')}/",
                "pre-trained weights, history.csv, run.json",
            )
        )
    return listed
