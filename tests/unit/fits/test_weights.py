"""Weights on disk, and what a user reads where first weights cannot be used."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from unit.training.test_backbones import SIZE, images

from sonogrid.fits.weights import fingerprint_of, load_weights, save_weights, weights_problem
from sonogrid.training.backbones import WeightsError, build_model, first_model, logits_of, seeded
from sonogrid.training.fit import FirstModel


def test_weights_survive_a_round_trip(tmp_path):
    source = build_model("test_resnet", 3, SIZE)
    save_weights(source, tmp_path / "m.safetensors")
    model = load_weights(build_model("test_resnet", 3, SIZE), tmp_path / "m.safetensors")
    np.testing.assert_array_equal(logits_of(model, images()), logits_of(source, images()))
    assert set(load_file(tmp_path / "m.safetensors")) == set(source.state_dict())


def test_fingerprint_says_which_weights_a_model_has(tmp_path):
    with seeded(1):
        one, other = build_model("test_resnet", 3, SIZE), build_model("test_resnet", 3, SIZE)
    assert fingerprint_of(one) != fingerprint_of(other)
    save_weights(one, tmp_path / "m.safetensors")
    assert fingerprint_of(load_weights(other, tmp_path / "m.safetensors")) == fingerprint_of(one)


def refused(source, file, backbone="test_resnet", size=SIZE):
    with pytest.raises(WeightsError) as caught:
        first_model(source, backbone, 3, size, file)
    return str(weights_problem(caught.value, FirstModel(source, backbone, 3, size, file)))


def test_corpus_weights_of_another_backbone_are_named_with_the_remedy(tmp_path):
    save_weights(build_model("test_vit", 3, SIZE), tmp_path / "w.safetensors")
    told = refused("corpus", tmp_path / "w.safetensors")
    assert f"weights of test_resnet in {tmp_path / 'w.safetensors'}: " in told
    assert f"tensors do not fit at {SIZE} px, first " in told and "sonogrid pretrain" in told


def test_corpus_weights_that_are_damaged_or_gone_are_named(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    assert "w.safetensors: cannot be loaded (" in refused("corpus", tmp_path / "w.safetensors")
    assert "none.safetensors: cannot be loaded (" in refused("corpus", tmp_path / "none.safetensors")
    assert "weights of test_resnet: cannot be loaded (there is no file). Pre-train" in refused("corpus", None)


def test_published_weights_that_are_not_finite_are_counted(tmp_path):
    tensors = {
        name: tensor.contiguous() for name, tensor in build_model("test_resnet", 1000, SIZE).state_dict().items()
    }
    tensors["layer1.0.conv1.weight"] = torch.full_like(tensors["layer1.0.conv1.weight"], float("nan"))
    save_file(tensors, tmp_path / "w.safetensors")
    told = refused("timm", tmp_path / "w.safetensors")
    assert ": 1 of " in told and "missing or not finite, first layer1.0.conv1.weight. Put a weights file" in told


@pytest.mark.parametrize(("name", "content"), [("w.safetensors", b"damaged"), ("w.pth", b""), ("w.pth", b"damaged")])
def test_damaged_published_weights_are_named(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert f"{name}: cannot be loaded (" in refused("timm", tmp_path / name)


def test_published_weights_that_cannot_be_had_name_the_backbone_and_a_remedy(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = refused("timm", None)
    assert "weights of test_resnet from the hub: cannot be loaded" in told and "inits.<name>.files" in told
