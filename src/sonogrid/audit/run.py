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
from sonogrid.images.store import Store, open_store
from sonogrid.layout import Layout
from sonogrid.problems import Problem
from sonogrid.splits import load_splits


def audit_folder(request: AuditRequest) -> Path:
    """Where an audit's files go: below the results, or below the corpus."""
    return _data_folder(request) / "audit" if request.corpus else request.results / "audit"


def run_audit(request: AuditRequest, workers: int, console: Console | None = None) -> list[Problem]:
    """Audit the cohort of a study or a corpus; print and write what was found; what must be mended or accepted."""
    cohort, stores, inputs = load(request.results / "cohort"), *_stores(request.results / "images", request.modalities)
    inputs |= {name: request.results / "cohort" / name for name in ("patients.csv", "manifest.csv", "refused.csv")}
    corpora = {}
    if request.corpus is not None:
        folder = _data_folder(request)
        corpus_stores, files = _stores(folder / "images", request.corpus_modalities)
        corpora[request.corpus] = Corpus(load(folder), corpus_stores)
        inputs |= {f"corpus {name}": path for name, path in files.items()}
        inputs |= {f"corpus {name}": folder / name for name in ("patients.csv", "manifest.csv", "refused.csv")}
    splits = request.results / "splits.csv"
    pictures = make_album(cohort, stores, corpora, request.decoded)
    name = f"audit of the corpus of {request.corpus}" if request.corpus else "audit"
    with progress(name, steps(len(pictures.entries))) as advance:
        if request.corpus is None:
            inputs |= {"splits.csv": splits}
            findings = audit_cohort(
                cohort,
                load_splits(splits),
                pictures,
                request.classes,
                request.patients_known,
                request.seed,
                workers,
                advance,
            )
        else:
            findings = audit_corpus(pictures, corpora, workers, advance)
    left = write_audit(audit_folder(request), findings, request.accept, pictures, inputs)
    show(findings, request.accept, audit_folder(request), console, names=console is None)
    return [_as_problem(one) for one in left]


def _data_folder(request: AuditRequest) -> Path:
    return Layout(request.results).cohort_of(request.corpus).base


def _stores(folder: Path, modalities: tuple[str, ...]) -> tuple[dict[str, Store], dict[str, Path]]:
    """The stores of a folder by modality, and their indexes by name."""
    indexes = {modality: folder / f"{modality}.csv" for modality in modalities}
    stores = {modality: open_store(path.with_suffix(".npy"), path) for modality, path in indexes.items()}
    return stores, {f"images/{modality}.csv": path for modality, path in indexes.items()}


def _as_problem(one: Finding) -> Problem:
    return Problem(one.name, one.what, one.remedy)
