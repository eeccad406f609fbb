"""Backbones through timm: building, first weights, the layer that Grad-CAM looks at, and logits."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sonogrid.problems import InputError, Problem


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's random state set from `seed`; the state before it comes back after."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def best_device() -> torch.device:
    """CUDA if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """What run.json calls a device: the GPU's name, or cpu."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


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
    Raises InputError where the weights cannot be had or do not fit.
    """
    overlay = {"file": str(file)} if file is not None else None
    where = f"weights of {backbone}" + (f" in {file}" if file else " from the hub")
    remedy = "Put a weights file of this backbone under inits.<name>.files, or choose another init"
    state = torch.get_rng_state()
    untrained = build_model(backbone, n_classes, input_size).state_dict()
    torch.set_rng_state(state)
    try:
        model = build_model(backbone, n_classes, input_size, pretrained=True, pretrained_cfg_overlay=overlay)
    except (OSError, RuntimeError, KeyError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError([Problem(where, f"cannot be loaded ({reason})", remedy)]) from error
    # timm passes over tensors whose names it does not find: those are still the random ones of the same state.
    body = {name: tensor for name, tensor in model.state_dict().items() if name not in head_parameters(model)}
    kernels = [name for name, tensor in body.items() if tensor.ndim > 1]
    random = [name for name in kernels if torch.equal(body[name], untrained[name])]
    wrong = random + [name for name, tensor in body.items() if not torch.isfinite(tensor).all()]
    if wrong:
        what = f"{len(wrong)} of {len(body)} tensors are missing or not finite, first {wrong[0]}"
        raise InputError([Problem(where, what, remedy)])
    return model


def build_from_corpus(backbone: str, n_classes: int, input_size: int, file: Path) -> nn.Module:
    """A backbone with the weights that the pre-training stage wrote; the head is new and random.

    Raises InputError if a tensor besides the head is missing, unknown or of another shape.
    """
    model = build_model(backbone, n_classes, input_size)
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise InputError([Problem(f"weights in {file}", f"cannot be read ({error})", "Pre-train again")]) from error
    head = head_parameters(model)
    body = {name: tensor for name, tensor in weights.items() if name not in head}
    own = model.state_dict()
    wrong = {name for name in own.keys() - head if name not in body or body[name].shape != own[name].shape}
    wrong |= body.keys() - own.keys()
    if wrong:
        raise InputError(
            [
                Problem(
                    f"weights in {file}",
                    f"{len(wrong)} tensors do not fit {backbone} at {input_size} px, first {sorted(wrong)[0]}",
                    "Pre-train again with this backbone and size",
                )
            ]
        )
    model.load_state_dict(body, strict=False)
    return model


def first_model(source: str, backbone: str, n_classes: int, input_size: int, weights: Path | None) -> nn.Module:
    """The model a cell starts from: `source` is random, corpus (with its weights) or timm (a file, or the hub)."""
    if source == "random":
        return build_model(backbone, n_classes, input_size)
    if source == "timm":
        return build_from_timm(backbone, n_classes, input_size, weights)
    if weights is None:
        raise InputError([Problem(f"init of {backbone}", "has no weights file", "Pass --weights")])
    return build_from_corpus(backbone, n_classes, input_size, weights)


def metadata(model: nn.Module, name: str) -> Any:
    """An attribute in which timm describes a model; None where this architecture has no such thing."""
    return getattr(model, name, None)


def head_parameters(model: nn.Module) -> set[str]:
    """Names of the tensors of the classification head, by timm's own metadata."""
    classifiers = metadata(model, "pretrained_cfg")["classifier"]
    names = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    return {key for key in model.state_dict() if any(key.startswith(f"{name}.") for name in names)}


def save_weights(model: nn.Module, file: Path) -> None:
    """Write a model's tensors as safetensors. Raises OSError."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    file.write_bytes(save(tensors))


def fingerprint(model: nn.Module) -> str:
    """SHA-256 of a model's tensors, as 64 hex digits: says which first weights a fit had."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(save(tensors)).hexdigest()


def load_weights(model: nn.Module, file: Path) -> nn.Module:
    """Load tensors that save_weights wrote, all of them; return the model."""
    model.load_state_dict(load_file(file), strict=True)
    return model


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


def target_layer(model: nn.Module) -> str:
    """Name of the layer that Grad-CAM looks at: the last feature map that timm's metadata names.

    Where the head reads only the class token, the patch tokens of the last block get no gradient, so it is the
    block before.
    """
    info = metadata(model, "feature_info")
    modules = [stage["module"] for stage in getattr(info, "info", info)]
    only_class_token = metadata(model, "global_pool") == "token"
    return str(modules[-2] if only_class_token else modules[-1])


def feature_map(model: nn.Module, activations: Tensor) -> Tensor:
    """Activations of the target layer as n x channels x rows x columns, whatever order the backbone keeps."""
    if activations.ndim == 3:
        patches = activations[:, metadata(model, "num_prefix_tokens") or 0 :]
        rows, columns = metadata(model, "patch_embed").grid_size
        return patches.transpose(1, 2).reshape(len(patches), -1, rows, columns)
    if metadata(model, "output_fmt") == "NHWC":
        return activations.permute(0, 3, 1, 2)
    return activations
