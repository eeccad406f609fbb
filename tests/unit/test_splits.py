"""Folds: known answers, official folds, and what is refused with which remedy."""

from pathlib import Path

import pandas as pd
import pytest

from sonogrid.config.splits import OfficialFolds, Splits
from sonogrid.files import write_csv
from sonogrid.problems import InputError
from sonogrid.splits import draw_corpus_inner, draw_folds, draw_inner, load_splits, make_splits, verify

BUSBRA = Path(__file__).parents[3] / "shared" / "data" / "busbra"


def people(*strata: tuple[str, str, int]) -> pd.DataFrame:
    """Patients from (class, hospital, number); ids are text that looks like numbers."""
    rows = [(label, hospital) for label, hospital, count in strata for _ in range(count)]
    table = pd.DataFrame(rows, columns=["label", "hospital"])
    return table.assign(patient_id=[f"{number:03d}" for number in range(len(table))])


def pictures(patients: pd.DataFrame, *modalities: str) -> pd.DataFrame:
    rows = [
        (f"{patient}/{modality}/{number}", patient, modality)
        for patient in patients["patient_id"]
        for modality in modalities or ("bmode",)
        for number in range(2)
    ]
    return pd.DataFrame(rows, columns=["image_id", "patient_id", "modality"])


def counts(splits: pd.DataFrame, patients: pd.DataFrame, part: str) -> pd.DataFrame:
    """Patients of a part: a row a fold, a column a class."""
    rows = splits[splits["part"] == part].merge(patients, on="patient_id")
    return rows.groupby(["fold", "label"]).size().unstack(fill_value=0)


PATIENTS = people(("benign", "north", 10), ("benign", "south", 3), ("malignant", "north", 4), ("malignant", "east", 7))


def test_counts_of_a_small_cohort() -> None:
    splits = make_splits(PATIENTS, pictures(PATIENTS), Splits(folds=3), seed=1)
    # 13 and 11 patients dealt in turn to 3 folds, the second class where the first one stopped.
    assert counts(splits, PATIENTS, "test").to_dict("list") == {"benign": [5, 4, 4], "malignant": [3, 4, 4]}
    # A fifth of the 8, 9, 9 and 8, 7, 7 that are left, rounded.
    assert counts(splits, PATIENTS, "inner").to_dict("list") == {"benign": [2, 2, 2], "malignant": [2, 1, 1]}
    assert splits.columns.tolist() == ["patient_id", "fold", "part"] and len(splits) == 24 * 3
    assert splits["fold"].dtype == "int64" and splits["fold"].is_monotonic_increasing
    assert splits["patient_id"].tolist() == PATIENTS["patient_id"].tolist() * 3


def test_hospitals_of_a_class_are_spread_over_the_folds() -> None:
    fold = PATIENTS["patient_id"].map(draw_folds(PATIENTS, 3, seed=5))
    table = PATIENTS.groupby(["label", "hospital", fold]).size().unstack(fill_value=0)
    assert (table.max(axis=1) - table.min(axis=1)).max() <= 1


def test_inner_part_takes_each_hospitals_share() -> None:
    training = people(("benign", "north", 20), ("benign", "south", 10), ("malignant", "north", 5))
    chosen = training[training["patient_id"].isin(draw_inner(training, 0.2, seed=3))]
    assert chosen.groupby(["label", "hospital"]).size().to_dict() == {
        ("benign", "north"): 4, ("benign", "south"): 2, ("malignant", "north"): 1
    }  # fmt: skip


def test_inner_part_of_a_corpus_is_drawn_by_the_same_rule() -> None:
    assert draw_corpus_inner(PATIENTS, 0.2, seed=3) == draw_inner(PATIENTS, 0.2, seed=3)
    assert draw_corpus_inner(PATIENTS.sample(frac=1.0, random_state=1), 0.2, seed=3) == draw_inner(PATIENTS, 0.2, 3)
    assert draw_corpus_inner(PATIENTS, 0.2, seed=4) != draw_inner(PATIENTS, 0.2, seed=3)


