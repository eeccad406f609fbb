"""What anyone needs to redo a result: versions, device, commit, hashes of what went in."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sonogrid.files import sha256

PACKAGES = ("sonogrid", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "snakemake")


def circumstances(inputs: Sequence[Path]) -> dict[str, Any]:
    """Versions, platform and commit (null outside a git checkout), and the SHA-256 of each input by its name."""
    return {
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "commit": commit(),
        "inputs": {str(path): sha256(path) for path in inputs},
    }


def commit() -> str | None:
    """Commit of the checkout this package runs from, with `-dirty` for uncommitted changes; None if there is none."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
