"""Model and images to a table of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from sonogrid.training.backbones import logits_of
from sonogrid.training.examples import Examples


def predictions_by_part(model: nn.Module, parts: Mapping[str, Examples], classes: Sequence[str]) -> pd.DataFrame:
    """Return the rows of `predictions_of` for every part, one after the other, with the part in front."""
    tables = []
    for part, examples in parts.items():
        table = predictions_of(model, examples, classes)
        table.insert(0, "part", part)
        tables.append(table)
    return pd.concat(tables)


def predictions_of(model: nn.Module, examples: Examples, classes: Sequence[str]) -> pd.DataFrame:
    """Return one row per image: image, patient, label, logits and probabilities."""
    logits = logits_of(model, examples.images).astype(np.float64)
    probabilities = np.exp(_log_softmax(logits))
    return pd.DataFrame(
        {
            "image_id": examples.image_ids,
            "patient_id": examples.patients,
            "label": [classes[number] for number in examples.labels],
            **{f"logit_{name}": logits[:, k] for k, name in enumerate(classes)},
            **{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)},
        }
    )


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log probabilities of logits n x classes, in nats; safe for large logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities
