"""The list of exhibits: what follows from it, and that a new one is a function and an entry."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import make_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from docutils.core import publish_parts
from dummy_study import BINARY, DEMO, make_metrics, make_predictions, make_study, write_results
from jinja2 import Environment
from matplotlib.figure import Figure
from matplotlib.text import Text

from sonogrid import grid
from sonogrid.config.needs import Parts, parse_part
from sonogrid.config.study import Study
from sonogrid.console import Advance, silent
from sonogrid.evaluation import primary
from sonogrid.evaluation.metrics import auc_class, class_codes, mann_whitney
from sonogrid.files import write_csv
from sonogrid.fits.weights import save_weights
from sonogrid.grid import AXES, CONFIGURATION, Cell, Grid, plural
from sonogrid.layout import ANY_CELL, ANY_PRETRAINING, CELL_FILES, PRETRAINED_FILES, CohortLayout, Layout
from sonogrid.reporting import exhibits, making
from sonogrid.reporting.exhibits import (
    EXHIBITS,
    FACTS,
    METRIC_FACTS,
    SOURCES,
    TABLE_FORMATS,
    Exhibit,
    captions_of,
    figures_of,
    files_of,
    inputs_of,
    panels_of,
    report_inputs,
    tables_of,
)
from sonogrid.reporting.formats import Table, TableEntry
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import (
    draw_figure,
    draw_figures,
    draw_panel,
    draw_panels,
    make_table,
    panel_steps,
    write_tables,
)
from sonogrid.reporting.report import write_report
from sonogrid.training.backbones import build_model, seeded

STUDY = make_study(DEMO)
README = Path(__file__).parents[3] / "results" / "README.md"
OF_KIND = {"table": tables_of, "figure": figures_of, "panel": panels_of}


def by_hospital(study: Study, gathered: Gathered) -> Table:
    """AUC of the last class against the rest in each hospital, over all configurations."""
    rows = gathered.scored.merge(gathered.patients[["patient_id", "hospital"]], on="patient_id")
    classes, found = study.cohort.classes, []
    for hospital, group in rows.groupby("hospital"):
        p = group[[f"p_{name}" for name in classes]].to_numpy()
        auc = auc_class(*mann_whitney(class_codes(group["label"], classes), p))[-1]
        found.append({"hospital": hospital, "value": auc})
    body = tuple((TableEntry(row["hospital"]), TableEntry(f"{row['value']:.3f}")) for row in found)
    return Table(("Hospital", "AUC"), body, 1, pd.DataFrame(found))


def patients_by_hospital(study: Study, gathered: Gathered) -> Figure:
    """A bar for each hospital."""
    counts = gathered.patients["hospital"].value_counts()
    figure = Figure(figsize=(3, 2))
    figure.subplots().bar(counts.index, counts.to_numpy())
    return figure


def one_colour(study: Study, gathered: Gathered, backbone: str, init: str, advance: Advance) -> tuple[Figure, Any]:
    """A panel without content."""
    return Figure(figsize=(2, 2)), pd.DataFrame([{"backbone": backbone, "init": init}])


TOYS = [
    Exhibit(
        kind="table",
        stem="toy_by_hospital",
        section="Hospitals",
        title="AUC by hospital",
        caption="{metric} in each hospital, {folds_and_seeds}.",
        make=by_hospital,
        needs=("predictions",),
    ),
    Exhibit(
        kind="figure",
        stem="patients_by_hospital",
        section="Hospitals",
        title="Patients by hospital",
        alt="Bars of the number of patients in each hospital.",
        caption="Patients in each hospital.",
        make=patients_by_hospital,
        needs=("patients",),
    ),
    Exhibit(
        kind="panel",
        stem="colour_{backbone}_{init}",
        section="Hospitals",
        title="One colour, {backbone}, {init}",
        alt="Nothing of {backbone}, {init}.",
        caption="One colour of {backbone}, init {init}.",
        make=one_colour,
        needs=("patients",),
    ),
]


def write_models(study: Study) -> None:
    """Weights and predictions of every cell, and a manifest without masks."""
    layout = Layout(study.results)
    for cell in Grid.of(study).cells():
        with seeded(cell.fold):
            save_weights(build_model(cell.backbone, len(study.cohort.classes), 64), layout.model(cell))
        index = pd.read_csv(layout.cohort.index(cell.modality))
        of_fold = index.assign(fold=index["row"] % study.splits.folds)
        rows = of_fold.loc[of_fold["fold"] == cell.fold, ["image_id", "patient_id", "fold"]].assign(part="test")
        classes = study.cohort.classes
        rows = rows.assign(label=[classes[int(patient[3:]) % len(classes)] for patient in rows["patient_id"]])
        scores = {f"{kind}_{name}": 0.5 for kind in ("logit", "p") for name in classes}
        axes = {axis: getattr(cell, axis) for axis in AXES if axis != "fold"}
        write_csv(rows.assign(**axes, **scores), layout.cell_predictions(cell))
    indexes = [pd.read_csv(layout.cohort.index(modality)) for modality in study.grid.modalities]
    write_csv(pd.concat(indexes)[["image_id", "patient_id"]].assign(mask_path=""), layout.cohort.manifest)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A small study of two seeds with all that exhibits are made from."""
    axes = BINARY | {"backbones": ("test_resnet",), "modalities": ("bmode", "cdfi")}
    study = make_study(axes, tmp_path_factory.mktemp("finished"), folds=2, seeds=(3, 1))
    write_results(study, panels=False)
    write_models(study)
    return study


