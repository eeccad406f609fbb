"""The `cohort` section of config.yaml: readers, what they read, and how a picture is framed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from sonogrid.config.base import Classes, Fraction, Modalities, Modality, Section, one_to_one


def _box(corners: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = corners
    if not (0 <= x0 < x1 and 0 <= y0 < y1):
        raise ValueError("must be [x0, y0, x1, y1] with 0 <= x0 < x1 and 0 <= y0 < y1")
    return corners


class PhantomSource(Section):
    """A simulated cohort; see sonogrid.cohort.phantom.simulate."""

    organ: Literal["neck", "thyroid"] = Field("neck", description="neck: nodes; thyroid: the second corpus")
    patients: int = Field(120, ge=6, description="number of simulated patients, over all classes")
    missing: Fraction = Field(0.1, description="share of patients that lack a given modality")


class FoldersSource(Section):
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


class TableSource(Section):
    """A CSV with one row an image, and pictures whose paths follow from its columns."""

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
    clinical: tuple[str, ...] = Field((), description="columns kept in patients.csv; one value a patient")


PHANTOM_CLASSES = {"neck": ("benign", "lymphoma", "metastatic"), "thyroid": ("benign", "malignant")}
"""Classes of the simulated organs; the traits of cohort/traits.py are the place that gives them a meaning."""


class PatientTable(Section):
    """A CSV with one row a patient, for sources whose pictures do not say the class."""

    file: Path
    patient_id: str = Field(description="column with the patient's id as the source of the pictures gives it")
    label: str = Field(description="column with the class")
    hospital: str | None = Field(None, description="column with the hospital")


class DicomSource(Section):
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
    frames: int = Field(1, ge=1, le=64, description="frames taken from a cine, evenly spaced; 1: the middle one")
    hospital: str = Field("unknown", description="hospital of every patient of whom no patient table says it")


class Layout(Section):
    """What is where on the screen of one device; what is left out is detected."""

    @model_validator(mode="after")
    def _says_something(self) -> Layout:
        if self.views is not None and self.views[0] == self.views[1]:
            raise ValueError("both views show one modality; a dual view shows two")
        if self.at is not None and self.views is None:
            raise ValueError("`at` says where the second view begins; say which they are: views: [bmode, elastography]")
        if not self.model_fields_set:
            raise ValueError("is empty: say what is where, or take the device out")
        return self

    scan: Annotated[tuple[int, int, int, int], AfterValidator(_box)] | None = Field(
        None, description="scan area [x0, y0, x1, y1] in pixels, half open, both views of a dual view"
    )
    views: tuple[Modality, Modality] | None = Field(
        None, description="which modality the left (or upper) view of a dual view shows, and which the other"
    )
    direction: Literal["side_by_side", "stacked"] = "side_by_side"
    at: float | None = Field(
        None, gt=0.0, lt=1.0, description="where the second view begins, as a share of the scan area"
    )
    colour_bar: Annotated[tuple[int, int, int, int], AfterValidator(_box)] | None = Field(
        None, description="the colour bar [x0, y0, x1, y1] in pixels, half open, without its outline"
    )
    high_end: Literal["top", "bottom"] = Field(
        "top", description="which end of the colour bar is hard, or flow towards the probe; top is right if it lies"
    )


Reader = Literal["phantom", "folders", "table", "dicom"]


class CohortConfig(Section):
    """Patients and pictures: which reader, what it reads, and the classes and modalities it must find."""

    classes: Classes = Field(description="class names, in the order of the logits")
    modalities: Modalities
    reader: Reader
    phantom: PhantomSource | None = None
    folders: FoldersSource | None = None
    table: TableSource | None = None
    dicom: DicomSource | None = None
    burned_in_text: Literal["mask", "keep"] = Field(
        "mask",
        description="mask: text inside the scan area is found by OCR and blackened; keep: there is none. "
        "Left out: keep for simulated pictures, mask for all others",
    )
    dual_view: Literal["split", "keep"] = Field(
        "split", description="split: of two views in one picture, the one that shows the modality is used; keep: both"
    )
    layouts: dict[str, Layout] = Field(
        default_factory=dict, description="device as the manifest names it, or '*' for all others -> its layout"
    )
    pseudonym_key: Path | None = Field(
        None, description="file outside results with the key by which ids become pseudonyms; null: ids are kept"
    )

    @model_validator(mode="before")
    @classmethod
    def _text_by_reader(cls, raw: Any) -> Any:
        """Left out, the key follows the reader: a study for real pictures must not inherit what simulated ones need."""
        if isinstance(raw, dict) and "burned_in_text" not in raw and raw.get("reader") == "phantom":
            return raw | {"burned_in_text": "keep"}
        return raw

    @property
    def source(self) -> PhantomSource | FoldersSource | TableSource | DicomSource:
        """The section of the chosen reader; cross_checks has made sure that it is there."""
        source: PhantomSource | FoldersSource | TableSource | DicomSource | None = getattr(self, self.reader)
        assert source is not None
        return source

    @property
    def source_files(self) -> list[str]:
        """Files whose change makes the cohort another one; the pictures themselves are too many to watch."""
        files = [self.pseudonym_key]
        if self.reader == "table" and self.table is not None:
            files.append(self.table.file)
        if self.reader == "dicom" and self.dicom is not None and self.dicom.patients is not None:
            files.append(self.dicom.patients.file)
        return [str(file) for file in files if file is not None]

    def used(self) -> CohortConfig:
        """The same without the sections of readers that are not chosen, so that editing those reruns nothing."""
        others = {reader: None for reader in get_args(Reader) if reader != self.reader}
        return self.model_copy(update=others)
