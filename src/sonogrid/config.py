"""The study as typed objects: the one description of config.yaml, from which its JSON schema is made."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sonogrid.backbones import check_backbone

AnyValue = TypeVar("AnyValue")


def _unique(values: tuple[AnyValue, ...]) -> tuple[AnyValue, ...]:
    doubles = [str(value) for value, count in Counter(values).items() if count > 1]
    if doubles:
        raise ValueError(f"named more than once: {', '.join(doubles)}")
    return values


def _one_to_one(mapping: dict[AnyValue, str]) -> dict[AnyValue, str]:
    _unique(tuple(mapping.values()))
    return mapping


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise ValueError("must be letters, digits, '_', '.', '-' and start with a letter or digit")
    return value


def _plain_path(value: Path) -> Path:
    if any(character in "{}" or not character.isprintable() for character in str(value)):
        raise ValueError("must have no braces and no control characters")
    if str(value).startswith(("-", "~")):
        raise ValueError("must not begin with '-' or '~'")
    return value


Name = Annotated[str, AfterValidator(_name)]
"""A word that becomes part of a path or a column: letters, digits, '_', '.', '-'."""
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_unique)]
Classes = Annotated[tuple[Name, ...], Field(min_length=2), AfterValidator(_unique)]
Backbone = Annotated[str, AfterValidator(check_backbone)]
Modality = Literal["bmode", "cdfi", "elastography"]
Modalities = Annotated[tuple[Modality, ...], Field(min_length=1), AfterValidator(_unique)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A closed section: a key that is not described here is a mistake, not an extension."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


AnySection = TypeVar("AnySection", bound=Section)


class PhantomSource(Section):
    """A simulated cohort; see sonogrid.cohort.phantom."""

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
    labels: Annotated[dict[str, str], AfterValidator(_one_to_one)] = Field(
        description="class name of the study -> its name in the path"
    )
    modalities: Annotated[dict[Modality, str], AfterValidator(_one_to_one)] = Field(
        description="modality -> its name in the path; one entry with any name if the pattern has no {modality}"
    )
    mask_suffix: str = Field("", description="ending that marks a mask, as '_mask'; empty: there are none")
    exclude: tuple[str, ...] = Field((), description="paths below root of pictures to leave out, each for a reason")
    hospital: str = Field("unknown", description="the hospital written for every patient")
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

Reader = Literal["phantom", "folders", "table"]


class CohortConfig(Section):
    """Patients and pictures: which reader, what it reads, and the classes and modalities it must find."""

    classes: Classes = Field(description="class names, in the order of the logits")
    modalities: Modalities
    reader: Reader
    phantom: PhantomSource | None = None
    folders: FoldersSource | None = None
    table: TableSource | None = None

    @property
    def source(self) -> PhantomSource | FoldersSource | TableSource:
        """The section of the chosen reader; cross_checks has made sure that it is there."""
        source: PhantomSource | FoldersSource | TableSource | None = getattr(self, self.reader)
        assert source is not None
        return source

    @property
    def source_files(self) -> list[str]:
        """Files whose change makes the cohort another one; the pictures themselves are too many to watch."""
        return [str(self.table.file)] if self.reader == "table" and self.table is not None else []

    def used(self) -> CohortConfig:
        """The same without the sections of readers that are not chosen, so that editing those reruns nothing."""
        others = {reader: None for reader in get_args(Reader) if reader != self.reader}
        return self.model_copy(update=others)


class Images(Section):
    """The canonical picture: the scan area, letterboxed on a square canvas."""

    size: int = Field(224, ge=16, le=1024, description="side of the stored canvas in pixels")
    input_size: dict[Backbone, Annotated[int, Field(ge=16, le=1024)]] = Field(
        default_factory=dict, description="backbone -> side in pixels at which it sees the canvas; default: size"
    )


class OfficialFolds(Section):
    """Folds that came with the data."""

    file: Path = Field(description="CSV with one row an image")
    image_id: str = Field(description="column with the image_id of the manifest")
    fold: str = Field(description="column with the fold; any values, sorted to 0, 1, ...")


class Splits(Section):
    """Patient-level cross-validation with an inner validation part in every training fold."""

    folds: int = Field(5, ge=2)
    inner_fraction: float = Field(0.2, gt=0.0, lt=0.5, description="share of a training fold kept for epoch choice")
    official: OfficialFolds | None = Field(None, description="use these folds instead of drawing them")


class Augment(Section):
    """Strengths of the random transforms; each acts only on modalities for which it is legal (augment.py)."""

    horizontal_flip: float = Field(0.5, ge=0.0, le=1.0, description="probability")
    shift: float = Field(0.05, ge=0.0, le=0.2, description="largest shift, share of the canvas")
    zoom: float = Field(0.1, ge=0.0, le=0.3, description="largest change of scale, in or out")
    rotate: float = Field(5.0, ge=0.0, le=15.0, description="largest rotation in degrees")
    gain: float = Field(0.15, ge=0.0, le=0.5, description="largest change of brightness and contrast (B-mode only)")


class Training(Section):
    """How one model is fitted."""

    epochs: int = Field(ge=1, description="upper limit; patience may end earlier")
    patience: int = Field(ge=1, description="epochs without a better inner log loss before stopping")
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0.0, description="peak of the cosine schedule (AdamW)")
    weight_decay: float = Field(0.05, ge=0.0)
    warmup_epochs: int = Field(1, ge=0)
    label_smoothing: Fraction = 0.0
    mixed_precision: bool = Field(True, description="bfloat16 where the device computes in it")
    augment: Augment = Augment()


class Init(Section):
    """Where a model's first weights come from."""

    source: Literal["random", "corpus", "timm"]
    corpus: CohortConfig | None = Field(None, description="source corpus: what to pre-train on")
    training: Training | None = Field(None, description="source corpus: how to pre-train")
    files: dict[Backbone, Path] = Field(
        default_factory=dict,
        description="source timm: backbone -> local weights file; a backbone not named comes from the hub",
    )


