"""The sections of readers: what each reads, and what can be wrong with it. READER_SECTIONS registers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from sonogrid.config.base import Fraction, Modality, Section, WholeNumber, one_to_one
from sonogrid.problems import Problem, Problems


class ReaderSection(Section):
    """The section of one reader. Override what does not fit; `key` is the section's key in messages."""

    simulated: ClassVar[bool] = False
    """whether the reader simulates its patients"""

    @classmethod
    def contradictions(cls, key: str, cohort: Mapping[str, Any]) -> list[Problem]:
        """Return mistakes between this section and the rest of a raw `cohort` mapping, shown beside schema mistakes.

        `key` is the key of the cohort, below which the section is called as its reader.
        """
        return []

    def missing_files(self, key: str) -> list[Problem]:
        """Return files and folders that the section names and that are not there."""
        return []

    def watched_files(self) -> list[Path]:
        """Return files whose change makes the cohort another one; pictures are too many to watch."""
        return []

    def knows_patients(self) -> bool:
        """Return whether the source says which images are of one patient."""
        return True


def missing_folder(key: str, folder: Path, holds: str) -> list[Problem]:
    """Return the problem of a folder that is not there, if it is not."""
    if folder.is_dir():
        return []
    return [Problem(f"config key {key}", f"there is no folder {folder}", f"Write the folder that holds the {holds}")]


def missing_file(key: str, file: Path) -> list[Problem]:
    """Return the problem of a CSV that is not there, if it is not."""
    if file.is_file():
        return []
    return [Problem(f"config key {key}", f"there is no file {file}", "Write the path of the CSV")]


def unmapped(key: str, cohort: Mapping[str, Any], mappings: Mapping[str, str]) -> list[Problem]:
    """Return classes and modalities of a raw cohort that its reader has no name for.

    `mappings`: key of the cohort that lists names -> key of the reader's section that maps them.
    """
    problems = Problems()
    reader = str(cohort.get("reader"))
    for wanted, mapping in mappings.items():
        named, names = cohort[reader].get(mapping), cohort.get(wanted)
        if not isinstance(named, Mapping) or not isinstance(names, (list, tuple)):
            continue
        for name in names:
            if isinstance(name, str) and name not in named:
                problems.add(
                    f"config key {key}.{reader}.{mapping}",
                    f"{name!r} of {key}.{wanted} has no entry",
                    f"Say what the data calls {name!r}, or take it out of {key}.{wanted}",
                )
    return problems.found


PHANTOM_CLASSES = {"neck": ("benign", "lymphoma", "metastatic"), "thyroid": ("benign", "malignant")}
"""Classes of the simulated organs; the traits of cohort/phantom/traits.py are the place that gives them a meaning."""


class PhantomSource(ReaderSection):
    """A simulated cohort; see sonogrid.cohort.phantom.simulate."""

    simulated: ClassVar[bool] = True

    organ: Literal["neck", "thyroid"] = Field("neck", description="neck: nodes; thyroid: the second corpus")
    patients: WholeNumber = Field(120, ge=6, description="number of simulated patients, over all classes")
    missing: Fraction = Field(0.1, description="share of patients that lack a given modality")

    @classmethod
    def contradictions(cls, key: str, cohort: Mapping[str, Any]) -> list[Problem]:
        """Return classes that the simulated organ does not have, and a key that simulated patients do not need."""
        problems = Problems()
        if cohort.get("pseudonym_key"):
            what = "simulated patients need no pseudonyms"
            problems.add(f"config key {key}.pseudonym_key", what, "Write null")
        organ, named = str(cohort["phantom"].get("organ", "neck")), cohort.get("classes")
        known = PHANTOM_CLASSES.get(organ)
        if (
            known is not None
            and named
            and isinstance(named, (list, tuple))
            and sorted(map(str, named)) != sorted(known)
        ):
            what = f"the simulated organ {organ!r} has other classes than {', '.join(map(str, named))}"
            problems.add(f"config key {key}.classes", what, f"Name exactly these: {', '.join(known)}")
        return problems.found


class FoldersSource(ReaderSection):
    """Pictures in folders whose names say class, modality and patient; masks may lie beside them."""

    root: Path = Field(description="folder that holds the pictures")
    pattern: str = Field(
        "{modality}/{label}/{patient}-{n}",
        description="path below root without suffix; fields {label} {patient}, optional {modality} {n}",
    )
    labels: Annotated[dict[str, str], AfterValidator(one_to_one)] = Field(
        description="class name of the study -> its name in the path"
    )
    modalities: Annotated[dict[Modality, str], AfterValidator(one_to_one)] = Field(
        description="modality -> its name in the path; one entry with any name if the pattern has no {modality}"
    )
    mask_suffix: str = Field("", description="ending that marks a mask, as '_mask'; empty: there are none")
    exclude: tuple[str, ...] = Field((), description="paths below root of pictures to leave out, each for a reason")
    hospital: str = Field("unknown", description="the hospital written for every patient")
    device: str = Field("", description="the device written for every picture")
    patients_known: bool = Field(
        True, description="false where the source has no patient ids, so that every picture stands for a patient"
    )

    @classmethod
    def contradictions(cls, key: str, cohort: Mapping[str, Any]) -> list[Problem]:
        """Return classes and modalities without a name in the paths."""
        return unmapped(key, cohort, {"classes": "labels", "modalities": "modalities"})

    def missing_files(self, key: str) -> list[Problem]:
        """Return the problem of a root that is not there."""
        return missing_folder(f"{key}.root", self.root, "pictures")

    def knows_patients(self) -> bool:
        """Return what the config says."""
        return self.patients_known