def fields(exhibit: Exhibit) -> set[str]:
    """Return the names in braces in what an exhibit says."""
    texts = (exhibit.title, exhibit.alt, exhibit.caption)
    return {name for text in texts for name in re.findall(r"\{(\w+)\}", text)}


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda one: f"{one.kind}-{one.stem}")
def test_every_entry_can_be_made_and_says_what_a_reader_needs(exhibit: Exhibit) -> None:
    signature = inspect.signature(exhibit.function())
    parameters = [name for name, parameter in signature.parameters.items() if parameter.default is parameter.empty]
    assert parameters == ["study", "gathered", *(["backbone", "init", "advance"] if exhibit.kind == "panel" else [])]
    assert exhibit.needs and set(exhibit.needs) <= set(SOURCES)
    assert exhibit.section and exhibit.title and exhibit.caption.endswith(".")
    assert bool(exhibit.alt) == (exhibit.kind != "table")
    assert exhibit.axes == (("backbone", "init") if exhibit.kind == "panel" else ())
    assert fields(exhibit) <= {*FACTS, *METRIC_FACTS, *exhibit.axes}


def test_no_two_exhibits_write_one_file() -> None:
    files = files_of(EXHIBITS, STUDY)
    captions = captions_of(STUDY)
    assert len(set(files)) == len(files) and len(set(captions)) == len(captions) == len(EXHIBITS)
    assert not set(files) & set(captions)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda one: f"{one.kind}-{one.stem}")
def test_what_an_exhibit_reads_are_inputs_of_its_rule(exhibit: Exhibit, finished: Study, tmp_path: Path) -> None:
    """With only those files it is made. predictions.csv and a model stand for the other files of their cells."""
    axes = {"backbone": "test_resnet", "init": "scratch"}
    for path in inputs_of([exhibit], finished):
        source = Path(str(path).format(**axes))
        target = tmp_path / source.relative_to(finished.results)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
        cell = source.parent if source.name == "model.safetensors" else finished.results / "cells"
        if source.name in ("model.safetensors", "predictions.csv"):
            shutil.copytree(cell, tmp_path / cell.relative_to(finished.results), dirs_exist_ok=True)
    study = finished.model_copy(update={"results": tmp_path})
    if exhibit.kind == "table":
        making.make_table(exhibit, study, Gathered(study))
    elif exhibit.kind == "figure":
        making.draw_figure(exhibit, study, Gathered(study))
    else:
        draw_panel(exhibit, study, Gathered(study), axes, silent)


def test_stages_write_exactly_the_files_of_the_list_and_every_panel_names_the_first_seed(finished: Study) -> None:
    for folder in ("tables", "figures"):
        shutil.rmtree(finished.results / folder, ignore_errors=True)
    steps: list[str] = []
    write_tables(finished)
    draw_figures(finished, lambda note="", steps_done=1: steps.append(note))
    assert steps == [exhibit.stem for exhibit in figures_of(finished)]
    for init in finished.grid.inits:
        steps.clear()
        draw_panels(finished, "test_resnet", init, lambda note="", steps_done=1: steps.append(note))
        # One class has no image in the last modality, so there is nothing to show for it.
        assert len(steps) == panel_steps(finished) - 1
    write_report(finished)
    made = {path for folder in ("tables", "figures") for path in (finished.results / folder).iterdir()}
    assert made == {*files_of(EXHIBITS, finished), *captions_of(finished)}
    listed = pd.read_csv(Layout(finished.results).figure("gradcam_test_resnet_scratch", "csv"))
    assert list(listed.columns[: len(AXES)]) == AXES and set(listed["seed"]) == {3}
    assert np.isfinite(listed["p_true"]).all() and set(listed["modality"]) == {"bmode", "cdfi"}
    assert set(report_inputs(finished)) <= {*made, *inputs_of(tables_of(finished), finished)}


