import numpy as np
import pandas as pd
import torch

from sonogrid.images.store import Store
from sonogrid.training.examples import examples_of, joined, members, resized

PIXELS = np.arange(4 * 8 * 8 * 3, dtype=np.uint32).astype(np.uint8).reshape(4, 8, 8, 3)
INDEX = pd.DataFrame({"row": range(4), "image_id": ["i0", "i1", "i2", "i3"], "patient_id": ["p1", "p0", "p1", "p2"]})
STORE = Store(PIXELS, INDEX)


def test_images_meet_their_own_labels_whatever_the_order_of_the_patients():
    labels = pd.Series({"p2": "b", "p1": "a"})
    found = examples_of(STORE, "cdfi", labels, ("a", "b"), 8)
    assert found.image_ids.tolist() == ["i0", "i2", "i3"]
    assert found.patients.tolist() == ["p1", "p1", "p2"]
    assert found.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(found.images[2].permute(1, 2, 0).numpy(), PIXELS[3])


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


def test_members_are_the_patients_of_one_part_of_one_fold():
    splits = pd.DataFrame(
        [
            ("a", 0, "train"),
            ("b", 0, "inner"),
            ("c", 0, "test"),
            ("a", 1, "test"),
            ("b", 1, "train"),
            ("c", 1, "train"),
        ],
        columns=["patient_id", "fold", "part"],
    )
    found = {(fold, part): list(members(splits, fold, part)) for fold in (0, 1) for part in ("train", "inner", "test")}
    assert found == {
        **{(0, "train"): ["a"], (0, "inner"): ["b"], (0, "test"): ["c"]},
        **{(1, "train"): ["b", "c"], (1, "inner"): [], (1, "test"): ["a"]},
    }