class TableColumns(Section):
    """Which column of the table holds what; a name left out means the table does not say."""

    patient_id: str
    label: str
    image_id: str | None = None
    modality: str | None = None
    hospital: str | None = None
    device: str | None = None
    mm_per_pixel_x: str | None = None
    mm_per_pixel_y: str | None = None


class TableSource(ReaderSection):
    """A CSV with one row per image, and pictures whose paths follow from its columns."""

    file: Path = Field(description="the CSV; picture paths are relative to its folder")
    columns: TableColumns
    labels: dict[str, str] = Field(description="class name of the study -> value in the label column")
    modalities: dict[Modality, str] = Field(
        description="modality -> value in the modality column; one entry with any value if there is no such column"
    )
    image: str = Field(description="path of a picture, with {Column} for the value of a column")
    mask: str = Field("", description="path of its mask likewise; empty: there are none")
    mask_replace: dict[str, str] = Field(
        default_factory=dict, description="replacements made in the values that go into the mask path"
    )
    clinical: tuple[str, ...] = Field((), description="columns kept in patients.csv; one value per patient")

    @classmethod
    def contradictions(cls, key: str, cohort: Mapping[str, Any]) -> list[Problem]:
        """Return classes and modalities without a value in the table."""
        return unmapped(key, cohort, {"classes": "labels", "modalities": "modalities"})

    def missing_files(self, key: str) -> list[Problem]:
        """Return the problem of a table that is not there."""
        return missing_file(f"{key}.file", self.file)

    def watched_files(self) -> list[Path]:
        """Return the table."""
        return [self.file]


class PatientTable(Section):
    """A CSV with one row per patient, for sources whose pictures do not say the class."""

    file: Path
    patient_id: str = Field(description="column with the patient's id as the source of the pictures gives it")
    label: str = Field(description="column with the class")
    hospital: str | None = Field(None, description="column with the hospital")


class DicomSource(ReaderSection):
    """DICOM files below a folder."""

    root: Path = Field(description="folder that holds the files")
    pattern: str = Field(
        "",
        description="path below root without suffix, as for folders, where it says {label}, {patient} or {modality}; "
        "empty: the patient is the tag Patient ID, and needs pseudonym_key",
    )
    patients: PatientTable | None = Field(None, description="needed where the pattern has no {label}")
    labels: Annotated[dict[str, str], AfterValidator(one_to_one)] = Field(
        description="class name of the study -> its name in the path or the patient table"
    )
    modalities: Annotated[dict[Modality, str], AfterValidator(one_to_one)] = Field(
        default_factory=dict, description="modality -> its name in the path, if the pattern has {modality}"
    )
    default_modality: Modality | None = Field(
        None, description="modality of a picture of which neither the path nor regions and tags say it"
    )
    frames: WholeNumber = Field(
        1, ge=1, le=64, description="frames taken from a cine, evenly spaced; 1: the middle one"
    )
    hospital: str = Field("unknown", description="hospital of every patient of whom no patient table says it")

    @classmethod
    def contradictions(cls, key: str, cohort: Mapping[str, Any]) -> list[Problem]:
        """Return names that are not mapped, and what must be said where paths do not say it: class, and a key."""
        problems, source = Problems(), cohort["dicom"]
        pattern = str(source.get("pattern", ""))
        modalities = {"modalities": "modalities"} if "{modality}" in pattern else {}
        problems.found.extend(unmapped(key, cohort, {"classes": "labels"} | modalities))
        if "{patient}" not in pattern and not cohort.get("pseudonym_key"):
            what = "is missing: the patient is the header's Patient ID, which never reaches results as it is"
            remedy = "Name a key file, or put {patient} into dicom.pattern"
            problems.add(f"config key {key}.pseudonym_key", what, remedy)
        if "{label}" not in pattern and not source.get("patients"):
            what = "is missing, and dicom.pattern has no {label}"
            problems.add(f"config key {key}.dicom.patients", what, "Name the CSV that has the class of every patient")
        return problems.found

    def missing_files(self, key: str) -> list[Problem]:
        """Return the problems of a root and a patient table that are not there."""
        table = [] if self.patients is None else missing_file(f"{key}.patients.file", self.patients.file)
        return missing_folder(f"{key}.root", self.root, "files") + table

    def watched_files(self) -> list[Path]:
        """Return the patient table."""
        return [] if self.patients is None else [self.patients.file]


READER_SECTIONS: dict[str, type[ReaderSection]] = {
    "phantom": PhantomSource,
    "folders": FoldersSource,
    "table": TableSource,
    "dicom": DicomSource,
}
"""Name of a reader, which is the key of its section -> the section; readers are registered in cohort/registry.py."""