def test_a_new_exhibit_is_a_function_and_an_entry(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibits, "EXHIBITS", [*EXHIBITS, *TOYS])
    assert len({(one.kind, one.stem) for one in exhibits.EXHIBITS}) == len(exhibits.EXHIBITS)
    shutil.copytree(finished.results, tmp_path / "results")
    study = finished.model_copy(update={"results": tmp_path / "results"})
    layout = Layout(study.results)
    for toy in TOYS:
        assert toy in OF_KIND[toy.kind](study)
        assert toy.caption_file(study) in captions_of(study)
        assert set(inputs_of([toy], study)) <= set(inputs_of(OF_KIND[toy.kind](study), study))
    assert layout.figure("patients_by_hospital", "png") in report_inputs(study)
    assert layout.figure("colour_test_resnet_scratch", "svg") in report_inputs(study)
    write_tables(study)
    draw_figures(study, silent)
    for init in study.grid.inits:
        draw_panels(study, "test_resnet", init, silent)
    write_report(study)
    assert all(path.is_file() for path in (*files_of(TOYS, study), *(toy.caption_file(study) for toy in TOYS)))
    page = layout.report.read_text("utf-8")
    for words in (
        '<h2 id="section-hospitals">Hospitals</h2>',
        '<a href="#section-hospitals">Hospitals</a>',
        "Simulated data. ROC AUC in each hospital, 2 folds and 2 seeds.",
        "<figcaption>Simulated data. Patients in each hospital.</figcaption>",
        "<figcaption>Simulated data. One colour of test_resnet, init scratch.</figcaption>",
        "tables/toy_by_hospital.{html, csv, md, tex}",
        "figures/patients_by_hospital.{png, svg}",
        "figures/colour_test_resnet_pretrained.{png, svg, csv}",
    ):
        assert words in page
    assert "Patients in each hospital" in layout.figure("patients_by_hospital", "rst").read_text("utf-8")


def test_every_stage_reads_only_the_keys_of_the_config_that_it_names(finished: Study) -> None:
    """Reading another key of a part raises AttributeError."""
    parts = Parts(finished)
    write_tables(parse_part(parts.json("tables")))
    draw_figures(parse_part(parts.json("figures")), silent)
    for init in finished.grid.inits:
        part = parse_part(parts.json("explain", backbone=["test_resnet"], init=[init]))
        assert panel_steps(part) == 4
        draw_panels(part, "test_resnet", init, silent)
    write_report(parse_part(parts.json("report")))


def test_a_new_format_changes_the_part_of_figures_panels_and_report_only() -> None:
    axes = {"backbone": ["resnet18"], "init": ["scratch"], "modality": ["bmode"]}
    before, after = Parts(STUDY), Parts(make_study(DEMO, figures={"formats": ("png", "pdf")}))
    stages = ("splits", "train", "evaluate", "tables", "figures", "explain", "report")
    changed = {stage for stage in stages if before.json(stage, **axes) != after.json(stage, **axes)}
    assert changed == {"figures", "explain", "report"}


def test_captions_of_panels_are_what_snakemake_report_makes_of_its_wildcards(finished: Study) -> None:
    write_tables(finished)
    draw_figures(finished, silent)
    for init in finished.grid.inits:
        draw_panels(finished, "test_resnet", init, silent)
    write_report(finished)
    text = Layout(finished.results).figure("gradcam", "rst").read_text("utf-8")
    snakemake = {"wildcards": {"backbone": "a_backbone_", "init": "scratch"}}
    page = publish_parts(Environment().from_string(text).render(snakemake=snakemake), writer="html")["body"]
    assert "Grad-CAM of a_backbone_, init scratch, on held-out images" in page and "problematic" not in page
    table = Layout(finished.results).table("ablation", "rst").read_text("utf-8")
    assert "2 seeds" in publish_parts(Environment().from_string(table).render(), writer="html")["body"]


