"""What the audit says: findings with stable names, their kinds, and which of them a study has accepted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

Severity = Literal["stop", "note"]
Measure = float | int | str

KINDS: Mapping[str, str] = {
    "same_file_two_labels": "files with the same bytes under two labels",
    "same_file_between_patients": "files with the same bytes under two patients",
    "same_file_within_patient": "files with the same bytes, of one patient",
    "same_canvas_two_labels": "files that differ, with the same pixels in the store, under two labels",
    "same_canvas_between_patients": "files that differ, with the same pixels in the store, under two patients",
    "same_canvas_within_patient": "files that differ, with the same pixels in the store, of one patient",
    "same_picture_two_modalities": "the same file or pixels as two modalities of one patient",
    "near_duplicate_two_labels": "changed copies or neighbouring frames under two labels",
    "near_duplicate_between_patients": "changed copies or neighbouring frames under two patients",
    "near_duplicate_within_patient": "changed copies or neighbouring frames of one patient",
    "near_duplicates_not_examined": "more pairs that look alike than are compared one by one",
    "corpus_overlap": "pictures of a pre-training corpus that are, or nearly are, pictures of the cohort",
    "corpus_two_labels": "one picture under two labels in a pre-training corpus",
    "predicts_class": "something other than the tissue that tells the class",
    "modalities_differ_in_device": "a patient whose modalities come from different devices",
    "modalities_differ_in_scale": "a patient whose modalities have very different millimetres per pixel",
    "fold_lacks_class": "a part of a fold without a class, in one modality",
    "fold_lacks_hospital": "a hospital that is missing from the train or test part of folds",
    "fold_lacks_device": "a device that is missing from the train or test part of folds",
    "missing_modality": "patients without pictures of a modality",
    "refused_files": "files that the cohort could not use",
    "patients_unknown": "the source has no patient ids",
}
"""Kind -> what it is. The name of a kind in `audit.accept` accepts all findings of the kind."""

COLUMNS = ("name", "kind", "severity", "accepted", "patients", "images", "what", "remedy", "measures")


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of the results should know; `what` and `remedy` are phrases without a full stop.

    `severity`: stop, where it would make a result untrue, or note. `key`: what identifies the finding among those of
    its kind. Images and patients of a corpus are written as INIT:id.
    """

    kind: str
    severity: Severity
    key: tuple[str, ...]
    what: str
    remedy: str
    images: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    measures: Mapping[str, Measure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of finding: {self.kind}")

    @property
    def name(self) -> str:
        """Kind and twelve hex digits of a hash of the sorted key: the same for the same key, in any order."""
        text = "\0".join(sorted(self.key))
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that stop first, then in the order of KINDS, then by images and name."""
    place = {kind: k for k, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda one: (one.severity != "stop", place[one.kind], one.images, one.name))


def is_accepted(finding: Finding, accept: Sequence[str]) -> bool:
    """Whether a list of names and kinds has this finding."""
    return finding.name in accept or finding.kind in accept


def unaccepted(findings: Iterable[Finding], accept: Sequence[str]) -> list[Finding]:
    """Findings that stop the workflow: of severity stop, and neither their name nor their kind accepted."""
    return [one for one in findings if one.severity == "stop" and not is_accepted(one, accept)]


def stale(findings: Iterable[Finding], accept: Sequence[str]) -> list[str]:
    """Accepted names and kinds that fit no finding, in their order.

    Not an error: a finding goes when its pictures are taken out; and the cohort and each corpus have an audit of their
    own, so that a name fits only one of them.
    """
    known = {text for one in findings for text in (one.name, one.kind)}
    return [text for text in accept if text not in known]


def findings_table(findings: Iterable[Finding], accept: Sequence[str]) -> pd.DataFrame:
    """Return one row per finding with COLUMNS; multiple images, patients or measures are separated by '; '."""
    rows = [
        {
            "name": one.name,
            "kind": one.kind,
            "severity": one.severity,
            "accepted": is_accepted(one, accept),
            "patients": "; ".join(one.patients),
            "images": "; ".join(one.images),
            "what": one.what,
            "remedy": one.remedy,
            "measures": "; ".join(f"{name}={value}" for name, value in one.measures.items()),
        }
        for one in findings
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
