from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from dummy_study import BINARY, make_study, write_cells, write_results
from markupsafe import escape

from sonogrid.config.study import Study
from sonogrid.files import read_json, write_json
from sonogrid.grid import AXES as GRID_AXES
from sonogrid.grid import Grid
from sonogrid.layout import Layout
from sonogrid.problems import InputError
from sonogrid.reporting.exhibits import EXHIBITS, captions_of, exhibits_of, files_of, tables_of
from sonogrid.reporting.formats import to_html
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import make_table
from sonogrid.reporting.report import write_report
from sonogrid.reporting.words import duration

AXES = BINARY | {"modalities": ("bmode", "cdfi")}
SIMULATED_WORDS = "Simulated data."
DRAWINGS = [one.stem for one in EXHIBITS if one.kind == "figure" and not one.photograph]


class Page(HTMLParser):
    """Tags with their attributes, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.shown: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = make_study(AXES, tmp_path_factory.mktemp("results"), folds=2)
    write_results(made)
    return made


@pytest.fixture(scope="module")
def text(study: Study) -> Iterator[str]:
    write_report(study)
    yield (study.results / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def copied(study: Study, folder: Path) -> Study:
    """The same study with a copy of its results, which may be changed."""
    shutil.copytree(study.results, folder)
    return study.model_copy(update={"results": folder})


def pictures_of(study: Study) -> list[Path]:
    """The PNG of every figure and panel."""
    return [path for path in files_of(exhibits_of(study), study) if path.suffix == ".png"]


def reported(study: Study) -> Page:
    write_report(study)
    return Page(Layout(study.results).report.read_text("utf-8"))


def said(page: Page) -> str:
    return " ".join(" ".join(page.shown).split())


def test_nothing_is_loaded_from_anywhere(text: str, page: Page) -> None:
    for name, attributes in page.tags:
        for key in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:image/", "#")), (name, key)
    assert not {name for name, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form"}
    assert "@import" not in text and "url(" not in text and "http://" not in text and "https://" not in text
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_figure_is_inside_with_alternative_text(study: Study, page: Page) -> None:
    images = page.all("img")
    assert len(images) == len(pictures_of(study)) and all(len(str(image["alt"])) > 20 for image in images)
    contents = []
    for image in images:
        kind, _, content = str(image["src"]).partition(";base64,")
        contents.append((kind, base64.b64decode(content, validate=True)))
    drawn = {content for kind, content in contents if kind == "data:image/svg+xml"}
    assert drawn == {Layout(study.results).figure(stem, "svg").read_bytes() for stem in DRAWINGS}
    photographs = [content for kind, content in contents if kind == "data:image/jpeg"]
    assert len(photographs) == len(images) - len(DRAWINGS) and all(
        content[:3] == b"\xff\xd8\xff" for content in photographs
    )


def test_tables_are_those_that_are_written_as_files(study: Study, text: str) -> None:
    for exhibit in tables_of(study):
        assert to_html(make_table(exhibit, study, Gathered(study))).strip() in text


def test_page_is_accessible_and_every_link_leads_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in page.all("a")} <= set(ids)
    assert {str(section["aria-labelledby"]) for section in page.all("section")} <= set(ids)
    assert page.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_no_patient_or_image_identifier_is_shown(study: Study, text: str) -> None:
    predictions = pd.read_csv(study.results / "predictions.csv")
    for identifier in [*predictions["patient_id"].unique(), *predictions["image_id"].unique()]:
        assert identifier not in text


def test_ceiling_is_beside_the_highest_value(page: Page, study: Study) -> None:
    shown = " ".join(page.shown)
    metrics = Gathered(study).metrics
    for _, group in metrics[metrics["seed"].eq("mean") & metrics["method"].eq("bca")].groupby("modality"):
        highest = group.loc[group["metric"].eq("roc_auc_ovo") & group["pooling"].eq("log"), "value"].max()
        assert re.search(rf"0\.930 \(n = 100,000\)\s+0\.910 \(n = 90\)\s+{highest:.3f} \[", shown)


def test_provenance_and_run_times_are_sums_of_the_cells(page: Page, study: Study) -> None:
    shown = said(page)
    assert "not in a git checkout" in shown and "2.11.0" in shown and "Seed of the study 7" in shown
    cells = len(Grid.of(study))
    total = sum(10 + number for number in range(cells))
    assert f"all backbones all inits {cells} 6 {duration(10 + (cells - 1) / 2)} {duration(total)}" in shown


def test_methods_state_the_settings_of_the_study(page: Page) -> None:
    for part in ("2 folds", "20% of the patients", "2,000 resamples", "BCa intervals at 95%", "learning rate 0.001"):
        assert part in said(page)


def test_how_cells_were_trained_is_what_their_records_say_and_not_the_config(study: Study, tmp_path: Path) -> None:
    other = copied(study, tmp_path / "results")
    training = other.training.model_copy(update={"learning_rate": 0.5, "batch_size": 999})
    loaded = other.model_copy(update={"training": training, "seed": 99})
    shown = said(reported(loaded))
    assert "learning rate 0.001" in shown and "0.5 after" not in shown and "999" not in shown
    assert "Seed of the study 7" in shown
    cell = next(iter(Grid.of(other).cells()))
    record = read_json(Layout(other.results).run(cell))
    record["training"]["learning_rate"] = 0.25
    write_json(record, Layout(other.results).run(cell))
    shown = said(reported(other))
    assert "1 cell: AdamW, peak learning rate 0.25" in shown and "7 cells: AdamW, peak learning rate 0.001" in shown


def test_simulated_is_said_in_every_caption_or_not_at_all(study: Study, page: Page, tmp_path: Path) -> None:
    assert " ".join(page.shown).count(SIMULATED_WORDS) >= 1 + 1 + len(page.all("caption")) + len(page.all("figcaption"))
    for path in captions_of(study):
        assert path.read_text("utf-8").startswith(SIMULATED_WORDS)
    folders = {"root": tmp_path, "labels": {}, "modalities": {}}
    cohort = study.cohort.model_dump() | {"reader": "folders", "folders": folders}
    real = make_study(AXES, tmp_path / "results", folds=2, cohort=cohort)
    write_results(real, simulated=False)
    shown = said(reported(real))
    assert "imulated" not in shown and "eiling" not in shown
    for path in captions_of(real):
        assert "imulated" not in path.read_text("utf-8")


def test_same_results_same_bytes_and_below_ten_megabytes(study: Study, text: str, tmp_path: Path) -> None:
    again = copied(study, tmp_path / "results")
    write_report(again)
    assert Layout(again.results).report.read_text("utf-8") == text and len(text.encode()) < 10_000_000


def test_hostile_values_are_escaped(study: Study, tmp_path: Path) -> None:
    hostile = '<script>alert("x")</script>'
    named = copied(study, tmp_path / "results").model_copy(update={"study": hostile})
    for cell in Grid.of(named).cells():
        record = Layout(named.results).run(cell)
        write_json(read_json(record) | {"device": hostile}, record)
    write_report(named)
    text = Layout(named.results).report.read_text("utf-8")
    assert "<script" not in text and str(escape(hostile)) in text


def test_missing_figures_are_all_named_and_nothing_is_written(study: Study, tmp_path: Path) -> None:
    lacking = copied(study, tmp_path / "results")
    shutil.rmtree(lacking.results / "figures")
    Layout(lacking.results).report.unlink(missing_ok=True)
    with pytest.raises(InputError) as caught:
        write_report(lacking)
    assert len(caught.value.problems) == 2 * len(pictures_of(study))
    assert "gradcam_resnet18_scratch.svg" in str(caught.value)
    assert not (lacking.results / "figures").exists() and not Layout(lacking.results).report.exists()


def test_a_study_without_an_effect_has_no_effect_section(study: Study, page: Page, tmp_path: Path) -> None:
    statistics = study.statistics.model_copy(update={"pretraining_effect": None})
    without = copied(study, tmp_path / "results").model_copy(update={"statistics": statistics})
    found = reported(without)
    assert "Pre-training effect" not in said(found) and len(found.all("img")) == len(page.all("img")) - 1


@pytest.mark.parametrize(("formats", "kind"), [(("png",), "png"), (("png", "svg", "pdf"), "svg+xml")])
def test_the_report_holds_drawings_as_svg_where_there_are_any_and_lists_all_formats(
    formats: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    study = make_study(BINARY, tmp_path, folds=2, figures={"formats": formats})
    write_results(study)
    found = reported(study)
    assert {str(image["src"]).partition(";")[0] for image in found.all("img")} == {
        f"data:image/{kind}",
        "data:image/jpeg",
    }
    assert f"figures/roc_curves.{{{', '.join(formats)}}}" in said(found)
    assert f"figures/gradcam_resnet18_scratch.{{{', '.join((*formats, 'csv'))}}}" in said(found)
    assert {path.suffix[1:] for path in (tmp_path / "figures").glob("*")} == {*formats, "rst"}


def test_a_report_of_several_seeds_says_so_where_it_speaks_of_means(tmp_path: Path) -> None:
    study = make_study(BINARY, tmp_path, folds=2, seeds=(0, 1, 2))
    write_results(study)
    shown = said(reported(study))
    for part in (
        "averaged over 2 folds and 3 seeds",
        "the curves of 2 folds and 3 seeds",
        "all folds together, mean of 3 seeds",
        "a line for each seed and fold",
        "by the model of seed 0 that has not seen the patient",
        "2 folds by patient, 3 seeds;",
        "Seeds of the grid 0, 1, 2",
    ):
        assert part in shown


def test_cells_without_records_are_all_named(tmp_path: Path) -> None:
    study = make_study(BINARY, tmp_path, folds=2, seeds=(0, 4))
    write_cells(study)
    grid = Grid.of(study)
    gathered = Gathered(study)
    assert len(gathered.histories) == 6 * len(grid)
    found = [tuple(row) for row in gathered.runs[GRID_AXES].to_numpy()]
    assert found == [(cell.backbone, cell.init, cell.modality, cell.seed, cell.fold) for cell in grid.cells()]
    lost = list(grid.cells())[1:3]
    for cell in lost:
        Layout(tmp_path).run(cell).unlink()
    with pytest.raises(InputError) as caught:
        _ = Gathered(study).runs
    assert [problem.where for problem in caught.value.problems] == [str(Layout(tmp_path).run(cell)) for cell in lost]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (42.0, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (18420, "5 h 07 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
