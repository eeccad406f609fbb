"""The study as typed objects: the one description of config.yaml, from which its JSON schema is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sonogrid.config_base import Backbone, Fraction, Modalities, Name, Names, Section, plain_path, unique
from sonogrid.config_cohort import CohortConfig, FoldersSource


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

    backbones: Annotated[tuple[Backbone, ...], Field(min_length=1), AfterValidator(unique)]
    inits: Names
    modalities: Modalities


class Audit(Section):
    """What `sonogrid audit` may find without stopping the workflow."""

    accept: Annotated[tuple[str, ...], AfterValidator(unique)] = Field(
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
