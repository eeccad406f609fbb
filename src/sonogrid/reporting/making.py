"""Make exhibits and write them: what the stages tables, figures and explain do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from sonogrid.config.study import Study
from sonogrid.console import Advance
from sonogrid.files import write_csv
from sonogrid.reporting.exhibits import Exhibit, figures_of, panels_of, tables_of
from sonogrid.reporting.figures import SIMULATED, STYLE, save_figure, set_title
from sonogrid.reporting.formats import Table, write_table
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.tables import caption_tail


def caption_of(
    exhibit: Exhibit, study: Study, gathered: Gathered, axes: Mapping[str, str], data: pd.DataFrame | None = None
) -> str:
    """Return the caption of an exhibit at some axes, which begins with `Simulated data.` if they are.

    The caption of a table goes on with what `data`, its numbers, say of themselves.
    """
    tail = "" if data is None else caption_tail(study, data)
    text = exhibit.filled(exhibit.caption, study, axes)
    return " ".join(filter(None, (f"{SIMULATED}." if gathered.simulated else "", text, tail)))


def make_table(exhibit: Exhibit, study: Study, gathered: Gathered) -> Table:
    """Return a table with its name and its caption."""
    table: Table = exhibit.function()(study, gathered)
    return replace(table, name=exhibit.stem, caption=caption_of(exhibit, study, gathered, {}, table.data))


def draw_figure(exhibit: Exhibit, study: Study, gathered: Gathered) -> Figure:
    """Return a figure with its title."""
    with rc_context(STYLE):
        figure: Figure = exhibit.function()(study, gathered)
        set_title(figure, exhibit.filled(exhibit.title, study, {}), gathered.simulated)
    return figure


def draw_panel(
    exhibit: Exhibit, study: Study, gathered: Gathered, axes: Mapping[str, str], advance: Advance
) -> tuple[Figure, pd.DataFrame]:
    """Return the panel of some axes with its title, and the table of what it shows."""
    with rc_context(STYLE):
        found: tuple[Figure, Any] = exhibit.function()(study, gathered, **axes, advance=advance)
        set_title(found[0], exhibit.filled(exhibit.title, study, axes), gathered.simulated)
    return found


def write_tables(study: Study) -> None:
    """Write every table in its formats."""
    gathered = Gathered(study)
    made = [(exhibit, make_table(exhibit, study, gathered)) for exhibit in tables_of(study)]
    for exhibit, table in made:
        for suffix in exhibit.suffixes(study):
            write_table(table, suffix, exhibit.path(gathered.layout, suffix))


def draw_figures(study: Study, advance: Advance) -> None:
    """Write every figure in its formats; the panels have jobs of their own."""
    gathered = Gathered(study)
    for exhibit in figures_of(study):
        _save(exhibit, draw_figure(exhibit, study, gathered), study)
        advance(exhibit.stem)


def draw_panels(study: Study, backbone: str, init: str, advance: Advance) -> None:
    """Write the panels of one backbone and init in their formats, and a CSV of what each shows."""
    gathered, axes = Gathered(study), {"backbone": backbone, "init": init}
    for exhibit in panels_of(study):
        figure, shown = draw_panel(exhibit, study, gathered, axes, advance)
        panel = exhibit.at(**axes)
        _save(panel, figure, study)
        write_csv(shown, panel.path(gathered.layout, "csv"))


def panel_steps(study: Study) -> int:
    """Return how often `draw_panels` calls `advance`: once per class, quantile and modality of each panel."""
    return len(panels_of(study)) * len(study.cohort.classes) * len(study.explain.quantiles) * len(study.grid.modalities)


def _save(exhibit: Exhibit, figure: Figure, study: Study) -> None:
    layout = Gathered(study).layout
    save_figure(figure, {suffix: exhibit.path(layout, suffix) for suffix in study.figures.formats})
