from __future__ import annotations

import csv
import html
import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dummy_study import BINARY, DEMO, make_effects, make_metrics, make_predictions, make_study

from sonogrid.config.readers import FoldersSource
from sonogrid.config.study import Study
from sonogrid.evaluation.measurements import read_measurements
from sonogrid.files import write_csv
from sonogrid.problems import InputError
from sonogrid.reporting.exhibits import tables_of
from sonogrid.reporting.formats import (
    Table,
    TableEntry,
    escape_latex,
    escape_markdown,
    to_html,
    to_latex,
    to_markdown,
    to_page,
    write_table,
)
from sonogrid.reporting.gathered import Gathered
from sonogrid.reporting.making import make_table
from sonogrid.reporting.words import p_text, signed


def scored(study: Study) -> pd.DataFrame:
    gathered = Gathered(study)
    vars(gathered).update(predictions=make_predictions(study))
    return gathered.scored


STUDY = make_study(DEMO)
METRICS = make_metrics(scored(STUDY), STUDY)
EFFECTS = make_effects(METRICS, STUDY)
FORMATS = {"md": to_markdown, "tex": to_latex, "html": to_html}
HOSTILE = "a<b & $x_1"
PRIMARY = METRICS["fold"].eq("mean") & METRICS["level"].eq("patient") & METRICS["pooling"].eq("log")
PRIMARY &= METRICS["metric"].eq("roc_auc_ovo") & METRICS["method"].eq("bca")


def ablation(metrics: pd.DataFrame = METRICS, study: Study = STUDY, simulated: bool = True) -> Table:
    """The ablation table of these metrics."""
    return make("ablation", study, simulated, metrics=metrics)


def effect(effects: pd.DataFrame = EFFECTS, study: Study = STUDY, simulated: bool = True) -> Table:
    """The table of the pre-training effect."""
    return make("pretraining_effect", study, simulated, effects=effects)


def make(name: str, study: Study, simulated: bool, **frames: pd.DataFrame) -> Table:
    gathered = Gathered(study)
    vars(gathered).update(simulated=simulated, **frames)
    return make_table(next(one for one in tables_of(study) if one.stem == name), study, gathered)


def at(backbone: str, init: str, modality: str, frame: pd.DataFrame = METRICS) -> pd.Series[bool]:
    return frame["backbone"].eq(backbone) & frame["init"].eq(init) & frame["modality"].eq(modality)


def printed_numbers(text: str) -> list[tuple[str, ...]]:
    """Every `value [low, high]` of a rendered table, in order, with a plain minus sign."""
    plain = html.unescape(text).replace("$-$", "-").replace("\N{MINUS SIGN}", "-")
    return re.findall(r"([+-]?\d\.\d{3}) \[([+-]?\d\.\d{3}), ([+-]?\d\.\d{3})\]", plain)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_prints_the_numbers_of_metrics_in_grid_order(form: str) -> None:
    wanted = []
    for key in product(DEMO["backbones"], DEMO["inits"], DEMO["modalities"]):
        row = METRICS[PRIMARY & at(*key)].iloc[0]
        wanted.append(tuple(f"{row[name]:.3f}" for name in ("value", "low", "high")))
    assert printed_numbers(FORMATS[form](ablation())) == wanted


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_prints_the_differences_and_the_main_effect_last(form: str) -> None:
    shown = printed_numbers(FORMATS[form](effect()))
    wanted = [tuple(f"{row[name]:+.3f}" for name in ("value", "low", "high")) for _, row in EFFECTS.iterrows()]
    assert shown == wanted and EFFECTS["modality"].iloc[-1] == "all"


def test_csv_keeps_every_digit_of_metrics(tmp_path: Path) -> None:
    write_table(ablation(), "csv", tmp_path / "ablation.csv")
    with (tmp_path / "ablation.csv").open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    columns = ["backbone", "init", "modality", "value", "low", "high", "n_patients"]
    keys = product(DEMO["backbones"], DEMO["inits"], DEMO["modalities"])
    wanted = [METRICS[PRIMARY & at(*key)].iloc[0] for key in keys]
    assert [[row[name] for name in columns] for row in read] == [[str(row[name]) for name in columns] for row in wanted]


