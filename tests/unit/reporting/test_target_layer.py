"""The layer that Grad-CAM looks at, and its activations as a map."""

import pytest
import timm
import torch
from unit.training.test_backbones import SIZE, images

from sonogrid.reporting.gradcam import feature_map, target_layer
from sonogrid.training.backbones import build_model, logits_of


@pytest.mark.parametrize(
    ("backbone", "layer"),
    [
        ("resnet18", "layer4"),
        ("efficientnet_b7", "blocks.6"),
        ("convnext_tiny", "stages.3"),
        ("vit_small_patch16_224", "blocks.10"),
        ("swin_tiny_patch4_window7_224", "layers.3"),
    ],
)
def test_target_layer_of_the_published_backbones(backbone, layer):
    with torch.device("meta"):
        model = timm.create_model(backbone, num_classes=3)
    assert target_layer(model) == layer


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext", "test_mambaout"])
def test_feature_map_is_channels_first_with_the_channels_of_the_metadata(backbone):
    model = build_model(backbone, 3, SIZE).eval()
    kept = {}
    model.get_submodule(target_layer(model)).register_forward_hook(lambda *a: kept.update(out=a[2]))
    logits_of(model, images(2))
    stage = next(info for info in model.feature_info if info["module"] == target_layer(model))
    side = SIZE // stage["reduction"]
    assert feature_map(model, kept["out"]).shape == (2, stage["num_chs"], side, side)


def test_patch_tokens_keep_their_places():
    model = build_model("test_vit", 3, SIZE)
    tokens = torch.arange(1 + 16, dtype=torch.float32).reshape(1, 17, 1)  # a class token, then 4 x 4 patches
    expected = torch.arange(1, 17, dtype=torch.float32).reshape(1, 1, 4, 4)
    torch.testing.assert_close(feature_map(model, tokens), expected)