def test_corpus_with_classes_of_one_patient_names_all_of_them() -> None:
    corpus = people(("benign", "north", 4), ("lymphoma", "north", 1), ("normal", "east", 1))
    with pytest.raises(InputError) as caught:
        draw_corpus_inner(corpus, 0.2, seed=0)
    assert [problem.where for problem in caught.value.problems] == [
        "class 'lymphoma' of the corpus",
        "class 'normal' of the corpus",
    ]


def test_another_seed_draws_other_folds_and_the_same_seed_the_same() -> None:
    first, again, other = (draw_folds(PATIENTS, 3, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_folds_of_this_version_are_the_folds_of_every_version() -> None:
    # Computed once with hashlib and sorted alone; a change here makes a study's results impossible to repeat.
    tested = [patient for patient, fold in draw_folds(PATIENTS, 3, seed=0).items() if fold == 0]
    assert sorted(tested) == ["000", "001", "002", "009", "012", "015", "018", "023"]


def test_fewer_patients_in_a_class_than_folds_is_refused_by_name() -> None:
    patients = people(("benign", "north", 9), ("lymphoma", "north", 4), ("normal", "north", 1))
    with pytest.raises(InputError) as caught:
        make_splits(patients, pictures(patients), Splits(folds=5), seed=0)
    message = str(caught.value)
    assert "class 'lymphoma': has 4 patients, fewer than 5 folds" in message
    assert "Set splits.folds to 4 or less, or add patients" in message
    assert "class 'normal': has 1 patients, fewer than 5 folds" in message


def test_a_class_too_small_for_an_inner_part_is_refused_by_name() -> None:
    patients = people(("benign", "north", 9), ("rare", "north", 2))
    with pytest.raises(InputError) as caught:
        make_splits(patients, pictures(patients), Splits(folds=2), seed=0)
    assert "class 'rare' (2 patients): is missing from the train part of fold 0" in str(caught.value)


def test_a_modality_whose_training_patients_lack_a_class_is_refused() -> None:
    images = pictures(PATIENTS, "bmode", "cdfi")
    malignant = PATIENTS.loc[PATIENTS["label"] == "malignant", "patient_id"]
    # One malignant patient is left with Doppler: where it is tested, none is left to train on.
    thin = images[(images["modality"] != "cdfi") | ~images["patient_id"].isin(malignant[1:])]
    with pytest.raises(InputError, match="modality 'cdfi': has no image of class 'malignant' in the train part"):
        make_splits(PATIENTS, thin, Splits(folds=3), seed=0)


def test_a_class_missing_from_a_modalitys_test_part_alone_is_allowed() -> None:
    images = pictures(PATIENTS, "bmode", "cdfi")
    splits = make_splits(PATIENTS, images, Splits(folds=3), seed=0)
    tested = splits.loc[(splits["fold"] == 0) & (splits["part"] == "test"), "patient_id"]
    malignant = PATIENTS.loc[PATIENTS["label"] == "malignant", "patient_id"]
    gone = (images["modality"] == "cdfi") & images["patient_id"].isin(set(tested) & set(malignant))
    pd.testing.assert_frame_equal(make_splits(PATIENTS, images[~gone], Splits(folds=3), seed=0), splits)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda splits: splits.iloc[1:], r"do not hold every patient once in each of 3 folds \(000\)"),
        (lambda splits: pd.concat([splits, splits.iloc[:1]]), "once in each of 3 folds"),
        (lambda splits: splits.replace({"part": {"inner": "dev"}}), "parts other than train, inner, test"),
        (lambda splits: splits.assign(part="test"), "do not test exactly once patient 000"),
        (lambda splits: splits.replace({"part": {"inner": "train"}}), "is missing from the inner part of fold 0"),
    ],
)  # fmt: skip
def test_verify_refuses_splits_that_break_a_law(change: object, said: str) -> None:
    images = pictures(PATIENTS)
    splits = make_splits(PATIENTS, images, Splits(folds=3), seed=0)
    verify(splits, PATIENTS, images, 3)
    assert callable(change)
    with pytest.raises(InputError, match=said):
        verify(change(splits), PATIENTS, images, 3)


