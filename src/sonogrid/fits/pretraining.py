"""Divide a corpus for pre-training; the fitting itself is the same as for a cell."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sonogrid.problems import InputError, Problem


def divide(labels: pd.Series[str], inner_fraction: float, seed: int) -> tuple[pd.Series[str], pd.Series[str]]:
    """Divide patients (patient_id -> class name) by class into a training and an inner part.

    Every class gives round(inner_fraction x its patients), at least 1, to the inner part; raises InputError for a
    class of a single patient. Depends on the ids and the seed, not on their order.
    """
    generator = np.random.default_rng(seed)
    inner: list[str] = []
    for name, members in sorted(labels.sort_index().groupby(labels.sort_index())):
        if len(members) < 2:
            what = "has a single patient, and training and inner part need one each"
            raise InputError([Problem(f"class {name!r} of the corpus", what, "Add patients or remove the class")])
        count = max(1, round(inner_fraction * len(members)))
        inner.extend(generator.permutation(members.index.to_numpy())[:count])
    held = labels.index.isin(inner)
    return labels[~held], labels[held]