def test_inputs_of_a_panel_are_patterns_and_of_the_first_seed_only() -> None:
    study = make_study(DEMO, seeds=(4, 2))
    layout = Layout(study.results)
    models = [path for path in inputs_of(panels_of(study), study) if path.name == "model.safetensors"]
    wanted = [
        layout.model(Cell("{backbone}", "{init}", modality, 4, fold))
        for modality in study.grid.modalities
        for fold in range(3)
    ]
    assert models == wanted


def test_formats_change_the_files_of_figures_and_panels_only() -> None:
    study = make_study(DEMO, figures={"formats": ("pdf", "png")})
    assert {exhibit.suffixes(study) for exhibit in tables_of(study)} == {TABLE_FORMATS}
    assert {exhibit.suffixes(study) for exhibit in figures_of(study)} == {("png", "pdf")}
    assert {exhibit.suffixes(study) for exhibit in panels_of(study)} == {("png", "pdf", "csv")}
    assert inputs_of(EXHIBITS, study) == inputs_of(EXHIBITS, STUDY)


def test_a_study_without_effect_or_simulation_has_no_exhibit_of_them() -> None:
    plain = make_study(DEMO, statistics={})
    assert {one.stem for one in EXHIBITS} - {one.stem for one in (*tables_of(plain), *figures_of(plain))} == {
        "pretraining_effect",
        *(panel.stem for panel in panels_of(plain)),
    }
    assert not any("effects" in path.name for path in inputs_of(tables_of(plain), plain))


def words_of(exhibit: Exhibit, study: Study, gathered: Gathered) -> str:
    """All that a reader sees of a table or figure."""
    if exhibit.kind == "table":
        table = make_table(exhibit, study, gathered)
        entries = (entry.text for row in table.body for entry in row)
        return "\n".join([exhibit.title, table.caption, *table.head, *entries, *(note for _, note in table.notes)])
    drawn = (text.get_text() for text in draw_figure(exhibit, study, gathered).findobj(Text))
    return "\n".join([exhibit.filled(exhibit.alt, study, {}), making.caption_of(exhibit, study, gathered, {}), *drawn])