def test_splits_survive_their_file_with_ids_as_text(tmp_path: Path) -> None:
    patients = PATIENTS.assign(patient_id=["NA", "nan", "0.0", *PATIENTS["patient_id"][3:]])
    splits = make_splits(patients, pictures(patients), Splits(folds=3), seed=0)
    write_csv(splits, tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(load_splits(tmp_path / "splits.csv"), splits)


@pytest.mark.parametrize("content", [None, "patient_id,fold\na,0\n", "patient_id,fold,part\na,first,test\n"])
def test_a_missing_or_damaged_splits_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "splits.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"splits\.csv: .*Make the splits again"):
        load_splits(path)


def official(file: Path, images: pd.DataFrame, folds: pd.Series) -> Splits:
    """Write official folds for images, in an order of their own and with an image that nobody has."""
    table = pd.DataFrame({"Image": images["image_id"], "kFold": images["patient_id"].map(folds)})
    table = pd.concat([table[::-1], pd.DataFrame({"Image": ["unknown"], "kFold": ["99"]})])
    table.to_csv(file, index=False)
    return Splits(folds=3, official=OfficialFolds(file=file, image_id="Image", fold="kFold"))


def dealt(names: tuple[str, ...]) -> pd.Series:
    return pd.Series([names[number % 3] for number in range(24)], index=PATIENTS["patient_id"])


@pytest.mark.parametrize("names", [("9", "10", "11"), ("a", "b", "c")])
def test_official_folds_become_numbers_in_their_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    images, folds = pictures(PATIENTS), dealt(names)
    splits = make_splits(PATIENTS, images, official(tmp_path / "folds.csv", images, folds), seed=0)
    tested = splits[splits["part"] == "test"].set_index("patient_id")["fold"]
    assert tested.to_dict() == {patient: names.index(name) for patient, name in folds.items()}


def refusal(tmp_path: Path, images: pd.DataFrame, splits: Splits) -> str:
    with pytest.raises(InputError) as caught:
        make_splits(PATIENTS, images, splits, seed=0)
    return str(caught.value)


def test_official_folds_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    images, file = pictures(PATIENTS), tmp_path / "folds.csv"
    splits = official(file, images, dealt(("1", "2", "2")))
    assert f"{file}, column 'kFold': has 2 folds for this cohort (1, 2), splits.folds is 3" in refusal(
        tmp_path, images, splits
    )
    splits = official(file, images, dealt(("1", "2", "3")))
    file.write_text(file.read_text().replace("005/bmode/1,3", "005/bmode/1,1").replace("007/bmode/0,2\n", ""))
    message = refusal(tmp_path, images, splits)
    assert "puts images of patient '005' into folds 1, 3. Use folds that keep a patient together" in message
    assert "gives no fold to image_id '007/bmode/0'. Add the rows" in message
    file.write_text(file.read_text() + "000/bmode/0,2\n,3\n")
    message = refusal(tmp_path, images, splits)
    assert "puts image_id '000/bmode/0' into fold 2, an earlier row into 1. Leave one" in message
    assert "has an empty image or fold" in message
    file.write_text("Image,Fold\nx,1\n")
    assert "there is no column 'kFold'. Did you mean 'Fold'?" in refusal(tmp_path, images, splits)


@pytest.mark.skipif(not BUSBRA.is_dir(), reason="the shared real data are not there")
def test_the_official_folds_of_busbra_are_used_as_they_are() -> None:
    table = pd.read_csv(BUSBRA / "bus_data.csv", dtype=str)
    folds = pd.read_csv(BUSBRA / "5-fold-cv.csv", dtype={"ID": str})
    images = pd.DataFrame({"image_id": table["ID"], "patient_id": table["Case"], "modality": "bmode"})
    patients = table.drop_duplicates("Case").rename(
        columns={"Case": "patient_id", "Pathology": "label", "Device": "hospital"}
    )
    source = OfficialFolds(file=BUSBRA / "5-fold-cv.csv", image_id="ID", fold="kFold")
    splits = make_splits(patients, images, Splits(folds=5, official=source), seed=0)
    tested = splits[splits["part"] == "test"].set_index("patient_id")["fold"]
    assert (table["Case"].map(tested) == table.merge(folds, on="ID")["kFold"] - 1).all()
