"""Laws of the metrics, written once over the table of all metrics."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sonogrid.evaluation.intervals import Resamples, pair_tables, resampled
from sonogrid.evaluation.metrics import METRICS, SMALLEST_P, class_codes, pool_patients, score_images

CLASSES = ("benign", "lymphoma", "metastatic", "reactive")

Scored = tuple[np.ndarray, np.ndarray]
RANK = [name for name, metric in METRICS.items() if metric.of_pairs is not None]
NEED_EVERY_CLASS = ("roc_auc_ovo", "roc_auc_ovr", "balanced_accuracy", "f1_macro")
seeds = st.integers(0, 2**32 - 1)


@st.composite
def predictions(
    draw: st.DrawFn, n_classes: int | None = None, most_images: int = 3, equal_sizes: bool = False
) -> pd.DataFrame:
    """Images of one to eight patients per class, every class present."""
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
            "seed": 0,
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


def agree(first: Scored, second: Scored, metrics: Iterable[str] = tuple(METRICS), error: float = 1e-12) -> None:
    """Assert that every metric is the same for both."""
    for name in metrics:
        expected = METRICS[name](*second)
        assert METRICS[name](*first) == pytest.approx(expected, abs=error, rel=0, nan_ok=True), name


@given(table=predictions(most_images=1))
def test_one_image_per_patient_gives_the_image_metric_exactly(table: pd.DataFrame) -> None:
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
    for name, metric in METRICS.items():
        values = metric(place[y], permuted)
        expected = metric(y, p)
        assert (values[place] if metric.per_class else values) == pytest.approx(expected, abs=1e-12, rel=0), name


@given(table=predictions(), seed=seeds, folds=st.integers(1, 3))
def test_whole_weights_are_repeated_rows(table: pd.DataFrame, seed: int, folds: int) -> None:
    y, p = scored(table)
    rng = np.random.default_rng(seed)
    fold, times = rng.integers(0, folds, len(y)), rng.integers(0, 4, len(y))
    kept = np.isin(fold, fold[times > 0])  # a fold without weight is a value that is not defined, not a fold less
    y, p, fold, times = y[kept], p[kept], fold[kept], times[kept]
    rows = np.repeat(np.arange(len(y)), times)
    for name, metric in METRICS.items() if len(rows) else ():
        weighted, repeated = metric(y, p, times.astype(float)), metric(y[rows], p[rows])
        assert weighted == pytest.approx(repeated, abs=1e-12, rel=0, nan_ok=True), name
        weighted = metric.fold_mean(y, p, fold, times.astype(float))
        repeated = metric.fold_mean(y[rows], p[rows], fold[rows])
        assert weighted == pytest.approx(repeated, abs=1e-12, rel=0, nan_ok=True), name


@given(table=predictions(), seed=seeds)
def test_leading_axes_are_one_sample_after_the_other(table: pd.DataFrame, seed: int) -> None:
    y, p = scored(table)
    rng = np.random.default_rng(seed)
    fold = rng.integers(0, 2, len(y))
    weights = rng.integers(0, 3, (2, 3, len(y))).astype(float)
    for name, metric in METRICS.items():
        shape = (2, 3, p.shape[1]) if metric.per_class else (2, 3)
        for compute in (metric, lambda y, p, w, metric=metric: metric.fold_mean(y, p, fold, w)):
            together = compute(y, p, weights)
            assert together.shape == shape, name
            for k in np.ndindex(2, 3):
                assert together[k] == pytest.approx(compute(y, p, weights[k]), abs=1e-12, rel=0, nan_ok=True), name


@given(table=predictions(), seed=seeds, factor=st.sampled_from([0.25, 0.5, 4.0]))
def test_scale_of_weights_changes_nothing(table: pd.DataFrame, seed: int, factor: float) -> None:
    y, p = scored(table)
    weights = np.random.default_rng(seed).exponential(size=len(y))
    for name, metric in METRICS.items():
        assert metric(y, p, factor * weights) == pytest.approx(metric(y, p, weights), abs=1e-12, nan_ok=True), name


@given(
    n=st.integers(2, 14),
    n_classes=st.integers(2, 4),
    folds=st.integers(1, 3),
    tied=st.booleans(),
    seed=seeds,
)
def test_short_cut_of_aucs_is_the_general_bootstrap(n: int, n_classes: int, folds: int, tied: bool, seed: int) -> None:
    """With ties, several folds, classes that a fold or the cohort lacks, and patients without the modality."""
    rng = np.random.default_rng(seed)
    cohort = n + int(rng.integers(0, 4))
    position = rng.permutation(cohort)[:n]
    y, fold = rng.integers(0, n_classes, n), rng.integers(0, folds, n)
    p = rng.dirichlet(np.ones(n_classes), n)
    p = p.round(1) if tied else p
    counts = rng.multinomial(cohort, np.full(cohort, 1 / cohort), size=9).astype(float)
    resamples = Resamples(np.arange(cohort).astype(object), np.zeros(cohort, dtype=int), counts)
    tables = pair_tables(y, p, fold, position, resamples)
    for name in RANK:
        metric = METRICS[name]
        assert metric.of_pairs is not None
        short_cut = metric.of_pairs(tables.counts, tables.pairs)
        general = resampled(lambda w, metric=metric: metric.fold_mean(y, p, fold, w), position, resamples)
        assert short_cut == pytest.approx(general, abs=1e-12, rel=0, nan_ok=True), name


@given(table=predictions())
def test_every_metric_stays_in_its_range(table: pd.DataFrame) -> None:
    y, p = scored(table)
    highest = {"brier": 2.0, "log_loss": -np.log(SMALLEST_P)}
    for name, metric in METRICS.items():
        values = metric(y, p)
        assert ((values >= 0.0) & (values <= highest.get(name, 1.0))).all(), name


@given(table=predictions(n_classes=2))
def test_two_classes_make_every_auc_the_plain_auc(table: pd.DataFrame) -> None:
    y, p = scored(table)
    for name in RANK:
        assert METRICS[name](y, p) == pytest.approx(roc_auc_score(y, p[:, 1]), abs=1e-12), name


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
    assert METRICS["roc_auc_ovo"](y, p) == pytest.approx(METRICS["roc_auc_ovr"](y, p), abs=1e-12)


@given(table=predictions(), choice=st.integers(0, len(CLASSES) - 1))
def test_absent_class_leaves_the_value_undefined(table: pd.DataFrame, choice: int) -> None:
    y, p = scored(table)
    absent = choice % p.shape[1]
    without = (y != absent).astype(float)
    for name in NEED_EVERY_CLASS:
        assert np.isnan(METRICS[name](y[y != absent], p[y != absent])), name
        assert np.isnan(METRICS[name](y, p, without)), name
    assert np.isnan(METRICS["roc_auc_class"](y[y != absent], p[y != absent])[absent])
