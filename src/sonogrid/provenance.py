"""What anyone needs to redo a result: versions, code, commit, and the machine."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import subprocess
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
PICTURE_PACKAGES = (
    *("numpy", "scipy", "pillow", "pydicom", "pyjpegls", "opencv-python-headless", "rapidocr", "onnxruntime"),
)
"""Packages whose version decides what becomes of a source picture."""


def circumstances() -> dict[str, Any]:
    """Versions, platform, digest of the code that fits, and commit (null outside a git checkout)."""
    return {
        "versions": {"python": platform.python_version()} | package_versions(),
        "platform": platform.platform(),
        "code": code_digest(),
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
def code_digest() -> str:
    """SHA-256 over DECIDING_MODULES without comments: says more than a commit where there are uncommitted changes."""
    return _digest([FOLDER / f"{name}.py" for name in DECIDING_MODULES])


@functools.cache
def picture_code() -> str:
    """SHA-256 over all that decides what becomes of a source picture: code without comments, versions of packages."""
    files = [*sorted(FOLDER.glob("images/*.py")), *sorted(FOLDER.glob("dicom/*.py"))]
    versions = [f"{name} {version(name)}" for name in PICTURE_PACKAGES]
    return hashlib.sha256("\0".join([_digest(files), *versions]).encode()).hexdigest()


def _digest(files: list[Path]) -> str:
    sources = [file.read_text(encoding="utf-8") for file in files]
    return hashlib.sha256("\0".join(ast.dump(ast.parse(source)) for source in sources).encode()).hexdigest()


@functools.cache
def commit() -> str | None:
    """Commit of the checkout this package runs from, with `-dirty` for uncommitted changes; None if there is none."""
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
