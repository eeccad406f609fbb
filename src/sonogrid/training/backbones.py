"""Backbones through timm: building, first weights, rules of the device, and logits."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


class WeightsError(Exception):
    """First weights that cannot be used: `tensors` of `total`, or the whole file, and then the cause says why."""

    def __init__(self, tensors: Sequence[str] = (), total: int = 0) -> None:
        super().__init__(tensors, total)
        self.tensors, self.total = tuple(tensors), total


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's random state set from `seed`; the state before it comes back after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def best_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def compute_deterministically(device: torch.device) -> None:
    """Have a GPU add in the same order every time; a CPU does. Operations that cannot are told as warnings."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16 itself, so that mixed precision gains time and not only loses digits."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def build_model(backbone: str, n_classes: int, input_size: int, **options: Any) -> nn.Module:
    """A timm backbone with a head of `n_classes` logits for RGB of `input_size` x `input_size` pixels.

    Weights are random, from torch's random state, unless `options` for timm.create_model say otherwise.
    """
    config = timm.get_pretrained_cfg(backbone)
    if config is not None and config.fixed_input_size:
        options["img_size"] = input_size
    model: nn.Module = timm.create_model(backbone, num_classes=n_classes, **options)
    return model


def build_from_timm(backbone: str, n_classes: int, input_size: int, file: Path | None) -> nn.Module:
    """A backbone with timm's published weights: from a local file, or from the hub where `file` is None.

    timm drops a head of another number of classes and resizes position embeddings to `input_size`.
    Raise WeightsError where the weights cannot be had, or where tensors are missing or not finite.
    """
    overlay = {"file": str(file)} if file is not None else None
    state = torch.get_rng_state()
    untrained = build_model(backbone, n_classes, input_size).state_dict()
    torch.set_rng_state(state)
    try:
        model = build_model(backbone, n_classes, input_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, KeyError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError from error
    # timm passes over tensors whose names it does not find: those are still the random ones of the same state.
    body = {name: tensor for name, tensor in model.state_dict().items() if name not in head_parameters(model)}
    kernels = [name for name, tensor in body.items() if tensor.ndim > 1]
    random = [name for name in kernels if torch.equal(body[name], untrained[name])]
    wrong = random + [name for name, tensor in body.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise WeightsError(wrong, len(body))
    return model


def build_from_corpus(backbone: str, n_classes: int, input_size: int, file: Path) -> nn.Module:
    """Return a backbone with the weights of a pre-training; the head is new and random.

    Raise WeightsError if the file cannot be read, or a tensor besides the head is missing, unknown or of another shape.
    """
    model = build_model(backbone, n_classes, input_size)
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError from error
    head = head_parameters(model)
    body = {name: tensor for name, tensor in weights.items() if name not in head}
    own = model.state_dict()
    wrong = {name for name in own.keys() - head if name not in body or body[name].shape != own[name].shape}
    wrong |= body.keys() - own.keys()
    if wrong:
        raise WeightsError(sorted(wrong), len(own.keys() - head))
    model.load_state_dict(body, strict=False)
    return model


def first_model(source: str, backbone: str, n_classes: int, input_size: int, weights: Path | None) -> nn.Module:
    """Return the model that a fit starts from. Raise WeightsError.

    `source` is random, corpus (needs the file with its weights) or timm (a file, or None for the hub).
    """
    if source == "random":
        return build_model(backbone, n_classes, input_size)
    if source == "timm":
        return build_from_timm(backbone, n_classes, input_size, weights)
    if weights is None:
        raise WeightsError
    return build_from_corpus(backbone, n_classes, input_size, weights)


def metadata(model: nn.Module, name: str) -> Any:
    """An attribute in which timm describes a model; None where this architecture has no such thing."""
    return getattr(model, name, None)


def head_parameters(model: nn.Module) -> set[str]:
    """Names of the tensors of the classification head, by timm's own metadata."""
    classifiers = metadata(model, "pretrained_cfg")["classifier"]
    names = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    return {key for key in model.state_dict() if any(key.startswith(f"{name}.") for name in names)}


def normalise(images: Tensor, model: nn.Module) -> Tensor:
    """uint8 or [0, 1] float images, n x 3 x H x W, to the mean and spread that the backbone expects."""
    scaled = images.float().div(255.0) if images.dtype == torch.uint8 else images
    mean, std = (torch.tensor(metadata(model, "pretrained_cfg")[key]) for key in ("mean", "std"))
    return (scaled - mean[:, None, None].to(images.device)) / std[:, None, None].to(images.device)


def logits_of(model: nn.Module, images: Tensor, batch_size: int = 64) -> NDArray[np.float32]:
    """Logits in full precision, n x classes, of uint8 images n x 3 x H x W; the model's mode is restored."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.inference_mode():
        parts = [model(normalise(part.to(device), model)).float().cpu() for part in images.split(batch_size)]
    model.train(training)
    return torch.cat(parts).numpy()
