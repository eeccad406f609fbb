import pandas as pd
import pytest

from sonogrid.fits.pretraining import divide
from sonogrid.problems import InputError

LABELS = pd.Series({f"p{k}": "benign" if k < 20 else "malignant" for k in range(30)})


def test_parts_are_disjoint_complete_and_stratified():
    train, inner = divide(LABELS, 0.2, 7)
    assert set(train.index) | set(inner.index) == set(LABELS.index)
    assert not set(train.index) & set(inner.index)
    assert inner.value_counts().to_dict() == {"benign": 4, "malignant": 2}


def test_order_of_patients_changes_nothing():
    mixed = LABELS.sample(frac=1.0, random_state=1)
    assert set(divide(mixed, 0.2, 7)[1].index) == set(divide(LABELS, 0.2, 7)[1].index)
    assert set(divide(LABELS, 0.2, 8)[1].index) != set(divide(LABELS, 0.2, 7)[1].index)


def test_a_class_of_one_patient_is_refused():
    with pytest.raises(InputError, match="class 'benign'"):
        divide(pd.Series({"a": "benign", "b": "malignant", "c": "malignant"}), 0.2, 7)
