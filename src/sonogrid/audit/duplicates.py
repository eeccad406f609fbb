"""One picture in several places: equal files, equal pixels, changed copies and neighbouring frames.

Equal files and pixels are told for the whole group that is equal; changed copies for two patients, or for one patient
and modality, so that a finding depends on the pictures of these patients and on no others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from sonogrid.audit.album import Album, AlbumEntry
from sonogrid.audit.findings import Finding, Severity
from sonogrid.audit.fingerprints import Close, close_pairs, hash_picture
from sonogrid.audit.registration import similarity
from sonogrid.cohort.manifest import some
from sonogrid.console import Advance, silent
from sonogrid.parallel import in_order

LARGEST_DISTANCE = 52
"""Bits of 256 by which the hashes of a pair may differ for it to be looked at; docs/audit.md says how it was chosen."""
LEAST_SIMILARITY = 0.85
"""Similarity from which a pair is one picture or two neighbouring frames; docs/audit.md says how it was chosen."""
MOST_GROUPS = 300_000
"""So many pairs of patients with pictures that look alike are compared; of more, those that look most alike."""

Group = tuple[str, ...]
Folds = Mapping[str, int]


class Pair(NamedTuple):
    """Two pictures whose hashes are close."""

    one: AlbumEntry
    other: AlbumEntry
    close: Close


def exact_duplicates(entries: Iterable[AlbumEntry], test_fold: Folds, of_corpora: bool = False) -> list[Finding]:
    """Groups with equal files or equal canvases, within the cohort, between it and a corpus, and within a corpus.

    `test_fold` has the fold in which a patient of the cohort is tested. Frames of one file count as equal where
    their pixels are, or where the file stands under two patients. `of_corpora`: only groups with pictures of a corpus.
    """
    entries = list(entries)
    by_file = [group for group in _grouped(entries, lambda one: one.sha256) if _several_patients(group)]
    told = {one.image: k for k, group in enumerate(by_file) for one in group}
    by_canvas = [
        group
        for group in _grouped(entries, lambda one: one.canvas_sha256)
        if len({told.get(one.image, one.image) for one in group}) > 1
    ]
    parts = [part for group in (*by_file, *by_canvas) for part in _parts(group)]
    wanted = [part for part in parts if not of_corpora or any(one.corpus for one in part)]
    return [finding for part in wanted for finding in _exact(part, test_fold)]


def near_duplicates(
    album: Album, test_fold: Folds, of_corpora: bool = False, workers: int = 1, advance: Advance = silent
) -> list[Finding]:
    """Pictures that are one another's changed copies or neighbouring frames, but not pixel by pixel equal.

    `of_corpora`: only what concerns a corpus, as for exact_duplicates.
    Progress: steps(number of different canvases) of fingerprints for the search.
    """
    places = _grouped(album.entries, lambda one: one.canvas_sha256, least=1)
    first = [group[0] for group in places]
    hashes = list(in_order(lambda one: hash_picture(album.content(one)), first, workers))
    groups: dict[Group, list[Pair]] = {}
    for close in close_pairs(hashes, LARGEST_DISTANCE, workers, advance):
        for one, other in product(places[close.first], places[close.second]):
            group = _compared(one, other)
            if group is not None and not (of_corpora and not one.corpus and not other.corpus):
                groups.setdefault(group, []).append(Pair(one, other, close))
    closest = sorted(groups.values(), key=lambda pairs: min(pair.close.distance for pair in pairs))
    matched = in_order(functools.partial(_matched, album), closest[:MOST_GROUPS], workers)
    found = [_near(pairs, alike, test_fold) for pairs, alike in zip(closest, matched, strict=False) if alike]
    if len(closest) > MOST_GROUPS:
        found.append(_not_examined(len(closest)))
    return found


def _grouped(
    entries: Iterable[AlbumEntry], key: Callable[[AlbumEntry], Hashable], least: int = 2
) -> list[list[AlbumEntry]]:
    groups: dict[Hashable, list[AlbumEntry]] = {}
    for one in entries:
        groups.setdefault(key(one), []).append(one)
    return [group for group in groups.values() if len(group) >= least]


def _several_patients(group: Sequence[AlbumEntry]) -> bool:
    return len({one.patient for one in group}) > 1


def _parts(group: list[AlbumEntry]) -> Iterable[list[AlbumEntry]]:
    """The pictures of a group that a finding is about: of the cohort; of the cohort and a corpus; of a corpus."""
    own = [one for one in group if not one.corpus]
    if len(own) > 1:
        yield own
    for name in sorted({one.corpus for one in group} - {""}):
        theirs = [one for one in group if one.corpus == name]
        if own:
            yield own + theirs
        if len(theirs) > 1:
            yield theirs


def _exact(group: list[AlbumEntry], test_fold: Folds) -> list[Finding]:
    """The finding about pictures that are equal, if there is one to tell."""
    same_file = len({one.sha256 for one in group}) == 1
    kind = _kind("same_file" if same_file else "same_canvas", group)
    if kind is None:
        return []
    equal = "one file" if same_file else "the same pixels once stored, though their files differ"
    measures = {"similarity": 1.0, "pictures": len(group)}
    return [_finding(kind, group, equal, measures, test_fold)]


def _near(pairs: list[Pair], alike: list[tuple[Pair, float]], test_fold: Folds) -> Finding:
    by_name = {one.image: one for pair, _ in alike for one in (pair.one, pair.other)}
    group = [by_name[name] for name in sorted(by_name)]
    kind = _kind("near_duplicate", group)
    assert kind is not None
    nearest, highest = max(alike, key=lambda found: (found[1], -found[0].close.distance))
    how = "mirrored copies" if nearest.close.mirrored else "copies or neighbouring frames"
    measures = {
        "similarity": round(highest, 3),
        "hash_distance": nearest.close.distance,
        "pictures": len(group),
    }
    return _finding(kind, group, f"{how} of one picture (similarity {highest:.2f})", measures, test_fold)


def _matched(album: Album, pairs: list[Pair]) -> list[tuple[Pair, float]]:
    """Pairs of one group that are one picture, the closest first; pictures that are matched are not compared again."""
    found: list[tuple[Pair, float]] = []
    known: set[str] = set()
    for pair in sorted(pairs, key=lambda pair: (pair.close.distance, pair.one.image, pair.other.image)):
        if {pair.one.image, pair.other.image} <= known:
            continue
        close = pair.close
        windows = (close.window_first, close.window_second)
        value = similarity(album.content(pair.one), album.content(pair.other), *windows, close.mirrored)
        if value >= LEAST_SIMILARITY:
            found.append((pair, value))
            known |= {pair.one.image, pair.other.image}
    return found


def _compared(one: AlbumEntry, other: AlbumEntry) -> Group | None:
    """Whose pictures a pair belongs to; None where it would be no finding, even if the two were one picture."""
    if one.corpus != other.corpus and one.corpus and other.corpus:
        return None
    if one.corpus and one.corpus == other.corpus and one.label == other.label:
        return None
    if one.patient == other.patient:
        return (one.patient, one.modality) if one.modality == other.modality else None
    return tuple(sorted((one.patient, other.patient)))


def _kind(how: str, group: Sequence[AlbumEntry]) -> str | None:
    corpora = {one.corpus for one in group}
    labels = {one.label for one in group}
    if "" in corpora and len(corpora) > 1:
        return "corpus_overlap"
    if corpora != {""}:
        return "corpus_two_labels" if len(labels) > 1 else None
    if _several_patients(group):
        return f"{how}_two_labels" if len(labels) > 1 else f"{how}_between_patients"
    if how != "near_duplicate" and len({one.modality for one in group}) > 1:
        return "same_picture_two_modalities"
    return f"{how}_within_patient"


_LABELS = "Find out which label is right and take the other pictures out; where nobody can tell, take out all"
_REMEDIES: Mapping[str, tuple[Severity, str]] = {
    "between_patients": ("stop", "Give them one patient_id if they are one patient; else take out all but one"),
    "within_patient": ("note", "Nothing, unless the patient should count less: it stays in one part of every fold"),
    "two_modalities": ("stop", "Correct the modality of one of them, or take it out"),
    "corpus_overlap": ("stop", "Take them out of the corpus: pre-training would see held-out patients"),
    "corpus_two_labels": ("note", f"{_LABELS}; only pre-training sees them"),
    "two_labels": ("stop", _LABELS),
}
"""Ending of a kind -> severity and remedy; the first that fits counts."""


def _finding(
    kind: str, group: Sequence[AlbumEntry], equal: str, measures: Mapping[str, float | int | str], test_fold: Folds
) -> Finding:
    severity, remedy = next(value for ending, value in _REMEDIES.items() if kind.endswith(ending))
    own = [one for one in group if not one.corpus]
    what = f"{len(group)} pictures: {equal}"
    labels = sorted({one.label for one in group})
    if len(labels) > 1 and kind != "corpus_overlap":
        what += f"; labels {some(labels)}"
    folds = sorted({test_fold[one.patient_id] for one in own if one.patient_id in test_fold})
    if len(folds) > 1:
        what += f"; test folds {some(folds)}, so what was trained on is tested"
    if kind == "same_picture_two_modalities":
        what += f"; modalities {some(sorted({one.modality for one in group}))}"
    images = tuple(sorted(one.image for one in group))
    return Finding(
        kind=kind,
        severity=severity,
        key=images,
        what=what,
        remedy=remedy,
        images=images,
        patients=tuple(sorted({one.patient for one in group})),
        measures=measures,
    )


def _not_examined(groups: int) -> Finding:
    return Finding(
        kind="near_duplicates_not_examined",
        severity="stop",
        key=("near",),
        what=f"{groups} pairs of patients have pictures that look alike; the {MOST_GROUPS} closest were compared",
        remedy="Look at the findings first: such numbers come of one picture, or an empty one, in many places",
        measures={"groups": groups},
    )
