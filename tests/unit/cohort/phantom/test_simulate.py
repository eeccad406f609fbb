"""The simulated cohort: tables, files, independence of what should not matter, and truth of what is written."""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import chi2_contingency, kruskal

from sonogrid.cohort.manifest import MEASURED_COLUMNS
from sonogrid.cohort.phantom.simulate import draw_patients, elasticity_score, quota_sequence, simulate
from sonogrid.cohort.phantom.traits import NECK, THYROID
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.readers import PhantomSource
from sonogrid.images.examine import assemble
from sonogrid.problems import InputError

MODALITIES = ("bmode", "cdfi", "elastography")


def make(folder, **changes):
    wanted = {"patients": 6, "classes": NECK.classes, "modalities": MODALITIES, "seed": 3, "workers": 1} | changes
    spec = PhantomSource(organ=wanted.get("organ", "neck"), patients=wanted["patients"], missing=0.2)
    settings = config(spec, wanted["classes"], wanted["modalities"])
    reading = simulate(settings, wanted["seed"], folder, wanted["workers"])
    cohort = assemble(settings, reading, folder, 1)
    numbers = {"age": int, "long_axis_mm": float, "short_axis_mm": float, "elasticity_score": int}
    return cohort.patients.astype(numbers), cohort.images, cohort.ceiling


def config(spec, classes, modalities):
    known = {"classes": classes, "modalities": modalities, "reader": "phantom", "burned_in_text": "keep"}
    # Built without checks: what the schema refuses, the simulator must refuse too.
    return CohortConfig.model_construct(**known, phantom=spec, layouts={}, dual_view="split", pseudonym_key=None)


def hashes(images):
    return dict(zip(images.image_id, images.sha256, strict=True))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make(tmp_path_factory.mktemp("neck"), patients=9)


@pytest.fixture(scope="module")
def many():
    return draw_patients(PhantomSource(patients=3000, missing=0.1), MODALITIES, 11)


def test_tables_have_the_columns_of_the_contract(cohort):
    patients, images, _ = cohort
    assert list(patients.columns) == [
        *("patient_id", "label", "hospital", "simulated", "age", "sex", "level", "long_axis_mm", "short_axis_mm"),
        *("shape", "margin", "hilum", "cdfi_pattern", "elasticity_score"),
        *MEASURED_COLUMNS,
    ]
    assert list(images.columns) == [
        *(
            "image_id",
            "patient_id",
            "modality",
            "path",
            "decoder",
            "decoding",
            "sha256",
            "width",
            "height",
            "mask_path",
        ),
        *("scan_x0", "scan_y0", "scan_x1", "scan_y1", "masked", "mm_per_pixel_x", "mm_per_pixel_y"),
        *("device", "simulated"),
    ]
    assert patients.simulated.all() and images.simulated.all()
    assert patients.patient_id.is_monotonic_increasing and patients.patient_id.is_unique
    assert images.image_id.is_monotonic_increasing and images.image_id.is_unique
    assert set(images.patient_id) == set(patients.patient_id)
    assert (images.image_id == images.patient_id + "-" + images.modality + "-" + images.image_id.str[-1]).all()
    assert patients.patient_id[0] == "sim0001"


def test_files_are_what_the_manifest_says(cohort):
    for row in cohort[1].itertuples():
        assert hashlib.sha256(Path(row.path).read_bytes()).hexdigest() == row.sha256
        with Image.open(row.path) as picture, Image.open(row.mask_path) as mask:
            assert picture.size == mask.size == (row.width, row.height)
            assert (picture.mode, mask.mode) == ("RGB", "L")
        assert 0 <= row.scan_x0 < row.scan_x1 <= row.width
        assert 0 <= row.scan_y0 < row.scan_y1 <= row.height


def test_same_seed_same_bytes_whatever_the_workers_or_the_cohort(cohort, tmp_path):
    again = hashes(make(tmp_path / "spawned", workers=2)[1])
    larger = hashes(cohort[1])
    assert again == {image_id: larger[image_id] for image_id in again}
    assert len(set(again.values())) == len(again)
    assert again == {key: value for key, value in larger.items() if key < "sim0007"}


def test_other_seed_and_other_modalities(cohort, tmp_path):
    larger = hashes(cohort[1])
    fewer = hashes(make(tmp_path / "bmode", modalities=("bmode",))[1])
    shared = fewer.keys() & larger.keys()
    assert shared and all(fewer[image_id] == larger[image_id] for image_id in shared)
    assert len({image_id[:7] for image_id in fewer}) == 6
    other = hashes(make(tmp_path / "seed", modalities=("bmode",), seed=4)[1])
    assert not set(other.values()) & set(fewer.values())


def test_advance_is_called_once_a_patient_and_names_none(tmp_path):
    seen = []
    spec = PhantomSource(patients=6, missing=0.0)
    only_bmode = config(spec, NECK.classes, ("bmode",))
    simulate(only_bmode, 1, tmp_path, 1, lambda note="", steps=1: seen.append(note))
    assert seen == [""] * 6


def test_ceiling_counts_the_patients_who_have_the_modality(cohort):
    patients, images, ceiling = cohort
    assert list(ceiling) == list(MODALITIES)
    for modality, entry in ceiling.items():
        assert entry["population_n"] == 20_000
        assert entry["cohort_n"] == images.loc[images.modality == modality, "patient_id"].nunique()
        assert entry["cohort_auc"] is None or 0.5 <= entry["cohort_auc"] <= 1.0
    assert ceiling["bmode"]["population_auc"] < ceiling["cdfi"]["population_auc"]
    assert ceiling["cdfi"]["population_auc"] < ceiling["elastography"]["population_auc"]
    assert len(patients) == 9


