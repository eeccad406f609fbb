"""Laws of the metrics, written once over the table of all metrics."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sonogrid.evaluation.metrics import (
    AUCS,
    PLAIN,
    SMALLEST_P,
    auc_class,
    class_codes,
    mann_whitney,
    pool_patients,
    score_images,
)

CLASSES = ("benign", "lymphoma", "metastatic", "reactive")

Scored = tuple[np.ndarray, np.ndarray]
Metric = Callable[[np.ndarray, np.ndarray], float]
RANK: dict[str, Metric] = {
    **{name: lambda y, p, auc=auc: float(auc(*mann_whitney(y, p))) for name, auc in AUCS.items()},
    "roc_auc_class": lambda y, p: float(auc_class(*mann_whitney(y, p))[0]),
}
METRICS: dict[str, Metric] = RANK | PLAIN
NEED_EVERY_CLASS = ("roc_auc_ovo", "roc_auc_ovr", "balanced_accuracy", "f1_macro")
seeds = st.integers(0, 2**32 - 1)


@st.composite
def predictions(
    draw: st.DrawFn, n_classes: int | None = None, most_images: int = 3, equal_sizes: bool = False
) -> pd.DataFrame:
    """Images of one to eight patients a class, every class present."""
    number = draw(st.integers(2, len(CLASSES))) if n_classes is None else n_classes
    sizes = draw(st.lists(st.integers(1, 8), min_size=number, max_size=number))
    y = np.repeat(np.arange(number), sizes[0] if equal_sizes else sizes)
    rng = np.random.default_rng(draw(seeds))
    image = np.repeat(np.arange(len(y)), rng.integers(1, most_images + 1, size=len(y)))
    logits = draw(st.sampled_from([0.3, 1.0, 4.0])) * rng.normal(size=(len(image), number))
    if most_images == 1 and draw(st.booleans()):
        logits = logits.round()  # patients that tie
    table = pd.DataFrame(
        {
            "backbone": "tiny",
            "init": "scratch",
            "modality": "bmode",
            "fold": 0,
            "image_id": [f"I{k:03d}" for k in range(len(image))],
            "patient_id": [f"P{k:03d}" for k in image],
            "label": np.array(CLASSES)[y[image]],
        }
    )
    return table.assign(**{f"logit_{CLASSES[k]}": logits[:, k] for k in range(number)})


def classes_of(table: pd.DataFrame) -> list[str]:
    return [column.removeprefix("logit_") for column in table if column.startswith("logit_")]


def scored(table: pd.DataFrame, how: str = "log", level: str = "patient") -> Scored:
    """Labels as codes and probabilities of the patients, or of the images."""
    classes = classes_of(table)
    rows = score_images(table, classes) if level == "image" else pool_patients(table, classes, how)
    return class_codes(rows["label"], classes), rows[[f"p_{name}" for name in classes]].to_numpy()


def agree(first: Scored, second: Scored, metrics: Mapping[str, Metric] = METRICS, error: float = 1e-12) -> None:
    """Assert that every metric is the same for both."""
    for name, metric in metrics.items():
        assert metric(*first) == pytest.approx(metric(*second), abs=error, rel=0, nan_ok=True), name


@given(table=predictions(most_images=1))
def test_one_image_a_patient_gives_the_image_metric_exactly(table: pd.DataFrame) -> None:
    agree(scored(table), scored(table, level="image"), error=0.0)


@given(table=predictions(), times=st.integers(2, 5), how=st.sampled_from(["log", "mean"]))
def test_duplicating_every_image_changes_nothing(table: pd.DataFrame, times: int, how: str) -> None:
    often = pd.concat([table.assign(image_id=table["image_id"] + f"-{k}") for k in range(times)])
    agree(scored(often, how), scored(table, how))
    agree(scored(often, level="image"), scored(table, level="image"))


@given(table=predictions(), how=st.sampled_from(["log", "mean"]), seed=seeds)
def test_order_of_images_changes_nothing(table: pd.DataFrame, how: str, seed: int) -> None:
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    agree(scored(shuffled, how), scored(table, how), error=0.0)


@given(table=predictions(), seed=seeds)
def test_order_of_scored_rows_changes_nothing(table: pd.DataFrame, seed: int) -> None:
    y, p = scored(table)
    order = np.random.default_rng(seed).permutation(len(y))
    agree((y[order], p[order]), (y, p))


@given(table=predictions(), seed=seeds)
def test_order_of_classes_changes_nothing(table: pd.DataFrame, seed: int) -> None:
    y, p = scored(table)
    place = np.random.default_rng(seed).permutation(p.shape[1])
    permuted = np.empty_like(p)
    permuted[:, place] = p
    over_classes = {name: metric for name, metric in METRICS.items() if name != "roc_auc_class"}
    agree((place[y], permuted), (y, p), over_classes)


@given(table=predictions())
def test_every_metric_stays_in_its_range(table: pd.DataFrame) -> None:
    y, p = scored(table)
    highest = {"brier": 2.0, "log_loss": -np.log(SMALLEST_P)}
    for name, metric in METRICS.items():
        assert 0.0 <= metric(y, p) <= highest.get(name, 1.0), name


@given(table=predictions(n_classes=2))
def test_two_classes_make_every_auc_the_plain_auc(table: pd.DataFrame) -> None:
    y, p = scored(table)
    for name, metric in RANK.items():
        assert metric(y, p) == pytest.approx(roc_auc_score(y, p[:, 1]), abs=1e-12), name


@pytest.mark.parametrize(
    "increase", [lambda x: 2 * x + 1, np.arcsinh, lambda x: x**3 / 40 + x], ids=["affine", "arcsinh", "cubic"]
)
@given(table=predictions(n_classes=2, most_images=1))
def test_increasing_transform_of_a_binary_score_changes_no_auc(
    increase: Callable[[np.ndarray], np.ndarray], table: pd.DataFrame
) -> None:
    score = np.clip(table["logit_lymphoma"] - table["logit_benign"], -9, 9)
    before = table.assign(logit_benign=0.0, logit_lymphoma=score)
    after = table.assign(logit_benign=0.0, logit_lymphoma=increase(score))
    agree(scored(after), scored(before), RANK, error=0.0)


@given(table=predictions(equal_sizes=True))
def test_equal_class_sizes_make_one_vs_one_equal_one_vs_rest(table: pd.DataFrame) -> None:
    y, p = scored(table)
    assert RANK["roc_auc_ovo"](y, p) == pytest.approx(RANK["roc_auc_ovr"](y, p), abs=1e-12)


@given(table=predictions(), choice=st.integers(0, len(CLASSES) - 1))
def test_absent_class_leaves_the_value_undefined(table: pd.DataFrame, choice: int) -> None:
    y, p = scored(table)
    absent = choice % p.shape[1]
    for name in NEED_EVERY_CLASS:
        assert np.isnan(METRICS[name](y[y != absent], p[y != absent])), name
    assert np.isnan(auc_class(*mann_whitney(y[y != absent], p[y != absent]))[absent])
