"""Laws of the splits, for any cohort that can be split."""

import pandas as pd
from hypothesis import assume, given
from hypothesis import strategies as st

from sonogrid.config.splits import Splits
from sonogrid.splits import draw_corpus_inner, make_splits

IDS = st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=6)


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.DataFrame, Splits]:
    """Patients of two or three classes in up to three hospitals, images of one or two modalities, and folds."""
    k = draw(st.integers(2, 5))
    sizes = draw(st.lists(st.integers(k + 2, 14), min_size=2, max_size=3))
    ids = draw(st.lists(IDS, min_size=sum(sizes), max_size=sum(sizes), unique=True))
    hospitals = draw(st.lists(st.sampled_from("xyz"), min_size=sum(sizes), max_size=sum(sizes)))
    labels = [f"class{number}" for number, size in enumerate(sizes) for _ in range(size)]
    patients = pd.DataFrame({"patient_id": ids, "label": labels, "hospital": hospitals})
    images = pd.DataFrame({"image_id": ids, "patient_id": ids, "modality": "bmode"})
    return patients, images, Splits(folds=k, inner_fraction=draw(st.sampled_from((0.1, 0.2, 0.4))))


@given(cohorts(), st.integers(0, 2**32 - 1))
def test_folds_are_a_partition_by_patient(cohort: tuple[pd.DataFrame, pd.DataFrame, Splits], seed: int) -> None:
    patients, images, config = cohort
    splits = make_splits(patients, images, config, seed)
    assert len(splits) == len(patients) * config.folds
    for _, fold in splits.groupby("fold"):
        assert sorted(fold["patient_id"]) == sorted(patients["patient_id"])
    tests = splits[splits["part"] == "test"]
    assert sorted(tests["patient_id"]) == sorted(patients["patient_id"])
    label_of = patients.set_index("patient_id")["label"]
    present = splits.assign(label=splits["patient_id"].map(label_of)).groupby(["fold", "part"])["label"].nunique()
    assert len(present) == 3 * config.folds and (present == patients["label"].nunique()).all()


@given(cohorts(), st.integers(0, 2**32 - 1))
def test_sizes_classes_and_hospitals_are_balanced_within_one(
    cohort: tuple[pd.DataFrame, pd.DataFrame, Splits], seed: int
) -> None:
    patients, images, config = cohort
    splits = make_splits(patients, images, config, seed)
    tests = splits[splits["part"] == "test"].merge(patients, on="patient_id")
    for strata in ([], ["label"], ["label", "hospital"]):
        counts = tests.groupby(["fold", *strata]).size().reset_index(name="n")
        table = counts.pivot_table(index="fold", columns=strata, values="n", fill_value=0) if strata else counts["n"]
        spread = table.max() - table.min()
        assert (spread.max() if strata else spread) <= 1
    inner = splits[splits["part"] == "inner"].merge(patients, on="patient_id").groupby(["fold", "label"]).size()
    whole = splits[splits["part"] != "test"].merge(patients, on="patient_id").groupby(["fold", "label"]).size()
    assert ((inner - config.inner_fraction * whole).abs() <= 1).all()


@given(cohorts(), st.randoms(use_true_random=False))
def test_row_order_images_and_other_modalities_do_not_move_a_patient(
    cohort: tuple[pd.DataFrame, pd.DataFrame, Splits], random: object
) -> None:
    patients, images, config = cohort
    expected = make_splits(patients, images, config, 7)
    order = list(range(len(patients)))
    random.shuffle(order)  # type: ignore[attr-defined]
    more = pd.concat([images, images.assign(modality="cdfi", image_id="cdfi/" + images["image_id"])])
    pd.testing.assert_frame_equal(make_splits(patients.iloc[order], more.iloc[::-1], config, 7), expected)


@given(cohorts(), st.integers(0, 2**32 - 1))
def test_folds_do_not_depend_on_the_inner_fraction(
    cohort: tuple[pd.DataFrame, pd.DataFrame, Splits], seed: int
) -> None:
    patients, images, config = cohort
    assume(config.inner_fraction != 0.3)
    first = make_splits(patients, images, config, seed)
    second = make_splits(patients, images, config.model_copy(update={"inner_fraction": 0.3}), seed)
    assert ((first["part"] == "test") == (second["part"] == "test")).all()


@given(cohorts(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_inner_part_of_a_corpus_is_each_classes_share_and_leaves_a_training_part(
    cohort: tuple[pd.DataFrame, pd.DataFrame, Splits], seed: int, random: object
) -> None:
    patients, _, config = cohort
    inner = draw_corpus_inner(patients, config.inner_fraction, seed)
    order = list(range(len(patients)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert draw_corpus_inner(patients.iloc[order], config.inner_fraction, seed) == inner
    for _, ids in patients.groupby("label")["patient_id"]:
        held = len(inner & set(ids))
        assert 1 <= held < len(ids) and abs(held - config.inner_fraction * len(ids)) <= 1
