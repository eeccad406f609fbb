import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn import metrics as sk

from sonogrid.evaluation.metrics import (
    _POOLED,
    ECE_BINS,
    METRICS,
    auc_class,
    auc_ovo,
    auc_ovr,
    class_codes,
    confusion,
    mann_whitney,
    pool_patients,
    score_images,
)
from sonogrid.evaluation.poolings import POOLINGS
from sonogrid.evaluation.primary import PRIMARY_POOLING
from sonogrid.problems import InputError

CLASSES = ("benign", "lymphoma", "metastatic")
TOY_Y = np.array([0, 1, 0, 2])
TOY_P = np.array([[0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.35, 0.5, 0.15], [0.0, 0.2, 0.8]])


def sines() -> tuple[np.ndarray, np.ndarray]:
    """60 rows of three classes made without random numbers, scored in R and scikit-learn."""
    i = np.arange(60)
    y = i % 3
    scores = [
        np.sin(1.7 * i) + 0.9 * (y == 0),
        np.cos(2.3 * i) + 0.7 * (y == 1),
        np.sin(0.9 * i + 1) + 0.5 * (y == 2),
    ]
    return y, softmax(np.stack(scores, axis=1), axis=1)


def random_case(seed: int, n: int = 90, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % n_classes)
    y[: n // 5] = 0
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), y] += 0.8
    return y, softmax(logits.round(1), axis=1)


def image_rows(rows: list[tuple[str, str, str, list[float]]], fold: int = 0) -> pd.DataFrame:
    """Predictions from (image, patient, label, logits)."""
    table = pd.DataFrame([row[:3] for row in rows], columns=["image_id", "patient_id", "label"])
    logits = np.array([row[3] for row in rows], dtype=float)
    table = table.assign(**{f"logit_{name}": logits[:, k] for k, name in enumerate(CLASSES)})
    return table.assign(backbone="tiny", init="scratch", modality="bmode", seed=0, fold=fold, part="test")


def test_toy_matches_published_values() -> None:
    counts, pairs = mann_whitney(TOY_Y, TOY_P)
    assert auc_ovo(counts, pairs) == pytest.approx(0.75)
    assert auc_ovr(counts, pairs) == pytest.approx(0.694444, abs=5e-7)


def test_toy_pairs_weighted_by_prevalence_match_published_value() -> None:
    counts, pairs = mann_whitney(TOY_Y, TOY_P)
    sizes = np.bincount(TOY_Y)
    a, b = np.triu_indices(3, k=1)
    of_pair = (counts[a, b] / pairs[a, b] + counts[b, a] / pairs[b, a]) / 2
    assert np.average(of_pair, weights=sizes[a] + sizes[b]) == pytest.approx(0.71875)


def test_sines_match_r_and_scikit_learn() -> None:
    tables = mann_whitney(*sines())
    assert auc_ovo(*tables) == pytest.approx(0.793333333333333, abs=1e-14)
    assert auc_ovr(*tables) == pytest.approx(0.793333333333333, abs=1e-14)
    assert auc_class(*tables) == pytest.approx([0.82125, 0.795, 0.76375], abs=1e-14)


