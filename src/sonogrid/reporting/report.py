"""The report: one HTML file that holds tables, figures, methods and provenance, and loads nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup
from PIL import Image

from sonogrid.config.modalities import title as modality_title
from sonogrid.config.study import Study
from sonogrid.evaluation import primary
from sonogrid.evaluation.measurements import primary_metric
from sonogrid.evaluation.poolings import POOLINGS
from sonogrid.files import write_text
from sonogrid.grid import Grid
from sonogrid.layout import ANY_CELL, ANY_PRETRAINING, CELL_FILES, PRETRAINED_FILES, Layout
from sonogrid.problems import Problems
from sonogrid.reporting.exhibits import Exhibit, at_each_point, exhibits_of
from sonogrid.reporting.formats import render, to_html
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import caption_of, make_table
from sonogrid.reporting.words import METHOD_NAMES, counted

RASTER_BYTES = 4_500_000
"""Largest sum of the embedded photographs; with the line drawings the report stays below 10 MB."""
RASTER_WIDTHS = (1600, 1200, 800, 500)
"""Widths in pixels tried in turn until the photographs fit."""
CSS_PIXELS = 1.3 * 96 / 200
"""CSS pixels per pixel of the PNG: somewhat larger than on paper, as screens are read from further away."""
LARGEST_DRAWING = 500_000
"""A line drawing of more bytes than this is embedded as PNG instead of SVG."""


class Embedded(NamedTuple):
    """A picture inside the page: its data URI and the size in CSS pixels at which it is shown."""

    uri: Markup
    width: int
    height: int


@dataclass(frozen=True)
class Shown:
    """An exhibit as the page shows it: a table as HTML, or the stem of a figure."""

    exhibit: Exhibit
    title: str
    alt: str
    caption: str
    html: Markup | None = None


def write_report(study: Study) -> None:
    """Write report.html and the captions for `snakemake --report`, each whole.

    The page loads nothing from anywhere, shows no patient identifier, and has every picture inside. Raises InputError
    naming every missing figure, record or configuration.
    """
    gathered = Gathered(study)
    shown = [one for exhibit in exhibits_of(study) for one in _shown(exhibit, study, gathered)]
    pictures = _embed([one.exhibit for one in shown if one.html is None], study)
    grid = Grid.of(study)
    page = render(
        "report.html.jinja",
        study=study,
        grid=grid,
        simulated=gathered.simulated,
        metric=primary_metric(),
        pooling=POOLINGS[primary.PRIMARY_POOLING],
        modalities=[modality_title(modality) for modality in grid.texts("modality")],
        sections=_sections(shown),
        pictures=pictures,
        trainings=_trainings(gathered.runs),
        method=METHOD_NAMES[primary.INTERVAL_METHOD],
        confidence=_several(f"{100 * level:g}%" for level in gathered.metrics["confidence"].dropna()),
        provenance=_provenance(gathered.runs),
        settings=_settings(gathered.runs),
        files=_files([one.exhibit for one in shown], study),
    )
    captions = {exhibit.caption_file(study): exhibit for exhibit in exhibits_of(study)}
    of_tables = {one.exhibit.stem: one.caption for one in shown if one.html is not None}
    for path, exhibit in captions.items():
        write_text(_restructured(exhibit, study, gathered, of_tables), path)
    write_text(page, gathered.layout.report)


def _shown(exhibit: Exhibit, study: Study, gathered: Gathered) -> Iterable[Shown]:
    """Yield an exhibit as the page shows it, a panel for all values of its axes."""
    if exhibit.kind == "table":
        table = make_table(exhibit, study, gathered)
        yield Shown(exhibit, exhibit.title, "", table.caption, Markup(to_html(table)))
        return
    for one, axes in at_each_point(exhibit, study):
        title, alt = (exhibit.filled(text, study, axes) for text in (exhibit.title, exhibit.alt))
        yield Shown(one, title, alt, caption_of(exhibit, study, gathered, axes))


def _sections(shown: Sequence[Shown]) -> dict[str, tuple[str, list[Shown]]]:
    """Return heading and content of each section by the id of its heading, in the order of the exhibits."""
    found: dict[str, tuple[str, list[Shown]]] = {}
    for one in shown:
        heading = one.exhibit.section
        name = re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")
        found.setdefault(f"section-{name}", (heading, []))[1].append(one)
    return found


def _restructured(exhibit: Exhibit, study: Study, gathered: Gathered, of_tables: Mapping[str, str]) -> str:
    """Return a caption as reStructuredText and Jinja template, in which axes are Snakemake's wildcards."""
    if exhibit.kind == "table":
        text = of_tables[exhibit.stem]
    else:
        text = caption_of(exhibit, study, gathered, {axis: f"@{axis}@" for axis in exhibit.axes})
    escaped = re.sub(r"([\\*`|_])", r"\\\1", text)
    return re.sub(r"@(\w+)@", r'{{ snakemake.wildcards.\1 | replace("_", "\\\\_") }}', escaped) + "\n"


