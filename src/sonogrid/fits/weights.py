"""Weights of a model: first ones with what to do where they cannot be used, and the format in which they are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors.torch import load_file, save
from torch import nn

from sonogrid.problems import Problem
from sonogrid.training.backbones import WeightsError
from sonogrid.training.fit import FirstModel


def save_weights(model: nn.Module, file: Path) -> None:
    """Write a model's tensors as safetensors. Raise OSError."""
    file.write_bytes(_as_bytes(model))


def load_weights(model: nn.Module, file: Path) -> nn.Module:
    """Load tensors that save_weights wrote, all of them; return the model."""
    model.load_state_dict(load_file(file), strict=True)
    return model


def fingerprint_of(model: nn.Module) -> str:
    """Return the SHA-256 of a model's tensors, as 64 hex digits: says which first weights a fit had."""
    return hashlib.sha256(_as_bytes(model)).hexdigest()


def _as_bytes(model: nn.Module) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})


def weights_problem(error: WeightsError, first: FirstModel) -> Problem:
    """Return what is wrong with first weights, and what to do about it."""
    file = first.weights
    place = f"weights of {first.backbone}" + (f" in {file}" if file else " from the hub" * (first.source == "timm"))
    count = f"{len(error.tensors)} of {error.total} tensors"
    if first.source == "timm":
        remedy = "Put a weights file of this backbone under inits.<name>.files, or choose another init"
        bad = f"{count} are missing or not finite"
    else:
        remedy = "Pre-train again with this backbone and size (sonogrid pretrain)"
        bad = f"{count} do not fit at {first.input_size} px"
    what = f"{bad}, first {error.tensors[0]}" if error.tensors else f"cannot be loaded ({_reason(error.__cause__)})"
    return Problem(place, what, remedy)


def _reason(cause: BaseException | None) -> str:
    if cause is None:
        return "there is no file"
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