def test_sines_with_mixed_columns_match_r() -> None:
    y, p = sines()
    assert auc_class(*mann_whitney(y, 0.7 * p + 0.3 * p[:, [1, 0, 2]]))[0] == pytest.approx(0.79625, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_auc_equals_scikit_learn_with_ties(seed: int) -> None:
    y, p = random_case(seed)
    for name, how in (("roc_auc_ovo", "ovo"), ("roc_auc_ovr", "ovr")):
        assert METRICS[name](y, p) == pytest.approx(sk.roc_auc_score(y, p, multi_class=how), abs=1e-12)
    for c, value in enumerate(METRICS["roc_auc_class"](y, p)):
        assert value == pytest.approx(sk.roc_auc_score(y == c, p[:, c]), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_weighted_auc_equals_scikit_learn_with_ties(seed: int) -> None:
    y, p = random_case(seed)
    weights = np.random.default_rng(seed).exponential(size=len(y))
    weights[::7] = 0.0
    of_class = [sk.roc_auc_score(y == c, p[:, c], sample_weight=weights) for c in range(3)]
    assert METRICS["roc_auc_class"](y, p, weights) == pytest.approx(of_class, abs=1e-12)
    ovr = sk.roc_auc_score(y, p, multi_class="ovr", sample_weight=weights)
    assert METRICS["roc_auc_ovr"](y, p, weights) == pytest.approx(ovr, abs=1e-12)
    of_pairs = [  # scikit-learn has no weights for one-vs-one itself
        sk.roc_auc_score(y[pair] == a, p[pair, a], sample_weight=weights[pair])
        for a in range(3)
        for b in range(3)
        for pair in [np.isin(y, (a, b))]
        if a != b
    ]
    assert METRICS["roc_auc_ovo"](y, p, weights) == pytest.approx(np.mean(of_pairs), abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_plain_metrics_equal_scikit_learn(n_classes: int, weighted: bool) -> None:
    y, p = random_case(7, n_classes=n_classes)
    chosen = p.argmax(axis=1)
    weights = np.random.default_rng(8).exponential(size=len(y)) if weighted else None
    assert confusion(y, p, weights) == pytest.approx(sk.confusion_matrix(y, chosen, sample_weight=weights), abs=1e-12)
    columns = p if n_classes > 2 else p[:, 1]
    for name, expected in {
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen, sample_weight=weights),
        "f1_macro": sk.f1_score(y, chosen, average="macro", sample_weight=weights),
        "log_loss": sk.log_loss(y, p, sample_weight=weights),
        "brier": sk.brier_score_loss(y, columns, scale_by_half=False, sample_weight=weights),
    }.items():
        assert METRICS[name](y, p, weights) == pytest.approx(expected, abs=1e-12), name


def test_entries_say_how_a_metric_is_called_and_read() -> None:
    assert [name for name, metric in METRICS.items() if name != metric.name] == []
    assert METRICS["roc_auc_ovo"].title(CLASSES) == "Macro one-vs-one ROC AUC"
    assert METRICS["roc_auc_ovo"].title(CLASSES[:2]) == "ROC AUC"
    assert METRICS["brier"].title(CLASSES[:2]) == "Brier score"
    y, p = random_case(5)
    perfect, uniform = np.eye(3)[y], np.full(p.shape, 1 / 3)
    for name, metric in METRICS.items():
        better = metric(y, perfect) - metric(y, p)
        assert (better > 0).all() if metric.higher_is_better else (better < 0).all(), name
    assert METRICS["log_loss"].title(CLASSES) == "Log loss (nats)" and METRICS["log_loss"].label == "log loss (nats)"
    assert [METRICS[name].label for name in ("roc_auc_ovo", "brier", "f1_macro")] == ["AUC", "Brier score", "macro F1"]
    assert METRICS["log_loss"](y, uniform) == pytest.approx(np.log(3))


def test_log_loss_of_a_sure_and_wrong_row_is_finite() -> None:
    assert METRICS["log_loss"](np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)


def test_ece_by_hand() -> None:
    # Ten rows are ten bins of one: the mean of |right - confidence|, rights 8 x 0.9 and wrongs 2 x 0.6.
    confidence = np.array([0.9] * 8 + [0.6] * 2) + np.arange(10) * 1e-9
    p = np.stack([confidence, 1 - confidence], axis=1)
    y = np.array([0] * 8 + [1] * 2)
    assert METRICS["ece"](y, p) == pytest.approx((8 * 0.1 + 2 * 0.6) / 10, abs=1e-7)
    # Twenty rows at one confidence share a bin: |accuracy - confidence|.
    p = np.tile([0.8, 0.2], (20, 1))
    y = np.array([0] * 13 + [1] * 7)
    assert METRICS["ece"](y, p) == pytest.approx(0.8 - 0.65)


def test_ece_shares_fifteen_rows_among_ten_bins() -> None:
    confidence = 0.6 + 0.01 * np.arange(15)
    y = np.arange(15) % 2  # every second row is wrong
    error = np.where(y == 0, 1.0, 0.0) - confidence
    twos, ones = error.reshape(5, 3)[:, :2], error.reshape(5, 3)[:, 2]  # bins of two rows and of one in turn
    expected = (np.abs(twos.sum(axis=1)).sum() + np.abs(ones).sum()) / 15
    assert METRICS["ece"](y, np.stack([confidence, 1 - confidence], axis=1)) == pytest.approx(expected)


def test_ece_is_about_zero_for_outcomes_drawn_from_p() -> None:
    rng = np.random.default_rng(3)
    p1 = rng.uniform(size=200_000)
    y = (rng.uniform(size=len(p1)) < p1).astype(int)
    assert METRICS["ece"](y, np.stack([1 - p1, p1], axis=1)) < 0.006
    assert ECE_BINS == 10


def test_large_logits_give_probabilities() -> None:
    rows = image_rows([("a", "P1", "benign", [1e4, 0.0, 0.0]), ("b", "P1", "benign", [0.0, np.log(2.0), 0.0])])
    by_log, by_mean = (pool_patients(rows, CLASSES, how) for how in ("log", "mean"))
    assert by_log[["p_benign", "p_lymphoma"]].to_numpy().tolist() == [[1.0, 0.0]]
    assert by_mean[["p_benign", "p_lymphoma"]].to_numpy() == pytest.approx(np.array([[0.625, 0.25]]))


def test_pooling_by_hand() -> None:
    rows = image_rows(
        [
            ("b", "P2", "benign", [0.0, 0.0, 0.0]),
            ("a", "P1", "lymphoma", list(np.log([0.8, 0.1, 0.1]))),
            ("c", "P1", "lymphoma", list(np.log([0.2, 0.4, 0.4]))),
        ]
    )
    by_log = pool_patients(rows, CLASSES)
    assert by_log["patient_id"].tolist() == ["P1", "P2"]
    assert by_log["n_images"].tolist() == [2, 1]
    assert by_log["label"].tolist() == ["lymphoma", "benign"]
    p = by_log[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert p[0] == pytest.approx(np.array([0.4, 0.2, 0.2]) / 0.8)  # geometric means .4 .2 .2, renormalised
    by_mean = pool_patients(rows, CLASSES, "mean")
    assert by_mean[[f"p_{name}" for name in CLASSES]].to_numpy()[0] == pytest.approx([0.5, 0.25, 0.25])


def test_pooling_keeps_cells_apart() -> None:
    rows = image_rows([("a", "P1", "benign", [1.0, 0.0, 0.0]), ("b", "P1", "benign", [0.0, 2.0, 0.0])])
    both = pd.concat([rows, rows.assign(modality="cdfi"), rows.assign(init="pretrained"), rows.assign(seed=1)])
    assert len(pool_patients(both, CLASSES)) == 4
    assert len(score_images(both, CLASSES)) == 8


def test_patient_with_two_labels_is_refused_with_every_name() -> None:
    rows = image_rows(
        [
            ("a", "P1", "benign", [1.0, 0.0, 0.0]),
            ("b", "P1", "lymphoma", [1.0, 0.0, 0.0]),
            ("c", "P2", "benign", [1.0, 0.0, 0.0]),
            ("d", "P3", "benign", [1.0, 0.0, 0.0]),
            ("e", "P3", "metastatic", [1.0, 0.0, 0.0]),
        ]
    )
    with pytest.raises(InputError) as caught:
        pool_patients(rows, CLASSES)
    assert [problem.where[-2:] for problem in caught.value.problems] == ["P1", "P3"]
    assert "benign, lymphoma" in str(caught.value)


def test_unknown_label_is_refused() -> None:
    with pytest.raises(InputError, match="'malignant' is not a class"):
        class_codes(pd.Series(["benign", "malignant"]), CLASSES)


def test_absent_class_says_which_pairs_are_missing() -> None:
    y, p = random_case(1)
    kept = y != 1
    counts, pairs = mann_whitney(y[kept], p[kept])
    assert np.isnan(auc_ovo(counts, pairs))
    assert np.isnan(auc_class(counts, pairs)).tolist() == [False, True, False]
    reason = "not defined: no pair to compare benign with lymphoma, lymphoma with metastatic"
    assert METRICS["roc_auc_ovo"].why_undefined(y[kept], np.zeros(kept.sum()), CLASSES) == reason
    assert METRICS["f1_macro"].why_undefined(y[kept], np.zeros(kept.sum()), CLASSES) == "not defined: no lymphoma"
    # In two folds: a rank metric adds up their pairs, any other needs every class in both.
    fold = np.where(kept, 1, 0)
    reason = "not defined: no pair to compare benign with lymphoma, lymphoma with metastatic"
    assert METRICS["roc_auc_ovo"].why_undefined(y, fold, CLASSES) == reason
    reason = "not defined: no benign, lymphoma, metastatic in one of the folds"
    assert METRICS["f1_macro"].why_undefined(y, fold, CLASSES) == reason


def test_fold_mean_weighs_by_pairs_in_a_rank_metric_and_otherwise_by_rows() -> None:
    folds = [random_case(1, n=40), random_case(2, n=95)]
    y, p = np.concatenate([y for y, _ in folds]), np.concatenate([p for _, p in folds])
    fold = np.repeat([4, 2], [40, 95])
    benign = [y == 0 for y, _ in folds]
    auc = np.average(
        [METRICS["roc_auc_class"](*one)[0] for one in folds], weights=[one.sum() * (~one).sum() for one in benign]
    )
    assert METRICS["roc_auc_class"].fold_mean(y, p, fold)[0] == pytest.approx(auc, abs=1e-12)
    assert METRICS["roc_auc_class"].weights_of_folds == "number of case pairs"
    for name in ("balanced_accuracy", "ece"):
        mean = np.average([METRICS[name](*one) for one in folds], weights=[40, 95])
        assert METRICS[name].fold_mean(y, p, fold) == pytest.approx(mean, abs=1e-12)
        assert METRICS[name].weights_of_folds == "number of patients"


def test_added_tables_weight_folds_by_case_pairs() -> None:
    folds = [random_case(1, n=40), random_case(2, n=95)]
    tables = [mann_whitney(*fold) for fold in folds]
    summed = [sum(table[k] for table in tables) for k in (0, 1)]
    pair = [sk.roc_auc_score(y[y != 2], p[y != 2, 1]) for y, p in folds]
    weights = [(y == 0).sum() * (y == 1).sum() for y, _ in folds]
    assert summed[0][1, 0] / summed[1][1, 0] == pytest.approx(np.average(pair, weights=weights), abs=1e-12)


def test_random_offsets_of_folds_lower_the_pooled_auc_only() -> None:
    rng = np.random.default_rng(11)
    distance = np.sqrt(2) * norm.ppf(0.8)
    pooled, means = [], []
    for _ in range(150):
        y = np.tile([0, 1], 300)
        fold = np.arange(600) // 120
        score = rng.normal(size=600) + distance * y
        shifted = score + rng.normal(size=5)[fold]
        p = softmax(np.stack([np.zeros(600), shifted], axis=1), axis=1)
        tables = [mann_whitney(y[fold == f], p[fold == f]) for f in range(5)]
        means.append(auc_ovo(sum(table[0] for table in tables), sum(table[1] for table in tables)))
        pooled.append(auc_ovo(*mann_whitney(y, p)))
    assert np.mean(means) == pytest.approx(0.80, abs=0.005)
    assert np.mean(pooled) == pytest.approx(0.74, abs=0.01)


def test_every_pooling_has_words_and_a_function():
    assert set(POOLINGS) == set(_POOLED) and PRIMARY_POOLING in POOLINGS
