"""The files of an audit, and the certificate: what was audited, what was found, and what was accepted."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sonogrid
from sonogrid.audit.album import Album
from sonogrid.audit.findings import Finding, findings_table, is_accepted, stale, unaccepted
from sonogrid.audit.illustrations import write_pictures
from sonogrid.files import sha256, write_csv, write_json
from sonogrid.imports import file_of, reached
from sonogrid.layout import AuditLayout
from sonogrid.provenance import code_digest

DECIDING = "sonogrid.audit.look"
"""Module from which all code that decides what is found is reached; how it is shown makes no other certificate."""


def write_audit(
    folder: Path, findings: Sequence[Finding], accept: Sequence[str], album: Album, inputs: Mapping[str, Path]
) -> list[Finding]:
    """Write findings.csv, pictures/ and, if every finding that stops is accepted, certificate.json; gives the others.

    `inputs` are the files that were audited, by the name that the certificate calls them. An old certificate is removed
    first, so that none stands beside findings that it does not know.
    """
    places = AuditLayout(folder)
    places.certificate.unlink(missing_ok=True)
    write_csv(findings_table(findings, accept), places.findings)
    write_pictures(findings, album, places.pictures)
    left = unaccepted(findings, accept)
    if not left:
        write_json(certificate(findings, accept, inputs), places.certificate)
    return left


def certificate(findings: Sequence[Finding], accept: Sequence[str], inputs: Mapping[str, Path]) -> dict[str, Any]:
    """What training rests on: the same inputs, findings, accepted names and code give the same certificate.

    `accepted_sha256` is of the accepted findings that stop alone, by name, images and patients: notes, measures and how
    a finding is worded do not change it.
    """
    stops = [one for one in findings if one.severity == "stop"]
    accepted = sorted((one for one in stops if is_accepted(one, accept)), key=lambda one: one.name)
    return {
        "inputs": {name: sha256(path) for name, path in sorted(inputs.items())},
        "findings_sha256": _digest([_as_record(one) for one in findings]),
        "counts": {
            kind: dict(sorted(Counter(one.severity for one in findings if one.kind == kind).items()))
            for kind in sorted({one.kind for one in findings})
        },
        "accepted": [
            {"name": one.name, "patients": list(one.patients), "images": list(one.images), "what": one.what}
            for one in accepted
        ],
        "accepted_sha256": _digest([[one.name, list(one.images), list(one.patients)] for one in accepted]),
        "accept": sorted(set(accept) - set(stale(findings, accept))),
        "sonogrid": sonogrid.__version__,
        "code": audit_code(),
    }


@functools.cache
def audit_code() -> str:
    """Return the digest of all code of this room that decides what is found."""
    files = [file_of(module) for module in reached([DECIDING], within=["sonogrid.audit"])]
    return code_digest(file for file in files if file is not None)


def _as_record(one: Finding) -> dict[str, Any]:
    return {
        "name": one.name,
        "severity": one.severity,
        "images": list(one.images),
        "patients": list(one.patients),
        "what": one.what,
        "measures": dict(one.measures),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
