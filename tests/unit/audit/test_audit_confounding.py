"""What tells the class apart from the tissue: known AUCs, an honest test, and the threshold that stops."""

import numpy as np
import pandas as pd
import pytest
from unit.audit.audit_study import Shot, cohort_of, scene, stores_of

from sonogrid.audit.confounding import as_levels, association, confounders

CLASSES = ("benign", "malignant")


def labelled(labels: list[str]) -> pd.Series:
    return pd.Series(labels, index=[f"p{k:03}" for k in range(len(labels))])


def in_turn(labels: pd.Series, folds: int = 2) -> dict[str, int]:
    """Folds that split every class evenly."""
    place = labels.groupby(labels).cumcount()
    return dict(zip(labels.index, (place % folds).astype(int), strict=True))


def test_a_level_that_is_the_class_has_auc_one_and_the_smallest_p() -> None:
    labels = labelled(["benign", "malignant"] * 20)
    found = association(labels.map({"benign": "A", "malignant": "B"}), labels, in_turn(labels), CLASSES, 0, 199)
    assert found is not None
    assert (found.auc, found.p, found.patients, found.levels) == (1.0, 1 / 200, 40, 2)


def test_auc_by_hand() -> None:
    # In each fold: A has 6 benign and 2 malignant, B 2 and 6. Both folds learn that A is the more benign.
    labels = labelled((["benign"] * 6 + ["malignant"] * 2 + ["benign"] * 2 + ["malignant"] * 6) * 2)
    levels = pd.Series((["A"] * 8 + ["B"] * 8) * 2, index=labels.index)
    fold = {patient: place // 16 for place, patient in enumerate(labels.index)}
    found = association(levels, labels, fold, CLASSES, 0, 99)
    # P(benign scored above malignant) + ties / 2 = (6 * 6 + (6 * 2 + 2 * 6) / 2) / 64.
    assert found is not None and found.auc == pytest.approx((36 + 12) / 64)


def test_three_classes_average_the_three_pairs_by_hand() -> None:
    # X alone is told: pairs with X have AUC 1, the pair Y and Z has 1/2.
    labels = labelled(["X", "Y", "Z"] * 10)
    levels = labels.map({"X": "A", "Y": "B", "Z": "B"})
    found = association(levels, labels, in_turn(labels), ("X", "Y", "Z"), 0, 99)
    assert found is not None and found.auc == pytest.approx((1 + 1 + 0.5) / 3)


def test_p_values_of_no_effect_are_uniform() -> None:
    labels = labelled(["benign"] * 30 + ["malignant"] * 30)
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        levels = pd.Series(rng.choice(list("ABC"), 60), index=labels.index)
        found = association(levels, labels, in_turn(labels), CLASSES, int(rng.integers(1 << 30)), 99)
        assert found is not None
        p.append(found.p)
    # Binomial (200, 0.1): 20 expected, 35 is beyond 3.5 standard deviations.
    assert sum(value <= 0.1 for value in p) < 35
    assert 0.4 < np.mean(p) < 0.65


def test_what_other_folds_have_not_seen_tells_nothing() -> None:
    # Every level is two patients of one class and one fold: perfect by heart, worthless for new patients.
    labels = labelled(["benign", "benign", "malignant", "malignant"] * 10)
    levels = pd.Series([f"level {place // 2}" for place in range(40)], index=labels.index)
    fold = {patient: place // 20 for place, patient in enumerate(labels.index)}
    found = association(levels, labels, fold, CLASSES, 0, 99)
    assert found is not None and found.auc == 0.5 and found.p > 0.5


def test_nothing_to_measure() -> None:
    labels = labelled(["benign", "malignant"] * 5)
    one_level = pd.Series("A", index=labels.index)
    assert association(one_level, labels, in_turn(labels), CLASSES, 0, 9) is None
    assert association(one_level.iloc[:0], labels, in_turn(labels), CLASSES, 0, 9) is None
    apart = {patient: place for place, patient in enumerate(labels.index)}
    levels = pd.Series(list("AB") * 5, index=labels.index)
    assert association(levels, labels, apart, CLASSES, 0, 9) is None


def test_levels_are_shared_values_and_quantiles_of_the_rest() -> None:
    numbers = pd.Series([7.0] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0])
    levels = as_levels(numbers)
    assert levels.tolist() == ["7.0"] * 5 + [f"about quantile {k}" for k in (1, 2, 3, 4, 5)]


def study(patients: int, device_of: dict[str, str]) -> list[Shot]:
    labels = [CLASSES[k % 2] for k in range(patients)]
    return [
        Shot(f"i{k:03}", f"p{k:03}", label, scene(0), device=device_of[label] if k % 10 < 8 else "C")
        for k, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("patients", "devices", "severity"),
    [
        (60, {"benign": "A", "malignant": "B"}, "stop"),
        (6, {"benign": "A", "malignant": "B"}, "note"),
        (60, {"benign": "A", "malignant": "A"}, None),
    ],
)
def test_a_device_that_tells_the_class(patients: int, devices: dict[str, str], severity: str | None) -> None:
    shots = study(patients, devices)
    cohort = cohort_of(shots)
    fold = in_turn(cohort.patients.set_index("patient_id")["label"])
    found = confounders(cohort, stores_of(shots), fold, CLASSES, 0)
    assert [(one.measures["predictor"], one.severity) for one in found] == (
        [("device", severity)] if severity is not None else []
    )
    if severity == "stop":
        assert float(found[0].measures["auc"]) > 0.9 and "n = 60" in found[0].what
    if severity == "note":
        assert "too few patients to say" in found[0].what


@pytest.mark.parametrize(("alike", "severity"), [(70, "stop"), (69, "note")])
def test_an_auc_of_070_stops(alike: int, severity: str) -> None:
    # In each of two folds: North has `alike` of 100 benign and 100 - alike malignant patients, South the others.
    # P(benign scored above malignant) + ties / 2 = (a * a + (2 * a * (100 - a)) / 2) / 100^2 = a / 100.
    shots, hospitals, fold = [], {}, {}
    for k in range(400):
        name, label, place = f"p{k:03}", CLASSES[k % 2], k // 2 % 100
        shots.append(Shot(name, name, label, scene(0)))
        hospitals[name] = "North" if (place < alike) == (label == "benign") else "South"
        fold[name] = k // 200
    (found,) = confounders(cohort_of(shots, hospitals), stores_of(shots), fold, CLASSES, 0)
    assert (found.measures["predictor"], found.measures["auc"], found.severity) == ("hospital", alike / 100, severity)


@pytest.mark.parametrize("predictor", ["device", "mm_per_pixel"])
def test_what_is_known_of_one_class_only_tells_it(predictor: str) -> None:
    known = {"device": "X"} if predictor == "device" else {"mm_per_pixel": 0.05}
    shots = [
        Shot(f"i{k:03}", f"p{k:03}", CLASSES[k % 2], scene(0), **(known if k % 2 == 0 else {}))  # type: ignore[arg-type]
        for k in range(40)
    ]
    cohort = cohort_of(shots)
    fold = in_turn(cohort.patients.set_index("patient_id")["label"])
    (found,) = confounders(cohort, stores_of(shots), fold, CLASSES, 0)
    assert (found.measures["predictor"], found.measures["auc"], found.severity) == (predictor, 1.0, "stop")
    assert "n = 40, 2 levels" in found.what


def test_hospital_size_and_scale_are_looked_at() -> None:
    shots = [
        Shot(
            f"i{k:03}",
            f"p{k:03}",
            CLASSES[k % 2],
            scene(0),
            mm_per_pixel=(0.1, 0.2)[k % 2],
            width=(400, 800)[k % 2],
        )
        for k in range(40)
    ]
    cohort = cohort_of(shots, {f"p{k:03}": "AB"[k % 2] for k in range(40)})
    fold = in_turn(cohort.patients.set_index("patient_id")["label"])
    found = confounders(cohort, stores_of(shots), fold, CLASSES, 0)
    assert [one.measures["predictor"] for one in found] == ["hospital", "image_size", "mm_per_pixel"]
    assert {one.severity for one in found} == {"stop"}
