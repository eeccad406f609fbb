"""All of config.yaml as one typed object, from which its JSON schema is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sonogrid.config.audit import Audit
from sonogrid.config.base import Classes, Modalities, Modality, Name, Section, WholeNumber, plain_path
from sonogrid.config.cohort import CohortConfig
from sonogrid.config.grid import GridConfig
from sonogrid.config.images import Images
from sonogrid.config.inits import Init, InitName
from sonogrid.config.results import Explain, Figures, Statistics
from sonogrid.config.splits import Splits
from sonogrid.config.training import Training


class AuditRequest(Section):
    """What an audit must know of a study: of its cohort, or of the corpus of one init."""

    results: Path
    classes: Classes
    modalities: Modalities
    patients_known: bool
    seed: WholeNumber
    decoded: tuple[Modality, ...] = Field((), description="modalities whose channels are measurements, not colours")
    corpus: Name | None = Field(None, description="init whose corpus is audited; null: the cohort")
    corpus_modalities: tuple[Modality, ...] = ()
    accept: tuple[str, ...]


class Study(Section):
    """All of config.yaml."""

    study: Name = Field(description="short name, shown on tables and figures")
    seed: WholeNumber = Field(ge=0, lt=2**32, description="every random number of the study derives from it")
    results: Annotated[Path, AfterValidator(plain_path)] = Field(
        Path("results"), description="folder for everything generated"
    )
    cells_per_job: WholeNumber = Field(1, ge=1, description="maximum number of cells per job; raise it for small cells")
    cells_per_gpu: WholeNumber = Field(
        1, ge=1, le=64, description="number of cells of a job that train at the same time on its GPU"
    )
    cohort: CohortConfig
    images: Images
    splits: Splits
    audit: Audit = Audit()
    inits: dict[InitName, Init]
    grid: GridConfig
    training: Training
    explain: Explain = Explain()
    statistics: Statistics = Statistics()
    figures: Figures = Figures()

    @property
    def patients_known(self) -> bool:
        """Whether the source tells which images are of one patient."""
        return self.cohort.source.knows_patients()

    @property
    def corpora(self) -> dict[str, CohortConfig]:
        """The corpora that inits of the grid are pre-trained on, by init."""
        found = {name: self.inits[name].corpus for name in self.grid.inits if self.inits[name].source == "corpus"}
        return {name: corpus for name, corpus in found.items() if corpus is not None}

    def cohort_of(self, init: str | None) -> CohortConfig:
        """The corpus of an init, or the study's cohort where `init` is None."""
        corpus = self.cohort if init is None else self.inits[init].corpus
        assert corpus is not None
        return corpus

    def audit_request(self, init: str | None = None) -> AuditRequest:
        """The audit of the cohort, or of the corpus of an init."""
        return AuditRequest(
            results=self.results,
            classes=self.cohort.classes,
            modalities=self.grid.modalities,
            patients_known=self.patients_known,
            seed=self.seed,
            decoded=self.images.decoded,
            corpus=init,
            corpus_modalities=() if init is None else self.cohort_of(init).modalities,
            accept=self.audit.accept,
        )


def json_schema() -> dict[str, Any]:
    """The JSON schema of config.yaml."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Study.model_json_schema()