def test_with_another_primary_metric_no_exhibit_speaks_of_auc_or_of_the_wrong_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except those whose titles name it: they show it whatever the primary metric is, and are left out here."""
    of_auc = [one for one in EXHIBITS if re.search("AUC|ROC", one.title)]
    for exhibit in of_auc:
        assert exhibit.metric or not fields(exhibit) & set(METRIC_FACTS), f"{exhibit.stem} names two metrics"
    monkeypatch.setattr(exhibits, "EXHIBITS", [one for one in EXHIBITS if one not in of_auc])
    monkeypatch.setattr(primary, "PRIMARY_METRIC", "brier")
    study = make_study(DEMO, tmp_path)
    write_results(study)
    gathered = Gathered(study)
    shown = {f"{one.kind} {one.stem}": one for one in (*tables_of(study), *figures_of(study))}
    assert "table ceiling" not in shown
    words = {name: words_of(exhibit, study, gathered) for name, exhibit in shown.items()}
    assert [name for name, text in words.items() if re.search(r"AUC|case pairs|right of|chance", text)] == []
    assert (
        "Brier score at patient level, averaged over 3 folds (weights of folds: number of patients)."
        in (words["table ablation"])
    )
    assert "Difference in Brier score" in words["table pretraining_effect"]
    assert "Paired differences in Brier score" in words["figure pretraining_effect"]
    assert "left of zero init pretrained is better" in words["figure pretraining_effect"]
    assert "difference in Brier score by patient" in words["figure pretraining_effect"]
    assert "darker is better" in words["figure auc_heatmap"]
    write_tables(study)
    write_report(study)
    page = re.sub(r'"data:[^"]*"', "", Layout(study.results).report.read_text("utf-8"))
    assert "Hand and Till" not in page and "AUC" not in page and "weights equal to the number of patients" in page
    assert "Neither the lowest entry" in page


def test_the_best_of_a_metric_of_losses_is_the_darkest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "PRIMARY_METRIC", "brier")
    heatmap = next(one for one in EXHIBITS if one.stem == "auc_heatmap")
    gathered = scored(STUDY)
    vars(gathered).update(metrics=make_metrics(gathered.scored, STUDY), simulated=True)
    ax = draw_figure(heatmap, STUDY, gathered).axes[0]
    values = np.asarray(ax.images[0].get_array())
    lightness = ax.images[0].to_rgba(values).mean(axis=-1)
    assert (lightness.ravel()[values.argsort(axis=None)] == np.sort(lightness, axis=None)).all()
    assert ax.images[0].get_clim() == (values.min(), values.max())
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert colours[f"{values.min():.3f}"] == "white" and colours[f"{values.max():.3f}"] == "black"


def scored(study: Study) -> Gathered:
    gathered = Gathered(study)
    vars(gathered).update(predictions=make_predictions(study))
    return gathered


@pytest.mark.parametrize("seeds", [(0,), (3, 4)])
def test_a_table_and_a_heat_map_of_another_metric_are_entries(seeds: tuple[int, ...]) -> None:
    study = make_study(DEMO, seeds=seeds)
    gathered = scored(study)
    frames = [make_metrics(gathered.scored, study, metric) for metric in ("roc_auc_ovo", "balanced_accuracy")]
    vars(gathered).update(metrics=pd.concat(frames, ignore_index=True), simulated=True)
    first = next(one for one in EXHIBITS if one.stem == "ablation")
    second, heatmap = (
        replace(one, stem=f"accuracy_{one.kind}", metric="balanced_accuracy")
        for one in (first, next(one for one in EXHIBITS if one.stem == "auc_heatmap"))
    )
    table = make_table(second, study, gathered)
    assert "Balanced accuracy at patient level" in table.caption
    assert "(weights of folds: number of patients)" in table.caption
    of_second = frames[1]["metric"].eq("balanced_accuracy") & frames[1]["method"].eq("bca")
    of_second &= frames[1]["pooling"].eq("log") & frames[1]["fold"].eq("mean") & frames[1]["seed"].eq("mean")
    wanted, found = (one.set_index(CONFIGURATION)["value"].sort_index() for one in (frames[1][of_second], table.data))
    assert found.equals(wanted) and len(found) == 12
    assert [row[0].text for row in table.body] == [name for name in DEMO["backbones"] for _ in DEMO["inits"]]
    assert "one-vs-one ROC AUC" in make_table(first, study, gathered).caption
    shown = words_of(heatmap, study, gathered)
    assert "AUC" not in shown and "Patient-level balanced accuracy" in shown.replace("\n", " ")
    assert f"{table.data['value'].iloc[-1]:.3f}" in shown


def test_a_metric_without_intervals_is_shown_by_its_values() -> None:
    gathered = scored(STUDY)
    metrics = make_metrics(gathered.scored, STUDY, "ece")
    shown = metrics["metric"].eq("ece") & metrics["method"].eq("bca")
    metrics.loc[shown, ["low", "high", "confidence", "method"]] = [np.nan, np.nan, np.nan, ""]
    shown &= metrics["pooling"].eq("log") & metrics["level"].eq("patient")
    vars(gathered).update(metrics=metrics[shown], simulated=True)
    entry = replace(next(one for one in EXHIBITS if one.stem == "ablation"), metric="ece", caption="{metric}.")
    table = make_table(entry, STUDY, gathered)
    texts = [one.text for row in table.body for one in row[2:]]
    assert all(re.fullmatch(r"\d\.\d{3}", text) for text in texts) and len(texts) == 12
    assert table.caption.startswith("Simulated data. Expected calibration error. Study dummy")


@pytest.fixture
def longer_configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A configuration with one more axis, `loss`, after the modality."""
    lists = {id(names): names for names in (CONFIGURATION, AXES, exhibits.ROW_AXES)}.values()
    before = [list(names) for names in lists]
    CONFIGURATION.append("loss")
    AXES.insert(AXES.index("modality") + 1, "loss")
    exhibits.ROW_AXES.append("loss")
    monkeypatch.setattr(grid, "Configuration", make_dataclass("Longer", CONFIGURATION, frozen=True))
    yield
    for names, found in zip(lists, before, strict=True):
        names[:] = found


