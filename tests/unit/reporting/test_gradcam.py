"""Which held-out images a panel shows, and that the maps mark what decides."""

import numpy as np
import pandas as pd
import pytest
import torch

from sonogrid.reporting.gradcam import chosen_examples, grad_cam, share_in_lesion
from sonogrid.training.backbones import build_model, seeded

CLASSES = ("benign", "malignant")


def row(image, patient, label, p_malignant):
    logits = np.log([1 - p_malignant, p_malignant])
    identity = {"backbone": "b", "init": "i", "modality": "bmode", "seed": 0, "fold": 0, "part": "test"}
    scores = dict(zip(("logit_benign", "logit_malignant"), logits, strict=True))
    return identity | {
        "image_id": image,
        "patient_id": patient,
        "label": label,
        "p_benign": 1 - p_malignant,
        "p_malignant": p_malignant,
        **scores,
    }


TEST = pd.DataFrame(
    [
        row("a1", "a", "malignant", 0.9),
        row("b1", "b", "malignant", 0.2),
        row("c1", "c", "malignant", 0.6),
        row("c2", "c", "malignant", 0.6),
        row("d1", "d", "benign", 0.3),
        row("d2", "d", "benign", 0.5),
        row("d3", "d", "benign", 0.39),
    ]
)


def test_the_median_patient_of_each_class_and_its_typical_image():
    chosen = chosen_examples(TEST, CLASSES, (0.5,)).set_index("label")
    assert chosen.loc["malignant", "image_id"] == "c1"  # a tie, broken by image_id
    assert chosen.loc["malignant", "p_true"] == pytest.approx(0.6)
    assert chosen.loc["malignant", "predicted"] == "malignant"
    # Log-opinion pool of 0.3, 0.5 and 0.39: odds (3/7 * 1 * 39/61) ** (1/3); the nearest image is d3.
    odds = (3 / 7 * 1 * 39 / 61) ** (1 / 3)
    assert chosen.loc["benign", "p_true"] == pytest.approx(1 / (1 + odds))
    assert chosen.loc["benign", "image_id"] == "d3"


def test_quantiles_show_failures_too_and_the_order_of_rows_changes_nothing():
    chosen = chosen_examples(TEST, CLASSES, (0.0, 1.0))
    assert chosen.loc[chosen["label"] == "malignant", "image_id"].tolist() == ["b1", "a1"]
    shuffled = chosen_examples(TEST.sample(frac=1.0, random_state=3), CLASSES, (0.0, 1.0))
    pd.testing.assert_frame_equal(chosen, shuffled)


def test_a_class_without_patients_has_no_row():
    assert set(chosen_examples(TEST[TEST["label"] == "benign"], CLASSES, (0.5,))["label"]) == {"benign"}


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext", "test_mambaout"])
def test_maps_have_the_size_of_the_image_and_lie_in_the_unit_interval(backbone):
    with seeded(1):
        model = build_model(backbone, 3, 64)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for target in range(3):
        heat = grad_cam(model, image, target)
        assert heat.shape == (64, 64)
        assert heat.min() >= 0
        assert heat.max() <= 1


class Corner(torch.nn.Module):
    """Its logit 1 is the mean brightness of the picture after a convolution that copies it: a known answer."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
        self.feature_info = [{"module": "copy", "num_chs": 1, "reduction": 1}]
        self.copy = torch.nn.Conv2d(3, 1, 1, bias=False)
        torch.nn.init.constant_(self.copy.weight, 1 / 3)

    def forward(self, x):
        mean = self.copy(x).mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean], dim=1)


def test_the_map_marks_the_bright_corner_for_the_class_it_raises_and_nothing_for_the_other():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, :8, :8] = 255
    corner = np.zeros((32, 32), dtype=bool)
    corner[:8, :8] = True
    heat = grad_cam(Corner(), image, 1)
    assert share_in_lesion(heat, corner) == pytest.approx(1.0)
    assert heat[corner].min() > 0.99
    assert grad_cam(Corner(), image, 0).max() == 0


def test_share_in_lesion_is_not_defined_without_a_mask_or_a_map():
    heat = np.ones((4, 4), dtype=np.float32)
    half = np.zeros((4, 4), dtype=bool)
    half[:2] = True
    assert share_in_lesion(heat, half) == pytest.approx(0.5)
    assert np.isnan(share_in_lesion(heat, None))
    assert np.isnan(share_in_lesion(0 * heat, half))
