"""Backbones through timm: first weights, heads, logits."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from sonogrid.fits.weights import save_weights
from sonogrid.training.backbones import (
    WeightsError,
    build_from_corpus,
    build_from_timm,
    build_model,
    first_model,
    head_parameters,
    logits_of,
    normalise,
    seeded,
)

SIZE = 64


def images(n=3, size=SIZE):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_mambaout"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_logits_have_one_column_a_class(backbone, n_classes):
    logits = logits_of(build_model(backbone, n_classes, SIZE), images())
    assert logits.shape == (3, n_classes)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_logits_do_not_depend_on_the_batch_and_leave_the_mode_alone():
    model = build_model("test_resnet", 3, SIZE).train()
    np.testing.assert_allclose(logits_of(model, images()), logits_of(model, images(), 1), rtol=1e-4, atol=1e-5)
    assert model.training


def test_seeded_weights_are_equal_and_the_state_outside_is_untouched():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(5):
        one = build_model("test_resnet", 3, SIZE).state_dict()
    assert torch.equal(torch.rand(2), expected)
    with seeded(5):
        other = build_model("test_resnet", 3, SIZE).state_dict()
    with seeded(6):
        third = build_model("test_resnet", 3, SIZE).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["fc.weight"], third["fc.weight"])


def test_normalise_is_the_formula_of_the_backbones_metadata():
    model = build_model("test_resnet", 3, SIZE)
    found = normalise(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8), model)[0, :, 0, 0]
    config = timm.get_pretrained_cfg("test_resnet")
    np.testing.assert_allclose(found, (1 - np.array(config.mean)) / np.array(config.std), rtol=1e-5)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_corpus_weights_move_the_body_and_leave_a_new_head(backbone, tmp_path):
    source = build_model(backbone, 5, SIZE)
    save_weights(source, tmp_path / "w.safetensors")
    model = build_from_corpus(backbone, 3, SIZE, tmp_path / "w.safetensors")
    head = head_parameters(model)
    assert head
    ours, theirs = model.state_dict(), source.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name not in head)
    assert all(ours[name].shape[0] == 3 for name in head)


def test_corpus_weights_of_another_backbone_are_refused(tmp_path):
    save_weights(build_model("test_vit", 3, SIZE), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        build_from_corpus("test_resnet", 3, SIZE, tmp_path / "w.safetensors")
    assert 0 < caught.value.total < len(caught.value.tensors)


def test_corpus_weights_of_another_size_are_refused(tmp_path):
    save_weights(build_model("test_vit", 3, 96), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        build_from_corpus("test_vit", 3, SIZE, tmp_path / "w.safetensors")
    assert caught.value.tensors == ("pos_embed",)


def test_init_from_a_corpus_needs_weights():
    with pytest.raises(WeightsError):
        first_model("corpus", "test_resnet", 3, SIZE, None)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_published_weights_load_from_a_local_file_through_timm(backbone, suffix, tmp_path):
    source = timm.create_model(backbone)
    file = tmp_path / f"w.{suffix}"
    if suffix == "pth":
        torch.save(source.state_dict(), file)
    else:
        save_file({k: v.contiguous() for k, v in source.state_dict().items()}, file)
    model = build_from_timm(backbone, 3, SIZE, file)
    ours, theirs, head = model.state_dict(), source.state_dict(), head_parameters(model)
    same = [name for name in ours if name not in head and ours[name].shape == theirs[name].shape]
    assert all(torch.equal(ours[name], theirs[name]) for name in same)
    assert set(ours) - set(same) - head <= {"pos_embed"}


@pytest.mark.parametrize("kept", [0, 5])
def test_published_weights_of_other_names_are_refused_and_not_silently_random(kept, tmp_path):
    tensors = timm.create_model("test_resnet").state_dict()
    named = {(k if i < kept else f"other.{k}"): v.contiguous() for i, (k, v) in enumerate(tensors.items())}
    save_file(named, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        build_from_timm("test_resnet", 3, SIZE, tmp_path / "w.safetensors")
    assert 0 < len(caught.value.tensors) <= caught.value.total


def test_published_weights_that_are_not_finite_are_refused(tmp_path):
    tensors = {k: v.contiguous() for k, v in timm.create_model("test_resnet").state_dict().items()}
    tensors["layer1.0.conv1.weight"] = torch.full_like(tensors["layer1.0.conv1.weight"], float("nan"))
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        build_from_timm("test_resnet", 3, SIZE, tmp_path / "w.safetensors")
    assert caught.value.tensors == ("layer1.0.conv1.weight",)


@pytest.mark.parametrize(("name", "content"), [("w.safetensors", b"damaged"), ("w.pth", b""), ("w.pth", b"damaged")])
def test_damaged_weights_are_refused_with_their_cause(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        build_from_timm("test_resnet", 3, SIZE, tmp_path / name)
    assert caught.value.tensors == () and caught.value.__cause__ is not None


def test_a_pickle_with_code_in_it_is_refused(tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return (print, ("code from a weights file ran",))

    torch.save({"fc.weight": Hostile()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError):
        build_from_timm("test_resnet", 3, SIZE, tmp_path / "w.pth")
    assert "ran" not in capsys.readouterr().out
