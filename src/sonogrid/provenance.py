"""What anyone needs to redo a result: versions, code, commit, and the machine."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("sonogrid", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "snakemake")
FOLDER = Path(__file__).parent
DECIDING_MODULES = (
    *("training/augment", "config/augment_contract", "fits/cells", "training/examples", "grid", "training/predict"),
    *("training/backbones", "fits/pretraining", "training/fit"),
)
"""Modules whose code decides the numbers of a fit, given its inputs."""


def circumstances() -> dict[str, Any]:
    """Versions, platform, digest of the code that fits, and commit (null outside a git checkout)."""
    return {
        "versions": {"python": platform.python_version()} | package_versions(),
        "platform": platform.platform(),
        "code": fit_code(),
        "commit": commit(),
    }


def whereabouts(device: str) -> dict[str, Any]:
    """Where this process computes: device, node, and what SLURM says of the job (null outside SLURM)."""
    return {
        "device": device,
        "node": os.environ.get("SLURMD_NODENAME", platform.node()),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


@functools.cache
def package_versions() -> dict[str, str]:
    """Installed version of each package of PACKAGES."""
    return {name: version(name) for name in PACKAGES}


@functools.cache
def fit_code() -> str:
    """Return the digest of DECIDING_MODULES."""
    return code_digest(FOLDER / f"{name}.py" for name in DECIDING_MODULES)


def code_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over files of Python code, by name, without comments and docstrings."""
    codes = [f"{file.name} {_normal_form(file)}" for file in sorted(files)]
    return hashlib.sha256("\0".join(codes).encode()).hexdigest()


@functools.cache
def _normal_form(file: Path) -> str:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ]
    return ast.dump(tree)


@functools.cache
def commit() -> str | None:
    """Commit of the checkout this package runs from, with `-dirty` for uncommitted changes; None if there is none."""
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
