import numpy as np
import pytest

from sonogrid.multiplicity import holm


def test_holm_matches_r() -> None:
    adjusted = holm([0.01, 0.02, 0.03, 0.04, 0.05, 0.001, 0.2])
    assert adjusted == pytest.approx([0.06, 0.10, 0.12, 0.12, 0.12, 0.007, 0.20])


def test_holm_caps_at_one_and_leaves_out_undefined_tests() -> None:
    assert holm([0.6, np.nan, 0.7]) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert holm([0.02, np.nan]) == pytest.approx([0.02, np.nan], nan_ok=True)
    assert len(holm([])) == 0
