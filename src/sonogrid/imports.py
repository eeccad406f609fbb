"""Which modules of this package a module imports: what is digested follows from the code, not from a list."""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
PACKAGE = "sonogrid"


def file_of(module: str) -> Path | None:
    """Return the file of a module or package of sonogrid; None for any other name."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return None
    base = FOLDER.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if parts and path.is_file()), None)


def imported(file: Path) -> set[str]:
    """Return the names of all modules that a file imports, inside functions too."""
    return set(_imported(file.read_text(encoding="utf-8")))


@functools.cache
def _imported(code: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # What is imported may itself be a module.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if file_of(name) is not None}
            found |= modules if len(modules) == len(inner) else modules | {node.module}
    return frozenset(found)


def reached(roots: Iterable[str], without: Collection[str] = (), within: Collection[str] = (PACKAGE,)) -> list[str]:
    """Return the modules of sonogrid that are reached by imports from `roots`, sorted, the roots among them.

    Imports are followed into the packages `within`, but not into a module or package `without`; roots are always in.
    """
    waiting, found = list(roots), set[str]()
    while waiting:
        module = waiting.pop()
        file = file_of(module)
        if module in found or file is None:
            continue
        found.add(module)
        waiting += [name for name in imported(file) if is_within(name, within) and not is_within(name, without)]
    return sorted(found)


def is_within(module: str, packages: Collection[str]) -> bool:
    """Return whether a module is one of `packages` or lies in one of them."""
    parts = module.split(".")
    return any(".".join(parts[:length]) in packages for length in range(1, len(parts) + 1))
