"""Predictions: rows, logits and their softmax."""

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from unit.training.test_examples import PIXELS, STORE

from sonogrid.training import predict
from sonogrid.training.examples import examples_of
from sonogrid.training.predict import predictions_of


class Fixed(torch.nn.Module):
    """Logits that are the red and green level of the first pixel, in tenths."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, :2, 0, 0] * 25.5


def test_predictions_are_a_row_per_image_with_logits_and_their_softmax():
    examples = examples_of(STORE, "cdfi", pd.Series({"p1": "a", "p2": "b"}), ("a", "b"), 8)
    table = predictions_of(Fixed(), examples, ("a", "b"))
    assert table.columns.tolist() == ["image_id", "patient_id", "label", "logit_a", "logit_b", "p_a", "p_b"]
    assert table["image_id"].tolist() == ["i0", "i2", "i3"]
    assert table["patient_id"].tolist() == ["p1", "p1", "p2"]
    assert table["label"].tolist() == ["a", "a", "b"]
    expected = PIXELS[[0, 2, 3], 0, 0, :2] / 10
    np.testing.assert_allclose(table[["logit_a", "logit_b"]], expected, rtol=1e-5)
    np.testing.assert_allclose(table["p_a"], 1 / (1 + np.exp(expected[:, 1] - expected[:, 0])), rtol=1e-5)


def test_log_softmax_is_that_of_scipy_for_large_logits_too():
    logits = np.random.default_rng(0).normal(scale=10.0, size=(50, 4))
    logits = np.concatenate([logits, logits + 800.0, logits - 800.0])
    np.testing.assert_allclose(predict._log_softmax(logits), log_softmax(logits, axis=1), rtol=1e-12, atol=1e-12)