def _embed(exhibits: Sequence[Exhibit], study: Study) -> dict[str, Embedded]:
    """Return the pictures to embed by stem; raise InputError naming every file that is missing."""
    layout, problems = Layout(study.results), Problems()
    for exhibit in exhibits:
        for suffix in {"png", "svg"} & set(study.figures.formats):
            path = exhibit.path(layout, suffix)
            if not path.is_file():
                problems.add(str(path), "is missing", "Make the figures again")
    problems.raise_if_any()
    pngs = {exhibit.stem: exhibit.path(layout, "png") for exhibit in exhibits}
    photographs = [exhibit.stem for exhibit in exhibits if exhibit.photograph]
    uris = {exhibit.stem: _drawing(exhibit, study) for exhibit in exhibits if not exhibit.photograph}
    for width in RASTER_WIDTHS:
        jpegs = {stem: _jpeg(pngs[stem], width) for stem in photographs}
        if sum(map(len, jpegs.values())) <= RASTER_BYTES:
            break
    uris |= {stem: _data_uri("image/jpeg", content) for stem, content in jpegs.items()}
    return {stem: Embedded(uris[stem], *_shown_size(path)) for stem, path in pngs.items()}


def _drawing(exhibit: Exhibit, study: Study) -> Markup:
    """Return a line drawing: as SVG where the study has it and it is small, otherwise as PNG."""
    layout = Layout(study.results)
    if "svg" in study.figures.formats:
        svg = exhibit.path(layout, "svg").read_bytes()
        if len(svg) <= LARGEST_DRAWING:
            return _data_uri("image/svg+xml", svg)
    return _data_uri("image/png", exhibit.path(layout, "png").read_bytes())


def _shown_size(path: Path) -> tuple[int, int]:
    """Return width and height in CSS pixels at which a picture is shown, from its PNG of 200 dpi."""
    with Image.open(path) as image:
        return round(image.width * CSS_PIXELS), round(image.height * CSS_PIXELS)


def _jpeg(path: Path, width: int) -> bytes:
    """Return a picture file as JPEG, no wider than `width` pixels."""
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


def _trainings(runs: pd.DataFrame) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the training sections that the cells were trained with: of which cells, and the section.

    There is one for all cells unless some were trained by another config.
    """
    texts = runs["training"].map(lambda section: json.dumps(section, sort_keys=True))
    counts = texts.value_counts(sort=False)
    names = ["" if len(counts) == 1 else counted(count, "cell") for count in counts]
    return [(name, json.loads(text)) for name, text in zip(names, counts.index, strict=True)]


def _settings(runs: pd.DataFrame) -> str:
    """Return what decided the fits besides their data, as their records say, with each distinct value once."""
    found: dict[str, list[Any]] = {}
    for name in ("classes", "input_size", "training"):
        distinct = dict.fromkeys(json.dumps(value, sort_keys=True) for value in runs[name])
        found[name] = [json.loads(text) for text in distinct]
    return json.dumps({name: values[0] if len(values) == 1 else values for name, values in found.items()}, indent=2)


def _provenance(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return seeds, commit, device, threads and package versions; several values are all given."""
    versions: dict[str, set[str]] = {}
    for one in runs["versions"]:
        for name, version in one.items():
            versions.setdefault(name, set()).add(str(version))
    return [
        ("Seed of the study", _several(runs["study_seed"])),
        ("Seeds of the grid", _several(runs["seed"])),
        ("Commit", _several(runs["commit"].fillna("not in a git checkout"))),
        ("Device", _several(runs["device"])),
        ("Threads", _several(runs["threads"])),
        *((name, _several(found)) for name, found in versions.items()),
    ]


def _several(values: Iterable[Any]) -> str:
    return ", ".join(sorted(set(map(str, values))))


def _files(exhibits: Sequence[Exhibit], study: Study) -> list[tuple[str, str]]:
    """Return paths below the results folder and what is there."""
    layout, top = Layout(study.results), Layout(Path())
    listed = [
        (top.metrics, "every measurement with its interval"),
        (top.effects, "paired differences"),
        (top.predictions, "every held-out image of every configuration and seed"),
        (top.splits, "patients in folds and parts"),
        (top.cell(ANY_CELL), f"a cell: {', '.join(CELL_FILES)}"),
        (top.pretrained(*ANY_PRETRAINING), f"a pre-training, where the grid has one: {', '.join(PRETRAINED_FILES)}"),
    ]
    what = {"table": "a table of this report", "figure": "a figure of this report", "panel": "a panel of this report"}
    shown = ((_with_suffixes(exhibit, study, layout), what[exhibit.kind]) for exhibit in exhibits)
    return [(str(path), text) for path, text in chain(listed, shown)]


def _with_suffixes(exhibit: Exhibit, study: Study, layout: Layout) -> str:
    *folders, name = exhibit.path(layout, "{" + ", ".join(exhibit.suffixes(study)) + "}").parts
    return str(Path(*folders, name).relative_to(study.results))
