"""The study as typed objects: the one description of config.yaml, from which its JSON schema is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from sonogrid.config.augment_contract import check_strengths
from sonogrid.config.base import (
    Backbone,
    Classes,
    Fraction,
    Modalities,
    Modality,
    Name,
    Names,
    Section,
    plain_path,
    unique,
)
from sonogrid.config.cohort import CohortConfig, FoldersSource, Layout


class Images(Section):
    """The canonical picture: the scan area, letterboxed on a square canvas."""

    size: int = Field(224, ge=16, le=1024, description="side of the stored canvas in pixels")
    elastography: Literal["rgb", "stiffness"] = Field(
        "rgb", description="rgb: as shown; stiffness: decoded by the colour bar to stiffness, colour box, grey below"
    )
    cdfi: Literal["rgb", "velocity"] = Field(
        "rgb", description="rgb: as shown; velocity: decoded by the colour bar to flow towards, flow away, grey"
    )
    input_size: dict[Backbone, Annotated[int, Field(ge=16, le=1024)]] = Field(
        default_factory=dict, description="backbone -> side in pixels at which it sees the canvas; default: size"
    )

    def canvas(self, modality: str, layouts: dict[str, Layout]) -> Canvas:
        """How the canvases of one modality are made."""
        channels = getattr(self, modality, "rgb")
        # A store of pictures as shown does not depend on where colour bars are.
        return Canvas(size=self.size, channels=channels, layouts={} if channels == "rgb" else layouts)


class Canvas(Section):
    """How the canvases of one modality are made."""

    size: int
    channels: Literal["rgb", "stiffness", "velocity"] = "rgb"
    layouts: dict[str, Layout] = Field(default_factory=dict)


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


Number = TypeVar("Number")
ByModality: TypeAlias = Number | dict[Modality, Number]
"""One number for every modality for which it is legal, or modality -> number, with 0 for those left out."""


class Augment(Section):
    """Strengths of the random transforms; what is legal for which modality, and why: augment_contract.py."""

    horizontal_flip: ByModality[Annotated[float, Field(ge=0.0, le=1.0)]] = Field(0.5, description="probability")
    shift: ByModality[Annotated[float, Field(ge=0.0, le=0.2)]] = Field(
        0.05, description="largest shift, share of the canvas"
    )
    zoom: ByModality[Annotated[float, Field(ge=0.0, le=0.3)]] = Field(
        0.1, description="largest change of scale, in or out"
    )
    rotate: ByModality[Annotated[float, Field(ge=0.0, le=15.0)]] = Field(5.0, description="largest rotation in degrees")
    gain: ByModality[Annotated[float, Field(ge=0.0, le=0.5)]] = Field(
        0.15, description="largest change of brightness and contrast (B-mode only)"
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _legal(cls, value: Any, _: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Check a number as a number and a mapping as a mapping: a union would tell what is wrong with it as either."""
        transform = str(info.field_name)
        number, mapping = get_args(cls.model_fields[transform].annotation)
        meant = mapping if isinstance(value, Mapping) else number
        told = TypeAdapter(meant, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
        if isinstance(told, dict):
            check_strengths(transform, told)
        return told


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

    backbones: Annotated[tuple[Backbone, ...], Field(min_length=1), AfterValidator(unique)]
    inits: Names
    modalities: Modalities


def _finding(text: str) -> str:
    if not re.fullmatch(r"[a-z_]+(-[0-9a-f]{12})?", text):
        raise ValueError(
            "must be the name of a finding, as same_file_two_labels-0123456789ab, or of a kind of findings"
        )
    return text


class Audit(Section):
    """What `sonogrid audit` may find without stopping the workflow."""

    accept: Annotated[tuple[Annotated[str, AfterValidator(_finding)], ...], AfterValidator(unique)] = Field(
        (), description="names of findings, or of kinds of findings, that are known and accepted"
    )


class Explain(Section):
    """Grad-CAM panels: for each class, the held-out patients at these quantiles of p(true class)."""

    quantiles: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...], Field(min_length=1), AfterValidator(unique)
    ] = (0.5,)


class Statistics(Section):
    """Patient bootstrap."""

    resamples: int = Field(2000, ge=200)
    confidence: float = Field(0.95, gt=0.5, lt=1.0)
    pretraining_effect: Annotated[tuple[Name, Name], AfterValidator(unique)] | None = Field(
        None, description="[init, reference]: the paired difference of the effect table; null: no table"
    )


class AuditRequest(Section):
    """What an audit must know of a study: of its cohort, or of the corpus of one init."""

    results: Path
    classes: Classes
    modalities: Modalities
    patients_known: bool
    seed: int
    decoded: tuple[Modality, ...] = Field((), description="modalities whose channels are measurements, not colours")
    corpus: Name | None = Field(None, description="init whose corpus is audited; null: the cohort")
    corpus_modalities: tuple[Modality, ...] = ()
    accept: tuple[str, ...]


class Study(Section):
    """All of config.yaml."""

    study: Name = Field(description="short name, shown on tables and figures")
    seed: int = Field(ge=0, lt=2**32, description="every random number of the study derives from it")
    results: Annotated[Path, AfterValidator(plain_path)] = Field(
        Path("results"), description="folder for everything generated"
    )
    cells_per_job: int = Field(
        1, ge=1, description="at most so many cells in one job, which loads libraries and images once (grid.py)"
    )
    cells_per_gpu: int = Field(1, ge=1, le=64, description="so many cells of a job at the same time on its GPU")
    cohort: CohortConfig
    images: Images
    splits: Splits
    audit: Audit = Audit()
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

    @property
    def corpora(self) -> dict[str, CohortConfig]:
        """The corpora that inits of the grid are pre-trained on, by init."""
        found = {name: self.inits[name].corpus for name in self.grid.inits if self.inits[name].source == "corpus"}
        return {name: corpus for name, corpus in found.items() if corpus is not None}

    def audit_request(self, init: str | None = None) -> AuditRequest:
        """The audit of the cohort, or of the corpus of an init."""
        return AuditRequest(
            results=self.results,
            classes=self.cohort.classes,
            modalities=self.grid.modalities,
            patients_known=self.patients_known,
            seed=self.seed,
            decoded=tuple(name for name in get_args(Modality) if self.images.canvas(name, {}).channels != "rgb"),
            corpus=init,
            corpus_modalities=() if init is None else self.corpora[init].modalities,
            accept=self.audit.accept,
        )

    def for_scores(self) -> Study:
        """The study as far as scores, tables and figures depend on it, so that editing the rest reruns none of them."""
        inits = {name: Init(source=self.inits[name].source) for name in self.grid.inits}
        return self.model_copy(update={"cohort": self.cohort.used(), "inits": inits, "audit": Audit()})

    def for_panel(self, backbone: str, init: str) -> Study:
        """The study as far as the Grad-CAM panel of one backbone and init depends on it."""
        grid = self.grid.model_copy(update={"backbones": (backbone,), "inits": (init,)})
        inits = {init: Init(source=self.inits[init].source)}
        return self.model_copy(
            update={
                **{"cohort": self.cohort.used(), "inits": inits, "grid": grid},
                **{"statistics": Statistics(), "audit": Audit()},
            }
        )


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()