def test_order_of_metrics_does_not_matter() -> None:
    shuffled = METRICS.sample(frac=1, random_state=3)
    assert to_markdown(ablation(shuffled)) == to_markdown(ablation())


def test_a_table_read_back_from_csv_is_the_same(tmp_path: Path) -> None:
    METRICS.to_csv(tmp_path / "metrics.csv", index=False)
    again = pd.read_csv(tmp_path / "metrics.csv")
    assert to_latex(ablation(again)) == to_latex(ablation())


def test_all_missing_configurations_are_named_at_once() -> None:
    lost = [("resnet18", "scratch", "cdfi"), ("vit_tiny_patch16_224", "pretrained", "bmode")]
    with pytest.raises(InputError) as caught:
        ablation(METRICS[~(at(*lost[0]) | at(*lost[1]))])
    where = [problem.where for problem in caught.value.problems]
    assert where == [f"metrics.csv, backbone {b}, init {i}, modality {m}" for b, i, m in lost]


def test_a_configuration_given_twice_is_refused() -> None:
    double = METRICS[PRIMARY & at("resnet18", "scratch", "cdfi")]
    with pytest.raises(InputError, match="resnet18, init scratch, modality cdfi: has 2 rows"):
        ablation(pd.concat([METRICS, double], ignore_index=True))


def test_a_missing_main_effect_is_refused() -> None:
    with pytest.raises(InputError, match="backbone all, init pretrained, modality all: has 0 rows"):
        effect(EFFECTS[EFFECTS["modality"].ne("all")])


def test_one_difference_needs_no_main_effect() -> None:
    study = make_study(BINARY)
    metrics = make_metrics(scored(study), study)
    table = effect(make_effects(metrics, study), study)
    assert [row[0].text for row in table.body] == ["resnet18"]
    assert ablation(metrics, study).caption.startswith("Simulated data. ROC AUC at patient level")


def test_undefined_value_shows_words_and_its_reason_once() -> None:
    metrics = METRICS.copy()
    place = at("resnet18", "scratch", "cdfi")
    metrics.loc[place, ["value", "low", "high"]] = np.nan
    metrics.loc[place, "note"] = "not defined: no pair to compare"
    table = ablation(metrics)
    assert table.body[0][3] == TableEntry("not defined", "a")
    assert table.notes == (("a", "not defined: no pair to compare"),)
    metrics.loc[place, "note"] = ""
    with pytest.raises(InputError, match="modality cdfi: has neither a value nor a note"):
        ablation(metrics)


def test_notes_that_differ_in_numbers_share_a_footnote() -> None:
    metrics = METRICS.copy()
    words = "pooled {} and fold mean {} differ by more than 0.01"
    metrics.loc[at("resnet18", "scratch", "bmode"), "note"] = words.format("0.700", "0.760")
    metrics.loc[at("resnet18", "scratch", "cdfi"), "note"] = "interval from fewer resamples"
    one = ablation(metrics)
    assert [entry.mark for entry in one.body[0]] == ["", "", "a", "b", ""]
    assert one.notes[0] == ("a", words.format("0.700", "0.760"))
    metrics.loc[at("resnet18", "pretrained", "bmode"), "note"] = words.format("0.800", "0.830")
    two = ablation(metrics)
    assert [two.body[0][2].mark, two.body[1][2].mark] == ["a", "a"] and len(two.notes) == 2
    assert two.notes[0][1].startswith("pooled \N{HORIZONTAL ELLIPSIS} and fold mean")
    assert set(two.data["note"]) >= {words.format("0.700", "0.760"), words.format("0.800", "0.830")}
    assert "<sup>a</sup> pooled" in to_markdown(two) and r"\textsuperscript{a} pooled" in to_latex(two)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("made", [ablation, effect])
def test_simulated_is_said_when_and_only_when_it_is(form: str, made) -> None:  # type: ignore[no-untyped-def]
    simulated, real = made(simulated=True), made(simulated=False)
    assert simulated.caption.startswith("Simulated data. ")
    assert "Simulated data." in FORMATS[form](simulated)
    assert "simulated" not in FORMATS[form](real).lower()


