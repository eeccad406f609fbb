"""What is not there or does not fit: modalities of a patient, classes and sites of a fold, refused files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sonogrid.audit.findings import Finding
from sonogrid.cohort.manifest import Cohort, some

SCALE_RATIO = 3.0
"""Modalities of one patient are shown at depths that differ by less: most often the same, seldom by a factor of 2."""
MOST_SHARE = 0.5
"""Above this share a pattern is study design and is reported once."""


def disagreements(cohort: Cohort) -> list[Finding]:
    """Patients whose modalities differ in device, or in mm per pixel by SCALE_RATIO more than they usually do."""
    return [*_devices(cohort.images), *_scales(cohort.images)]


def gaps_in_folds(cohort: Cohort, splits: pd.DataFrame, classes: Sequence[str]) -> list[Finding]:
    """Parts of a fold without a class in a modality; hospitals and devices that a fold does not test or train on."""
    labels = cohort.patients.set_index("patient_id")["label"]
    found = []
    for modality, rows in cohort.images.groupby("modality"):
        seen = splits[splits["patient_id"].isin(rows["patient_id"])]
        present = set(zip(seen["fold"], seen["part"], seen["patient_id"].map(labels), strict=True))
        for part in ("train", "inner", "test"):
            for label in classes:
                folds = [fold for fold in sorted(set(splits["fold"])) if (fold, part, label) not in present]
                if folds:
                    found.append(_lacking_class(str(modality), part, label, folds))
    hospitals = cohort.patients.set_index("patient_id")["hospital"]
    found += _lacking_sites("hospital", hospitals, splits)
    known = cohort.images[cohort.images["device"] != ""]
    # A patient may have several: the device of most of the pictures stands for the patient.
    devices = known.groupby("patient_id")["device"].agg(lambda one: sorted(one.mode())[0])
    return found + _lacking_sites("device", devices, splits)


def absences(cohort: Cohort, modalities: Sequence[str], classes: Sequence[str]) -> list[Finding]:
    """Patients without pictures of a modality, by class: one finding a modality."""
    labels = cohort.patients.set_index("patient_id")["label"]
    found = []
    for modality in modalities:
        have = set(cohort.images.loc[cohort.images["modality"] == modality, "patient_id"])
        lack = labels[~labels.index.isin(have)]
        by_class = ", ".join(f"{int((lack == one).sum())} of {int((labels == one).sum())} {one}" for one in classes)
        if len(lack):
            found.append(
                Finding(
                    kind="missing_modality",
                    severity="note",
                    key=(modality,),
                    what=f"{len(lack)} of {len(labels)} patients have no {modality} ({by_class})",
                    remedy="Nothing; compare modalities on the patients who have both",
                    patients=tuple(sorted(lack.index)),
                    measures={"modality": modality, "patients": len(lack)},
                )
            )
    return found


def refused_files(cohort: Cohort, corpus: str = "") -> list[Finding]:
    """How many files of the cohort, or of the corpus of an init, could not be used, if any."""
    if not cohort.refused:
        return []
    where = f"of the corpus of {corpus} " if corpus else ""
    return [
        Finding(
            kind="refused_files",
            severity="note",
            key=(corpus,),
            what=f"{len(cohort.refused)} files {where}could not be used, {len(cohort.images)} pictures were",
            remedy="Read refused.csv beside its manifest; make sure that no class or hospital loses more than others",
            measures={"files": len(cohort.refused), "pictures": len(cohort.images)},
        )
    ]


def unknown_patients() -> Finding:
    """The finding that the source has no patient ids."""
    return Finding(
        kind="patients_unknown",
        severity="note",
        key=("patients",),
        what="the source has no patient ids: every picture counts as a patient, and those of one may be parted",
        remedy="Read no score of this study as a score of new patients",
    )


def _devices(images: pd.DataFrame) -> list[Finding]:
    known = images[images["device"] != ""]
    used: dict[str, dict[str, set[str]]] = {}
    for patient, modality, device in zip(known["patient_id"], known["modality"], known["device"], strict=True):
        used.setdefault(patient, {}).setdefault(modality, set()).add(device)
    several = {
        patient: of for patient, of in used.items() if len(set().union(*of.values())) > max(map(len, of.values()))
    }
    compared = sum(len(of) > 1 for of in used.values())
    remedy = "Make sure that the pictures are of one patient and one examination"
    if several and len(several) > MOST_SHARE * compared:
        return [
            Finding(
                kind="modalities_differ_in_device",
                severity="note",
                key=("device",),
                what=f"{len(several)} of {compared} patients have modalities of different devices",
                remedy="Nothing, if each modality has its device; else look at the patients",
                patients=tuple(sorted(several)),
                measures={"patients": len(several)},
            )
        ]
    return [
        _of_patient(
            "modalities_differ_in_device",
            patient,
            "has modalities of different devices: "
            + ", ".join(f"{modality} {some(sorted(devices))}" for modality, devices in sorted(of.items())),
            remedy,
            images,
            {},
        )
        for patient, of in sorted(several.items())
    ]


def _scales(images: pd.DataFrame) -> list[Finding]:
    known = images.dropna(subset=["mm_per_pixel_x"])
    table = known.pivot_table(index="patient_id", columns="modality", values="mm_per_pixel_x", aggfunc="median")
    found = []
    # Modalities may differ as a rule, as a dual view does by half: compared with the median over patients.
    relative = table / table.median()
    ratio = relative.max(axis=1) / relative.min(axis=1)
    for patient, value in ratio[ratio >= SCALE_RATIO].items():
        told = ", ".join(f"{modality} {mm:.4g}" for modality, mm in table.loc[str(patient)].dropna().items())
        found.append(
            _of_patient(
                "modalities_differ_in_scale",
                str(patient),
                f"has modalities whose mm per pixel differ {value:.1f} times more than usual ({told})",
                "Correct the scale, or take the picture out: sizes from it would be wrong",
                images,
                {"ratio": round(float(value), 3)},
            )
        )
    return found


def _of_patient(
    kind: str, patient: str, what: str, remedy: str, images: pd.DataFrame, measures: Mapping[str, float | int | str]
) -> Finding:
    of_patient = images.loc[images["patient_id"] == patient, "image_id"]
    return Finding(kind, "note", (patient,), what, remedy, tuple(sorted(of_patient)), (patient,), measures)


def _lacking_class(modality: str, part: str, label: str, folds: list[int]) -> Finding:
    test = part == "test"
    return Finding(
        kind="fold_lacks_class",
        severity="note" if test else "stop",
        key=(modality, part, label),
        what=f"{modality} has no image of class {label} in the {part} part of fold {some(folds)}",
        remedy="Use fewer folds, or add patients"
        + ("; pairs with this class are not scored there" if test else "; the model cannot learn or choose by it"),
        measures={"modality": modality, "part": part, "class": label, "folds": len(folds)},
    )


def _lacking_sites(name: str, site: pd.Series[str], splits: pd.DataFrame) -> list[Finding]:
    """One finding for every site that some fold neither tests or neither trains on, if there are several sites."""
    if site.nunique() < 2:
        return []
    of_site = splits["patient_id"].map(site)
    present = set(zip(splits["fold"], splits["part"], of_site, strict=True))
    found = []
    for value, patients in site.groupby(site):
        lacking = {
            part: [fold for fold in sorted(set(splits["fold"])) if (fold, part, value) not in present]
            for part in ("train", "test")
        }
        told = [f"the {part} part of fold {some(folds)}" for part, folds in lacking.items() if folds]
        if told:
            found.append(
                Finding(
                    kind=f"fold_lacks_{name}",
                    severity="note",
                    key=(str(value),),
                    what=f"{name} {value} ({len(patients)} patients) is missing from {' and '.join(told)}",
                    remedy="Nothing, if it is rare or left out on purpose; else draw the folds again",
                    measures={name: str(value), "patients": len(patients)},
                )
            )
    return found
