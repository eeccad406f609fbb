"""What is missing or does not fit is told with its numbers, once, and only where it is so."""

from unit.audit.audit_study import Shot, cohort_of, scene, splits_of

from sonogrid.audit.coverage import absences, disagreements, gaps_in_folds, refused_files
from sonogrid.problems import Problem

CLASSES = ("benign", "malignant")
PICTURE = scene(0)


def shot(patient: str, label: str = "benign", modality: str = "bmode", **more: object) -> Shot:
    return Shot(f"{patient}/{modality}", patient, label, PICTURE, modality, **more)  # type: ignore[arg-type]


def test_patients_without_a_modality_are_counted_by_class() -> None:
    shots = [shot("a"), shot("b"), shot("c", "malignant"), shot("a", modality="cdfi")]
    (found,) = absences(cohort_of(shots), ("bmode", "cdfi"), CLASSES)
    assert found.what == "2 of 3 patients have no cdfi (1 of 2 benign, 1 of 1 malignant)"
    assert (found.kind, found.severity, found.patients) == ("missing_modality", "note", ("b", "c"))


def test_refused_files_are_counted() -> None:
    assert refused_files(cohort_of([shot("a")])) == []
    (found,) = refused_files(cohort_of([shot("a")], refused=(Problem("x", "y", "z"),) * 3), "pretrained")
    assert found.what == "3 files of the corpus of pretrained could not be used, 1 pictures were"


def test_a_device_that_differs_between_modalities_is_told_for_the_patient() -> None:
    shots = [shot(name, modality=modality, device="A") for name in "abcd" for modality in ("bmode", "cdfi")]
    assert disagreements(cohort_of(shots)) == []
    shots[1] = shot("a", modality="cdfi", device="B")
    (found,) = disagreements(cohort_of(shots))
    assert (found.kind, found.patients) == ("modalities_differ_in_device", ("a",))
    assert found.what == "has modalities of different devices: bmode A, cdfi B"
    assert found.images == ("a/bmode", "a/cdfi")


def test_devices_that_differ_in_most_patients_are_told_once() -> None:
    shots = [shot(name, modality=modality, device=modality) for name in "abcd" for modality in ("bmode", "cdfi")]
    (found,) = disagreements(cohort_of(shots))
    assert found.what == "4 of 4 patients have modalities of different devices"


def test_two_devices_in_every_modality_are_no_disagreement() -> None:
    shots = [
        Shot(f"{modality}{device}", "a", "benign", PICTURE, modality, device=device)
        for modality in ("bmode", "cdfi")
        for device in "AB"
    ]
    assert disagreements(cohort_of(shots)) == []


def test_a_scale_that_differs_more_than_usual() -> None:
    # cdfi is shown half as large in all patients, in one of them a tenth as large.
    scale = {"a": 0.2, "b": 0.2, "c": 0.2, "d": 1.0}
    shots = [shot(name, mm_per_pixel=0.1) for name in scale]
    shots += [shot(name, modality="cdfi", mm_per_pixel=mm) for name, mm in scale.items()]
    (found,) = disagreements(cohort_of(shots))
    assert (found.kind, found.patients, found.measures) == ("modalities_differ_in_scale", ("d",), {"ratio": 5.0})
    assert "bmode 0.1, cdfi 1" in found.what


def test_folds_that_lack_a_class() -> None:
    names = "abcdefgh"
    shots = [shot(name, CLASSES[place // 4]) for place, name in enumerate(names)]
    assert gaps_in_folds(cohort_of(shots), splits_of(shots), CLASSES) == []
    # Of cdfi there are only a (benign, test fold 0) and h (malignant, test fold 1).
    more = [*shots, shot("a", modality="cdfi"), shot("h", "malignant", modality="cdfi")]
    splits = splits_of(more)
    found = {one.key: one for one in gaps_in_folds(cohort_of(more), splits, CLASSES)}
    assert found["cdfi", "test", "benign"].severity == "note"
    assert "class benign in the test part of fold 1" in found["cdfi", "test", "benign"].what
    assert found["cdfi", "train", "benign"].severity == "stop"
    assert all(key[0] == "cdfi" for key in found)


def test_folds_that_lack_a_hospital_or_a_device() -> None:
    shots = [shot(name, CLASSES[place % 2], device="A") for place, name in enumerate("abcdefgh")]
    hospitals = dict.fromkeys("abcdefg", "North") | {"h": "South"}
    (found,) = gaps_in_folds(cohort_of(shots, hospitals), splits_of(shots), CLASSES[:0])
    assert found.kind == "fold_lacks_hospital" and found.severity == "note"
    # h stands eighth: tested in fold 1, and in fold 0 in the inner part (every second of the others, from b on).
    assert found.what == (
        "hospital South (1 patients) is missing from the train part of fold 0, 1 and the test part of fold 0"
    )
    shots[0] = shot("a", device="B")
    kinds = {one.kind for one in gaps_in_folds(cohort_of(shots), splits_of(shots), CLASSES[:0])}
    assert kinds == {"fold_lacks_device"}