class GridConfig(Section):
    """The axes of the grid; folds are in `splits`."""

    backbones: Annotated[tuple[Backbone, ...], Field(min_length=1), AfterValidator(_unique)]
    inits: Names
    modalities: Modalities


class Explain(Section):
    """Grad-CAM panels: for each class, the held-out patients at these quantiles of p(true class)."""

    quantiles: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...], Field(min_length=1), AfterValidator(_unique)
    ] = (0.5,)


class Statistics(Section):
    """Patient bootstrap."""

    resamples: int = Field(2000, ge=200)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    pretraining_effect: Annotated[tuple[Name, Name], AfterValidator(_unique)] | None = Field(
        None, description="[init, reference]: the paired difference of the effect table; null: no table"
    )


class Study(Section):
    """All of config.yaml."""

    study: Name = Field(description="short name, shown on tables and figures")
    seed: int = Field(ge=0, lt=2**32, description="every random number of the study derives from it")
    results: Annotated[Path, AfterValidator(_plain_path)] = Field(
        Path("results"), description="folder for everything generated"
    )
    cells_per_job: int = Field(
        1, ge=1, description="at most so many cells in one job, which loads libraries and images once (grid.py)"
    )
    cells_per_gpu: int = Field(1, ge=1, le=64, description="so many cells of a job at the same time on its GPU")
    cohort: CohortConfig
    images: Images
    splits: Splits
    inits: dict[Name, Init]
    grid: GridConfig
    training: Training
    explain: Explain = Explain()
    statistics: Statistics = Statistics()

    @property
    def patients_known(self) -> bool:
        """Whether the source tells which images are of one patient."""
        source = self.cohort.source
        return not isinstance(source, FoldersSource) or source.patients_known

    def for_scores(self) -> Study:
        """The study as far as scores, tables and figures depend on it, so that editing the rest reruns none of them."""
        inits = {name: Init(source=self.inits[name].source) for name in self.grid.inits}
        return self.model_copy(update={"cohort": self.cohort.used(), "inits": inits})

    def for_panel(self, backbone: str, init: str) -> Study:
        """The study as far as the Grad-CAM panel of one backbone and init depends on it."""
        grid = self.grid.model_copy(update={"backbones": (backbone,), "inits": (init,)})
        inits = {init: Init(source=self.inits[init].source)}
        return self.model_copy(
            update={"cohort": self.cohort.used(), "inits": inits, "grid": grid, "statistics": Statistics()}
        )


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()
