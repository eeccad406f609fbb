"""What anyone needs to redo a result: versions, code, commit, and the machine."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

PACKAGES = ("sonogrid", "torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn", "snakemake")
FOLDER = Path(__file__).parent


def circumstances() -> dict[str, Any]:
    """Return versions, platform and commit (null outside a git checkout)."""
    return {
        "versions": {"python": platform.python_version()} | package_versions(),
        "platform": platform.platform(),
        "commit": commit(),
    }


def whereabouts(device: str) -> dict[str, Any]:
    """Return where this process computes: device, node, and what SLURM says of the job (null outside SLURM)."""
    return {
        "device": device,
        "node": os.environ.get("SLURMD_NODENAME", platform.node()),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the installed version of each package of PACKAGES."""
    return {name: version(name) for name in PACKAGES}


def code_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 over the normal forms of Python files, as 64 hex digits.

    It depends on neither the order nor the names of the files, nor on files without code: where a module is seen by
    others, its name is in their code. Raise OSError and SyntaxError.
    """
    forms = sorted(filter(None, (normal_form(file.read_text(encoding="utf-8")) for file in files)))
    return hashlib.sha256("\0".join(forms).encode()).hexdigest()


def normal_form(source: str) -> str:
    """Return Python code as text that changes only with what the code does; empty where it does nothing.

    Comments, docstrings and other texts that stand alone, `pass`, layout, quotes and parentheses without effect are
    not in it; names, values, operators, annotations and the order of statements are. It is a walk over the syntax
    tree that takes every field by name and leaves out those without a value, because `ast.dump` and `ast.unparse`
    differ between Python 3.11 and 3.13 where the code does not (new fields, quotes and parts of f-strings).
    """
    return _form(ast.parse(source).body)


def _form(value: Any) -> str:
    match value:
        case ast.Constant(value=constant):
            return f"{type(constant).__name__}:{constant!a}"
        case ast.JoinedStr(values=parts):
            return f"JoinedStr({_form(list(_merged(parts)))})"
        case ast.AST():
            return f"{type(value).__name__}({' '.join(_fields(value))})"
        case list():
            kept = [_form(item) for item in value if not _does_nothing(item)]
            return f"[{', '.join(kept)}]" if kept else ""
        case _:
            return ascii(value)


def _fields(node: ast.AST) -> Iterator[str]:
    """Yield the fields of a node that have a value, by name."""
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in ("ctx", "type_comment") or value is None:
            continue
        form = _form(value)
        if form and (name, form) != ("format_spec", "JoinedStr()"):
            yield f"{name}={form}"


def _does_nothing(statement: Any) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
            return True
        case _:
            return False


def _merged(parts: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """Yield the parts of an f-string with texts that touch as one text, and without empty ones."""

    def is_text(part: ast.expr) -> bool:
        return isinstance(part, ast.Constant)

    for texts, group in groupby(parts, key=is_text):
        if not texts:
            yield from group
        elif text := "".join(str(part.value) for part in group if isinstance(part, ast.Constant)):
            yield ast.Constant(text)


@functools.cache
def commit() -> str | None:
    """Return the commit of this package's checkout, with `-dirty` for uncommitted changes; None outside of git."""
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
