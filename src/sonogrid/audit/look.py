"""All that is looked for: in a cohort, its folds and its canvases, and in the corpora of its inits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from sonogrid.audit.album import Album, Corpus
from sonogrid.audit.confounding import confounders
from sonogrid.audit.coverage import absences, disagreements, gaps_in_folds, refused_files, unknown_patients
from sonogrid.audit.duplicates import exact_duplicates, near_duplicates
from sonogrid.audit.findings import Finding, ordered
from sonogrid.cohort.manifest import Cohort
from sonogrid.console import Advance, silent


def audit_cohort(
    cohort: Cohort,
    splits: pd.DataFrame,
    pictures: Album,
    classes: Sequence[str],
    patients_known: bool,
    seed: int,
    workers: int = 1,
    advance: Advance = silent,
) -> list[Finding]:
    """Everything found in a cohort, its folds and the canvases of its album; findings that stop first.

    Reads canvases only, never source pictures. The same inputs give the same findings, in any order of rows.
    Pictures of modalities that the album has no store of are in no training, and in no finding but refused_files.
    `seed` draws the permutations of tests. Progress: fingerprints.steps(number of pictures).
    """
    test_fold = _test_fold(splits)
    stores = {modality: store for (corpus, modality), store in pictures.stores.items() if not corpus}
    used = replace(cohort, images=cohort.images[cohort.images["modality"].isin(list(stores))])
    return ordered(
        [
            *exact_duplicates(pictures.entries, test_fold),
            *near_duplicates(pictures, test_fold, workers=workers, advance=advance),
            *confounders(used, stores, test_fold, classes, seed),
            *disagreements(used),
            *gaps_in_folds(used, splits, classes),
            *absences(used, sorted(stores), classes),
            *refused_files(cohort),
            *([] if patients_known else [unknown_patients()]),
        ]
    )


def audit_corpus(
    pictures: Album, corpora: Mapping[str, Corpus], workers: int = 1, advance: Advance = silent
) -> list[Finding]:
    """What is found about corpora, of which the album has the pictures beside those of the cohort.

    Pictures that are also in the cohort, one picture under two labels, refused files. Progress as for audit_cohort.
    """
    exact = exact_duplicates(pictures.entries, {}, of_corpora=True)
    near = near_duplicates(pictures, {}, of_corpora=True, workers=workers, advance=advance)
    refused = [one for name, corpus in corpora.items() for one in refused_files(corpus.cohort, name)]
    return ordered([*exact, *near, *refused])


def _test_fold(splits: pd.DataFrame) -> dict[str, int]:
    """The fold in which each patient is tested."""
    tested = splits[splits["part"] == "test"]
    return dict(zip(tested["patient_id"], tested["fold"].astype(int), strict=True))