@pytest.mark.usefixtures("longer_configuration")
def test_one_more_axis_of_a_configuration_is_one_more_column_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"loss": ("plain", "focal"), "seed": (0,), "fold": (0, 1, 2)}
    whole = Grid({axis: values.get(axis) or DEMO[plural(axis)] for axis in AXES})
    monkeypatch.setattr(Grid, "of", lambda study: whole)
    gathered = scored(STUDY)
    cells = [dict(zip(AXES, point, strict=True)) for point in product(*whole.axes.values())]
    histories = [cell | {"epoch": epoch, "train_loss": 1.0, "inner_loss": 1.0} for cell in cells for epoch in (1, 2)]
    vars(gathered).update(
        simulated=True,
        metrics=make_metrics(gathered.scored, STUDY),
        runs=pd.DataFrame(cells).assign(chosen_epoch=2),
        histories=pd.DataFrame(histories),
    )
    of_name = {one.stem: one for one in EXHIBITS}
    table = make_table(of_name["ablation"], STUDY, gathered)
    assert table.head[:3] == ("Backbone", "Init", "Loss") and table.row_heads == 3
    assert [entry.text for entry in table.body[1][:3]] == ["resnet18", "scratch", "focal"]
    values_of = table.data.set_index(CONFIGURATION)["value"]
    for row in table.body:
        names = [entry.text for entry in row[:3]]
        wanted = [values_of[names[0], names[1], modality, names[2]] for modality in DEMO["modalities"]]
        assert [entry.text[:5] for entry in row[3:]] == [f"{value:.3f}" for value in wanted]
    shown = draw_figure(of_name["auc_heatmap"], STUDY, gathered).axes[0]
    assert [text.get_text() for text in shown.texts[::2]] == [entry.text[:5] for row in table.body for entry in row[3:]]
    assert [label.get_text() for label in shown.get_yticklabels()][1] == "resnet18  scratch  focal"
    curves = draw_figure(of_name["roc_curves"], STUDY, gathered)
    assert all(len(ax.lines) == 1 + 8 for ax in curves.axes)
    looks = {(line.get_color(), str(line._dash_pattern)) for line in curves.axes[0].lines[1:]}  # type: ignore[attr-defined]
    assert len(looks) == 8
    for name, panels in (("confusion_matrices", 24), ("training_curves", 24)):
        figure = draw_figure(of_name[name], STUDY, gathered)
        assert len(figure.axes) == panels and figure.axes[3].get_ylabel() == "resnet18\nscratch\nfocal"


def test_the_list_is_cheap_to_import() -> None:
    heavy = {"matplotlib", "torch", "sklearn", "jinja2", "numpy", "pandas", "PIL"}
    code = f"import sys, sonogrid.reporting.exhibits; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def of_layout() -> list[Path]:
    """Every path that Layout knows, as the README writes patterns."""
    layout, found = Layout(Path()), []
    patterns = {
        "pretrained": ANY_PRETRAINING,
        "pretrained_weights": ANY_PRETRAINING,
        **dict.fromkeys(("cell", "model", "history", "cell_predictions", "run"), (ANY_CELL,)),
        "corpus": ("{init}",),
        "cohort_of": (None,),
        "table": ("{table}", "csv"),
        "figure": ("{figure}", "png"),
        "log": ("stage",),
        "benchmark": ("stage",),
    }
    for owner in (layout, layout.cohort, layout.corpus("{init}")):
        for name, member in inspect.getmembers(type(owner)):
            if name.startswith("_") or name in ("results", "checkpoint", "tables", "base"):
                continue
            if isinstance(member, property):
                found.append(getattr(owner, name))
            elif inspect.isfunction(member):
                arguments = patterns.get(name, ("{modality}",) if isinstance(owner, CohortLayout) else None)
                assert arguments is not None, f"how are the arguments of Layout.{name} written in a pattern?"
                found.append(getattr(owner, name)(*arguments))
    return [path for path in found if isinstance(path, Path)]


@pytest.mark.parametrize("path", sorted(set(of_layout())), ids=str)
def test_the_readme_of_results_names_every_path_of_the_layout(path: Path) -> None:
    """Itself, or a folder above it, in the first column."""
    rows = [line for line in README.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    for stem, suffixes in (name[:-1].split(".{") for name in list(named) if ".{" in name):
        named |= {f"{stem}.{suffix}" for suffix in suffixes.split(",")}
    assert str(path) in named or named & {f"{folder}/" for folder in (path, *path.parents)}


def test_the_readme_of_results_names_every_kind_of_file_of_exhibits_and_cells() -> None:
    text = README.read_text("utf-8")
    assert f"`tables/{{table}}.{{{','.join(sorted(TABLE_FORMATS, key=('csv', 'md', 'tex', 'html').index))}}}`" in text
    assert "`figures/{figure}.{png,svg,pdf}`" in text and "`figures/{panel}.csv`" in text
    assert "`tables/{table}.rst`, `figures/{figure}.rst`" in text
    for line, names in (("cells/{backbone}", CELL_FILES), ("pretrained/{init}/{backbone}", PRETRAINED_FILES)):
        row = next(row for row in text.splitlines() if row.startswith(f"| `{line}"))
        assert all(f"`{name}`" in row for name in names)
