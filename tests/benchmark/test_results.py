"""Time from predictions to what people read: bootstrap, tables, figures, report; and the audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dummy_study import BINARY, DEMO, make_study, write_results, write_scores
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from unit.audit.audit_study import Shot, album_of, scene

from sonogrid.arrays import Picture
from sonogrid.audit.duplicates import near_duplicates
from sonogrid.audit.findings import Finding
from sonogrid.config.study import Study
from sonogrid.evaluation.intervals import Interval, Resamples, bca_interval, draw_resamples, pair_tables
from sonogrid.evaluation.metrics import auc_ovo
from sonogrid.layout import Layout
from sonogrid.perf.measuring import measure_speed
from sonogrid.reporting.exhibits import figures_of, tables_of
from sonogrid.reporting.formats import Table
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import draw_figures, make_table
from sonogrid.reporting.report import write_report

CONFIGURATIONS, RESAMPLES, PATIENTS, FOLDS = 6, 2000, 120, 5


def test_bootstrap(benchmark: BenchmarkFixture) -> None:
    """BCa intervals of the macro AUC of 6 configurations on the same 2,000 resamples of 120 patients."""
    random = np.random.default_rng(1)
    y = np.arange(PATIENTS) % 3
    fold = np.arange(PATIENTS) // 3 % FOLDS
    scores = random.normal(size=(CONFIGURATIONS, PATIENTS, 3)) + 1.5 * np.eye(3)[y]
    patients = [f"P{number:03d}" for number in range(PATIENTS)]

    def bootstrap() -> tuple[list[float], list[Interval]]:
        drawn: Resamples = draw_resamples(patients, [str(label) for label in y], fold.tolist(), RESAMPLES, seed=1)
        position = drawn.positions(patients)
        estimates = [pair_tables(y, score, fold, position, drawn).estimate(auc_ovo) for score in scores]
        return [estimate.value for estimate in estimates], [bca_interval(estimate, 0.95) for estimate in estimates]

    def check(made: tuple[list[float], list[Interval]]) -> None:
        values, intervals = made
        # In the score of a class its patients lie 1.5 above all others, with unit variance: AUC = Phi(1.5 / sqrt(2)).
        assert np.mean(values) == pytest.approx(0.856, abs=0.03)
        assert all(one.low < value < one.high for one, value in zip(intervals, values, strict=True))

    measure_speed(
        benchmark,
        bootstrap,
        check=check,
        unit="resample",
        count=CONFIGURATIONS * RESAMPLES,
        inputs=[y, fold, scores, RESAMPLES],
        numbers=lambda made: [made[0], [(one.low, one.high) for one in made[1]]],
    )


def written(study: Study) -> list[object]:
    """What a study says, and every table that was written for it, as inputs of a benchmark."""
    asked = study.model_dump(mode="json", exclude={"results"})
    return [asked, *(path.read_bytes() for path in sorted(study.results.rglob("*.csv")))]


def test_tables(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Every table of a study with 4 configurations, from its files."""
    study = make_study(BINARY | {"modalities": ("bmode", "cdfi")}, tmp_path)
    write_scores(study)

    def make() -> list[Table]:
        gathered = Gathered(study)
        return [make_table(exhibit, study, gathered) for exhibit in tables_of(study)]

    def check(made: list[Table]) -> None:
        assert [table.name for table in made] == [exhibit.stem for exhibit in tables_of(study)]
        # A value for each modality and init, of one backbone.
        ablation = next(table.data for table in made if table.name == "ablation")
        assert len(ablation.select_dtypes("number").stack()) >= 4 and ablation["value"].between(0.3, 1).all()

    measure_speed(
        benchmark,
        make,
        check=check,
        unit="table",
        count=len(tables_of(study)),
        inputs=written(study),
        numbers=lambda made: [table.data for table in made],
    )


@pytest.mark.full
def test_figures(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Every figure but the panels of the demo's grid, in all formats."""
    study = make_study(DEMO, tmp_path)
    write_scores(study)
    figures = figures_of(study)
    files = [exhibit.path(Layout(tmp_path), suffix) for exhibit in figures for suffix in study.figures.formats]

    def check(_: None) -> None:
        for file in files:
            if file.suffix == ".png":
                with Image.open(file) as picture:
                    assert min(picture.size) > 200
            else:
                assert file.read_bytes().rstrip().endswith((b"</svg>", b"%%EOF"))

    measure_speed(
        benchmark,
        lambda: draw_figures(study, lambda note="", steps=1: None),
        check=check,
        unit="figure",
        count=len(figures),
        inputs=written(study),
        numbers=lambda _: [file.read_bytes() for file in files],
        rounds=1,
    )


@pytest.mark.full
def test_report(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The report of the demo's grid."""
    study = make_study(DEMO, tmp_path)
    write_results(study)
    page = Layout(tmp_path).report

    def check(_: None) -> None:
        text = page.read_text(encoding="utf-8")
        assert text.rstrip().endswith("</html>")
        # Every figure and panel is inside the page, and every table.
        assert text.count("<img") >= len(figures_of(study)) and text.count("<table") >= len(tables_of(study))

    measure_speed(
        benchmark,
        lambda: write_report(study),
        check=check,
        unit="report",
        inputs=written(study),
        numbers=lambda _: page.read_bytes(),
        rounds=1,
    )


def brighter(picture: Picture) -> Picture:
    """The picture with another gain."""
    return np.clip(picture * 1.1 + 4, 0, 255).astype(np.uint8)


@pytest.mark.full
def test_audit(benchmark: BenchmarkFixture) -> None:
    """1,000 pictures of 96 px, two of them copies of others, each compared with all others."""
    shots = [Shot(f"image{number}", f"patient{number}", "benign", scene(number)) for number in range(998)]
    shots += [Shot(f"copy{number}", f"other{number}", "benign", brighter(shots[number].picture)) for number in range(2)]
    album = album_of(shots)

    def check(found: list[Finding]) -> None:
        assert {frozenset(finding.images) for finding in found} == {
            frozenset({"image0", "copy0"}),
            frozenset({"image1", "copy1"}),
        }

    measure_speed(
        benchmark,
        lambda: near_duplicates(album, {}),
        check=check,
        unit="picture",
        count=len(shots),
        inputs=[shot.picture for shot in shots],
        numbers=lambda found: sorted(finding.what for finding in found),
        rounds=1,
    )
