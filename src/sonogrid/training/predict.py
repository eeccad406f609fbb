"""Model and images to a table of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import nn

from sonogrid.evaluation.metrics import log_softmax
from sonogrid.grid import Cell
from sonogrid.training.backbones import logits_of
from sonogrid.training.examples import Examples


def predictions_of(model: nn.Module, examples: Examples, cell: Cell, part: str, classes: Sequence[str]) -> pd.DataFrame:
    """One row an image: identity of the cell, part, image, patient, label, logits and probabilities."""
    logits = logits_of(model, examples.images).astype(np.float64)
    probabilities = np.exp(log_softmax(logits))
    return pd.DataFrame(
        {
            "backbone": cell.backbone,
            "init": cell.init,
            "modality": cell.modality,
            "seed": cell.seed,
            "fold": cell.fold,
            "part": part,
            "image_id": examples.image_ids,
            "patient_id": examples.patients,
            "label": [classes[number] for number in examples.labels],
            **{f"logit_{name}": logits[:, k] for k, name in enumerate(classes)},
            **{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)},
        }
    )
