"""One audit from the files of a study: read, look, show, write."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sonogrid.audit.album import Corpus, make_album
from sonogrid.audit.certificate import write_audit
from sonogrid.audit.findings import Finding
from sonogrid.audit.fingerprints import steps
from sonogrid.audit.look import audit_cohort, audit_corpus
from sonogrid.audit.show import show
from sonogrid.cohort.manifest import load
from sonogrid.config.study import AuditRequest
from sonogrid.console import progress
from sonogrid.images.store import open_store
from sonogrid.layout import CohortLayout, Layout
from sonogrid.problems import Problem
from sonogrid.splits import load_splits
from sonogrid.stored import Store


def run_audit(request: AuditRequest, workers: int, console: Console | None = None) -> list[Problem]:
    """Audit a cohort or a corpus, print and write what was found, and return what must be mended or accepted."""
    layout = Layout(request.results)
    cohort, stores = load(layout.cohort.tables), _stores(layout.cohort, request.modalities)
    inputs, corpora = _inputs(layout.cohort, request.modalities), {}
    if request.corpus is not None:
        places = layout.corpus(request.corpus)
        corpora[request.corpus] = Corpus(load(places.tables), _stores(places, request.corpus_modalities))
        inputs |= {f"corpus {name}": file for name, file in _inputs(places, request.corpus_modalities).items()}
    pictures = make_album(cohort, stores, corpora, request.decoded)
    name = f"audit of the corpus of {request.corpus}" if request.corpus else "audit"
    with progress(name, steps(len(pictures.entries))) as advance:
        if request.corpus is None:
            inputs |= {layout.splits.name: layout.splits}
            findings = audit_cohort(
                cohort,
                load_splits(layout.splits),
                pictures,
                request.classes,
                request.patients_known,
                request.seed,
                workers,
                advance,
            )
        else:
            findings = audit_corpus(pictures, corpora, workers, advance)
    folder = layout.cohort_of(request.corpus).audit
    left = write_audit(folder, findings, request.accept, pictures, inputs)
    show(findings, request.accept, folder, console, names=console is None)
    return [_as_problem(finding) for finding in left]


def _stores(places: CohortLayout, modalities: tuple[str, ...]) -> dict[str, Store]:
    """Return the stores of a cohort by modality."""
    return {modality: open_store(places.store(modality), places.index(modality)) for modality in modalities}


def _inputs(places: CohortLayout, modalities: tuple[str, ...]) -> dict[str, Path]:
    """Return the files that an audit of a cohort reads, by the names that they have in its certificate."""
    tables = {file.name: file for file in (places.patients, places.manifest, places.refused)}
    indexes = (places.index(modality) for modality in modalities)
    return {file.relative_to(places.base).as_posix(): file for file in indexes} | tables


def _as_problem(finding: Finding) -> Problem:
    return Problem(finding.name, finding.what, finding.remedy)