@pytest.mark.parametrize("seeds", [(0,), (3, 4)])
def test_values_are_means_over_seeds_and_captions_say_how_many(seeds: tuple[int, ...]) -> None:
    study = make_study(BINARY, seeds=seeds)
    metrics = make_metrics(scored(study), study)
    table = ablation(metrics, study)
    of_seeds = metrics[metrics["seed"].ne("mean") & metrics["fold"].eq("mean") & metrics["init"].eq("scratch")]
    assert table.body[0][2].text.startswith(f"{of_seeds['value'].mean():.3f} [") and len(of_seeds) == len(seeds)
    several = "3 folds and 2 seeds" in table.caption
    assert several == (len(seeds) == 2) and ("2 seeds" if several else "1 seed;") in table.caption


def test_caption_says_level_folds_interval_resamples_and_patients() -> None:
    text = ablation().caption
    for part in (
        "patient level",
        "3 folds",
        "1 seed",
        "95% BCa",
        "2,000 bootstrap resamples",
        "B-mode 90",
        "Study dummy",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("form", "escaped"),
    [
        ("md", r"a&lt;b &amp; \$x_1"),
        ("tex", r"a\textless{}b \& \$x\_1"),
        ("html", "a&lt;b &amp; $x_1"),
    ],
)
def test_hostile_names_are_escaped_wherever_they_stand(form: str, escaped: str) -> None:
    body = ((TableEntry(HOSTILE), TableEntry("0.500 [0.400, 0.600]", "a")),)
    table = Table((HOSTILE, "AUC"), body, 1, pd.DataFrame(), (("a", HOSTILE),), "hostile", HOSTILE)
    text = FORMATS[form](table)
    assert text.count(escaped) == 4 and HOSTILE not in text


@pytest.mark.parametrize("text", ["a|b", "[x](y)", "*bold*", "_em_", "`code`", "<script>", "back\\slash"])
def test_markdown_escape_leaves_no_active_character(text: str) -> None:
    escaped = escape_markdown(text)
    assert not re.search(r"(?<!\\)[|*`]|(?<!\\)_|<script|\]\((?!\\)", escaped)
    assert html.unescape(re.sub(r"\\(.)", r"\1", escaped)) == text


def test_names_of_backbones_stay_readable_in_markdown_and_latex_survives_every_special() -> None:
    assert escape_markdown("vit_small_patch16_224") == "vit_small_patch16_224"
    assert escape_latex("100% #1 {a} ~ ^ \\") == (
        r"100\% \#1 \{a\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "+0.010"), (-0.01, "\N{MINUS SIGN}0.010"), (-0.0004, "0.000"), (0.0, "0.000")]
)
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.00099, "< 0.001"), (0.001, "0.001"), (0.0494, "0.049"), (1.0, "1.000"), (np.nan, "not tested")]
)
def test_p_text(p: float, text: str) -> None:
    assert p_text(p) == text


def test_html_is_accessible_and_latex_rows_are_complete() -> None:
    table = ablation()
    page = to_page(table)
    assert page.count('scope="col"') == 5 and page.count('scope="row"') == 8
    assert '<html lang="en">' in page and 'charset="utf-8"' in page and "&lt;table" not in page
    latex = to_latex(table)
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 5 and {line.count("&") for line in rows} == {4}
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert latex.count(rule) == 1


def test_names_that_look_like_nothing_or_numbers_survive_the_file(tmp_path: Path) -> None:
    odd = METRICS.assign(init=METRICS["init"].replace({"scratch": "NA", "pretrained": "007"}))
    write_csv(odd, tmp_path / "metrics.csv")
    found = read_measurements(tmp_path / "metrics.csv")
    assert set(found["init"]) == {"NA", "007"}
    np.testing.assert_array_equal(found["value"], METRICS["value"])


def test_a_source_without_patients_says_so_in_every_caption(tmp_path: Path) -> None:
    source = FoldersSource(root=tmp_path, labels={"a": "a"}, modalities={"bmode": "b"}, patients_known=False)
    cohort = STUDY.cohort.model_copy(update={"reader": "folders", "folders": source})
    unknown = STUDY.model_copy(update={"cohort": cohort})
    for table in (ablation(METRICS, unknown), effect(EFFECTS, unknown)):
        assert "has no patient ids" in table.caption
    assert "has no patient ids" not in ablation().caption
