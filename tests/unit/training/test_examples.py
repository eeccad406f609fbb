import hashlib

import numpy as np
import pandas as pd
import pytest
import torch

from sonogrid.stored import Store
from sonogrid.training.examples import OtherCanvasError, corpus_parts, examples_of, fold_data, joined, resized

PIXELS = np.arange(4 * 8 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 8, 8, 3)
INDEX = pd.DataFrame({"row": range(4), "image_id": ["i0", "i1", "i2", "i3"], "patient_id": ["p1", "p0", "p1", "p2"]})
INDEX["canvas_sha256"] = [hashlib.sha256(canvas).hexdigest() for canvas in PIXELS]
STORE = Store(PIXELS, INDEX)


def test_images_meet_their_own_labels_whatever_the_order_of_the_patients():
    labels = pd.Series({"p2": "b", "p1": "a"})
    found = examples_of(STORE, "cdfi", labels, ("a", "b"), 8)
    assert found.image_ids.tolist() == ["i0", "i2", "i3"]
    assert found.patients.tolist() == ["p1", "p1", "p2"]
    assert found.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.images[2].permute(1, 2, 0).numpy(), PIXELS[3])


@pytest.mark.parametrize("wrong", ["one pixel", "another order", "another image"])
def test_a_canvas_that_is_not_the_one_of_its_index_is_refused(wrong):
    """Otherwise a recipe, which has the hash of the index, would stand for fits of other pixels."""
    pixels, index = PIXELS.copy(), INDEX
    if wrong == "one pixel":
        pixels[3, -1, -1, -1] ^= 1
    elif wrong == "another order":
        pixels = pixels[::-1]
    else:
        index = INDEX.assign(row=[0, 1, 2, 0])
    with pytest.raises(OtherCanvasError) as caught:
        examples_of(Store(pixels, index), "cdfi", pd.Series({"p2": "b"}), ("a", "b"), 8)
    assert (caught.value.image_id, caught.value.modality) == ("i3", "cdfi")


def test_joined_keeps_rows_together():
    one = examples_of(STORE, "cdfi", pd.Series({"p0": "a"}), ("a", "b"), 8)
    two = examples_of(STORE, "bmode", pd.Series({"p2": "b"}), ("a", "b"), 8)
    both = joined([one, two])
    assert len(both) == 2
    assert both.modalities.tolist() == ["cdfi", "bmode"]
    assert both.image_ids.tolist() == ["i1", "i3"]
    assert both.labels.tolist() == [0, 1]


def test_resizing_averages_and_keeps_the_mean():
    checker = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    checker[:, :, ::2, ::2] = 200
    small = resized(checker, 2)
    assert small.dtype == torch.uint8
    assert small.shape == (1, 3, 2, 2)
    assert abs(small.float().mean() - checker.float().mean()) < 8
    assert torch.equal(resized(checker, 8), checker)


SPLITS = pd.DataFrame(
    [
        ("p0", 0, "train"),
        ("p1", 0, "inner"),
        ("p2", 0, "test"),
        ("p0", 1, "test"),
        ("p1", 1, "train"),
        ("p2", 1, "inner"),
    ],
    columns=["patient_id", "fold", "part"],
)
LABELS = pd.Series({"p0": "a", "p1": "b", "p2": "a"})


RECIPE = {"classes": ["a", "b"], "input_size": 8}


def test_parts_of_a_fold_are_the_images_of_their_patients():
    for fold, train, inner, test in ((0, ["p0"], ["p1", "p1"], ["p2"]), (1, ["p1", "p1"], ["p2"], ["p0"])):
        data = fold_data(RECIPE | {"modality": "cdfi", "fold": fold}, STORE, LABELS, SPLITS)
        parts, predicted = data.parts(), data.predicted()
        assert (parts.train.patients.tolist(), parts.inner.patients.tolist()) == (train, inner)
        assert list(predicted) == ["inner", "test"]
        assert [predicted[part].patients.tolist() for part in predicted] == [inner, test]
        # The held-out patients are in nothing that a model is fitted on or chosen by.
        assert not {*test} & {*parts.train.patients, *parts.inner.patients}


def test_a_corpus_is_divided_by_its_inner_patients_over_all_modalities():
    recipe = RECIPE | {"modalities": ["bmode", "cdfi"]}
    parts = corpus_parts(recipe, {"cdfi": STORE, "bmode": STORE}, LABELS, {"p1"})
    assert parts.train.patients.tolist() == ["p0", "p2"] * 2
    assert parts.inner.patients.tolist() == ["p1", "p1"] * 2
    assert parts.train.modalities.tolist() == ["bmode"] * 2 + ["cdfi"] * 2
    again = corpus_parts(recipe, {"bmode": STORE, "cdfi": STORE}, LABELS[::-1], {"p1"})
    assert again.train.image_ids.tolist() == parts.train.image_ids.tolist(), "whatever the order of patients"