@pytest.mark.parametrize("n", [6, 7, 20, 120, 121])
def test_class_counts_are_the_shares(n):
    shares = (0.40, 0.25, 0.35)
    counts = np.bincount(quota_sequence(shares, n), minlength=3)
    assert counts.sum() == n
    assert (np.abs(counts - n * np.array(shares)) < 1).all()


def test_120_patients_are_48_30_42():
    labels = Counter(patient.y for patient in draw_patients(PhantomSource(patients=120), MODALITIES, 0))
    assert labels == {0: 48, 1: 30, 2: 42}


def test_six_patients_come_from_three_hospitals():
    patients = draw_patients(PhantomSource(patients=6), MODALITIES, 0)
    assert {patient.scanner.hospital for patient in patients} == {"north", "harbour", "valley"}


def test_missing_modalities_and_numbers_of_images(many):
    for modality in MODALITIES:
        # Every modality missing has probability .1 ** 3; one of the three is then kept.
        share = np.mean([modality not in patient.images for patient in many])
        assert share == pytest.approx(0.1 - 0.1**3 / 3, abs=0.02)
        counts = Counter(patient.images[modality] for patient in many if modality in patient.images)
        assert set(counts) == {1, 2, 3}
        assert min(counts.values()) > 0.3 * sum(counts.values())
    assert all(patient.images for patient in many)


def test_every_patient_keeps_a_modality_even_when_nearly_all_are_missing():
    patients = draw_patients(PhantomSource(patients=60, missing=0.95), MODALITIES, 5)
    assert all(patient.images for patient in patients)


def test_nuisance_does_not_depend_on_the_class(many):
    y = np.array([patient.y for patient in many])
    nuisances = {
        "hospital": [patient.scanner.hospital for patient in many],
        "sex": [patient.sex for patient in many],
        "site": [patient.site for patient in many],
        **{f"images of {modality}": [patient.images.get(modality, 0) for patient in many] for modality in MODALITIES},
    }
    for name, values in nuisances.items():
        assert chi2_contingency(pd.crosstab(y, np.array(values))).pvalue > 0.005, name
    sizes = np.array([patient.size_mm for patient in many])
    assert kruskal(*(sizes[y == label] for label in range(3))).pvalue > 0.005


def test_hospitals_differ_in_depth_device_and_colours(cohort):
    patients, images, _ = cohort
    seen = images[images.modality == "bmode"].merge(patients[["patient_id", "hospital"]], on="patient_id")
    by_hospital = seen.groupby("hospital")
    assert (by_hospital.mm_per_pixel_x.nunique() == 1).all()
    assert by_hospital.mm_per_pixel_x.first().nunique() == by_hospital.device.first().nunique() == 3


def test_table_agrees_with_the_traits(many, cohort):
    first = {
        patient.patient_id: patient for patient in draw_patients(PhantomSource(patients=9, missing=0.2), MODALITIES, 3)
    }
    for row in cohort[0].itertuples():
        traits = first[row.patient_id].values(NECK)
        assert row.label == NECK.classes[first[row.patient_id].y]
        assert row.short_axis_mm == pytest.approx(row.long_axis_mm * traits["ratio"], abs=0.051)
        assert (row.shape == "round") == (traits["ratio"] >= 0.5)
        assert (row.margin, row.hilum, row.cdfi_pattern) == (traits["margin"], traits["hilum"], traits["flow"])
        assert row.elasticity_score == elasticity_score(traits["stiffness"])
    table = pd.DataFrame([patient.values(NECK) | {"y": patient.y} for patient in many])
    means = table.groupby("y").mean(numeric_only=True)
    assert means.stiffness.is_monotonic_increasing
    assert means.ratio[0] < min(means.ratio[1], means.ratio[2])
    assert means.echogenicity.idxmin() == 1


@pytest.mark.parametrize(
    ("stiffness", "score"), [(0.05, 1), (0.19, 1), (0.21, 2), (0.5, 3), (0.79, 4), (0.81, 5), (1.0, 5)]
)
def test_elasticity_score(stiffness, score):
    assert elasticity_score(stiffness) == score


def test_thyroid_is_another_corpus(tmp_path):
    patients, images, ceiling = make(tmp_path, organ="thyroid", classes=("malignant", "benign"), modalities=("cdfi",))
    assert set(patients.label) == set(THYROID.classes)
    assert patients.patient_id.str.fullmatch(r"thy\d{4}").all()
    assert {"lobe", "composition"} <= set(patients.columns)
    assert len(images) >= 6 and ceiling["cdfi"]["population_auc"] < 0.95


def test_wrong_classes_and_modalities_are_told_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        make(tmp_path, classes=("benign", "malignant"), modalities=("bmode", "mri"))
    message = str(caught.value)
    assert "benign, lymphoma, metastatic" in message and "mri" in message
    assert len(caught.value.problems) == 2
    assert not list(tmp_path.iterdir())


def test_a_patient_is_drawn_from_the_class_and_its_own_stream_only():
    few = draw_patients(PhantomSource(patients=6), MODALITIES, 2)
    more = draw_patients(PhantomSource(patients=50), MODALITIES, 2)[:6]
    for one, other in zip(few, more, strict=True):
        left, right = dataclasses.asdict(one), dataclasses.asdict(other)
        np.testing.assert_equal(left, right)
