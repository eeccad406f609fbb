from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from dummy_study import BINARY, make_study, write_cells, write_results
from markupsafe import escape

from sonogrid.config.study import Study
from sonogrid.grid import Grid, cell_folder
from sonogrid.problems import InputError
from sonogrid.reporting.formats import to_html
from sonogrid.reporting.report import (
    Results,
    chosen_epochs,
    duration,
    gather_history,
    gather_results,
    gather_runs,
    write_report,
)
from sonogrid.reporting.tables import ablation_table, pretraining_effect_table

AXES = BINARY | {"modalities": ("bmode", "cdfi")}
SIMULATED_WORDS = "Simulated data."


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
def results(study: Study) -> Results:
    return gather_results(study)


@pytest.fixture(scope="module")
def text(study: Study, results: Results) -> Iterator[str]:
    write_report(study, results, study.results / "report.html")
    yield (study.results / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


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
    assert len(images) == 6 + 2 and all(len(str(image["alt"])) > 20 for image in images)
    contents = []
    for image in images:
        kind, _, content = str(image["src"]).partition(";base64,")
        contents.append((kind, base64.b64decode(content, validate=True)))
    drawn = {content for kind, content in contents if kind == "data:image/svg+xml"}
    names = ("auc_heatmap", "roc_curves", "confusion_matrices", "training_curves", "pretraining_effect")
    assert drawn == {(study.results / "figures" / f"{name}.svg").read_bytes() for name in names}
    photographs = [content for kind, content in contents if kind == "data:image/jpeg"]
    assert len(photographs) == 3 and all(content[:3] == b"\xff\xd8\xff" for content in photographs)


def test_tables_are_those_of_tables_py(study: Study, results: Results, text: str) -> None:
    assert to_html(ablation_table(results.metrics, study)).strip() in text
    assert results.effects is not None
    assert to_html(pretraining_effect_table(results.effects, study)).strip() in text


def test_page_is_accessible_and_every_link_leads_somewhere(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(link["href"])[1:] for link in page.all("a")} <= set(ids)
    assert {str(section["aria-labelledby"]) for section in page.all("section")} <= set(ids)
    assert page.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.all(landmark)) == 1
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 4


def test_no_patient_or_image_identifier_is_shown(study: Study, text: str) -> None:
    predictions = pd.read_csv(study.results / "predictions.csv")
    for identifier in [*predictions["patient_id"].unique(), *predictions["image_id"].unique()]:
        assert identifier not in text


def test_ceiling_stands_beside_the_highest_value(page: Page, results: Results, study: Study) -> None:
    shown = " ".join(page.shown)
    highest = ablation_table(results.metrics, study).data.groupby("modality")["value"].max()
    for value in highest:
        assert re.search(rf"0\.930 \(n = 100,000\)\s+0\.910 \(n = 90\)\s+{value:.3f} \[", shown)


def test_provenance_and_run_times_are_sums_of_the_cells(page: Page, results: Results) -> None:
    shown = " ".join(" ".join(page.shown).split())
    assert "not in a git checkout" in shown and "2.11.0" in shown and "Seed 7" in shown
    cells = len(results.runs)
    total = sum(10 + number for number in range(cells))
    assert f"all cells {cells} 6 {duration(10 + (cells - 1) / 2)} {duration(total)}" in shown


def test_methods_state_the_settings_of_the_study(page: Page) -> None:
    shown = " ".join(" ".join(page.shown).split())
    for part in ("2 folds", "20% of the patients", "2,000 resamples", "BCa intervals at 95%", "learning rate 0.001"):
        assert part in shown


def test_simulated_is_said_in_every_caption_or_not_at_all(
    study: Study, results: Results, page: Page, tmp_path: Path
) -> None:
    shown = " ".join(page.shown)
    assert shown.count(SIMULATED_WORDS) >= 1 + 1 + 3 + 8
    effects = None if results.effects is None else results.effects.assign(simulated=False)
    real = Results(results.metrics.assign(simulated=False), effects, None, results.runs, results.figures)
    write_report(study, real, tmp_path / "real.html")
    assert "imulated" not in " ".join(Page((tmp_path / "real.html").read_text("utf-8")).shown)


def test_same_results_same_bytes_and_below_ten_megabytes(
    study: Study, results: Results, text: str, tmp_path: Path
) -> None:
    write_report(study, results, tmp_path / "again.html")
    again = (tmp_path / "again.html").read_bytes()
    assert again == text.encode() and len(again) < 10_000_000


def test_hostile_values_are_escaped(study: Study, results: Results, tmp_path: Path) -> None:
    hostile = '<script>alert("x")</script>'
    named = study.model_copy(update={"study": hostile})
    bad = Results(
        results.metrics, results.effects, results.ceiling, results.runs.assign(device=hostile), results.figures
    )
    write_report(named, bad, tmp_path / "hostile.html")
    text = (tmp_path / "hostile.html").read_text("utf-8")
    assert "<script" not in text and str(escape(hostile)) in text


def test_missing_figures_are_all_named_and_nothing_is_written(study: Study, results: Results, tmp_path: Path) -> None:
    empty = Results(results.metrics, results.effects, results.ceiling, results.runs, tmp_path / "none")
    with pytest.raises(InputError) as caught:
        write_report(study, empty, tmp_path / "report.html")
    assert len(caught.value.problems) == 2 * 8
    assert "gradcam_resnet18_scratch.svg" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_an_effect_has_no_effect_section(study: Study, results: Results, tmp_path: Path) -> None:
    statistics = study.statistics.model_copy(update={"pretraining_effect": None})
    plain = study.model_copy(update={"statistics": statistics})
    without = Results(results.metrics, None, results.ceiling, results.runs, results.figures)
    write_report(plain, without, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "Pre-training effect" not in " ".join(page.shown) and len(page.all("img")) == 7


def test_cells_without_records_are_all_named(tmp_path: Path) -> None:
    study = make_study(BINARY, tmp_path, folds=2)
    write_cells(study)
    grid = Grid.of(study)
    assert len(gather_history(tmp_path, grid)) == 6 * len(grid)
    assert set(chosen_epochs(gather_runs(tmp_path, grid))) == {
        (cell.backbone, cell.init, cell.modality, cell.fold) for cell in grid.cells()
    }
    for cell in list(grid.cells())[:2]:
        (cell_folder(tmp_path, cell) / "run.json").unlink()
    with pytest.raises(InputError) as caught:
        gather_runs(tmp_path, grid)
    assert [problem.where.endswith(f"fold{fold}/run.json") for fold, problem in enumerate(caught.value.problems)] == [
        True,
        True,
    ]


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
