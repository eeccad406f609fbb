"""Which modules a module imports: what is digested follows from the code, not from a list.

Followed are modules of this package, and from a reader outside of it to code that is not installed. Of packages that
are installed the version is digested instead.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
PACKAGE = "sonogrid"


def file_of(module: str) -> Path | None:
    """Return the file of a module or package of sonogrid, or of other code that is not installed; otherwise None."""
    package, *parts = module.split(".")
    if package != PACKAGE:
        return _file_outside(package, parts)
    return _file_below(FOLDER, parts) if parts else None


def _file_below(folder: Path, parts: Iterable[str]) -> Path | None:
    base = folder.joinpath(*parts)
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _file_outside(package: str, parts: list[str]) -> Path | None:
    """The file of a module that is neither of sonogrid, nor installed, nor of Python; nothing is imported."""
    if package in sys.stdlib_module_names:
        return None
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    # A folder of modules without `__init__.py` has places and no file of its own.
    own = Path(spec.origin) if spec.origin is not None and spec.origin.endswith(".py") else None
    below = (_file_below(Path(place), parts) for place in spec.submodule_search_locations or ())
    file = next((one for one in below if one is not None), None) if parts else own
    return None if file is None or _is_installed(file) else file


def _is_installed(file: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


def imported(file: Path, package: str = "") -> set[str]:
    """Return the names of all modules that a file imports, inside functions too; `package` is where it lies."""
    return set(_imported(file.read_text(encoding="utf-8"), package))


@functools.cache
def _imported(code: str, package: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            # What is imported may itself be a module.
            inner = {f"{origin}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if file_of(name) is not None}
            found |= modules if len(modules) == len(inner) else modules | {origin}
    return frozenset(found)


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The module from which names are imported, in full where it is relative."""
    parts = package.split(".")
    above = parts[: len(parts) + 1 - node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def reached(roots: Iterable[str], without: Collection[str] = (), within: Collection[str] = (PACKAGE,)) -> list[str]:
    """Return the modules with a file (file_of) that are reached by imports from `roots`, sorted, the roots among them.

    Imports are followed into the packages `within`, but not into a module or package `without`; roots are always in.
    From a root outside of sonogrid they are followed to all code that is not installed.
    """
    waiting, found = list(roots), set[str]()
    while waiting:
        module = waiting.pop()
        file = file_of(module)
        if module in found or file is None:
            continue
        found.add(module)
        outside = not is_within(module, (PACKAGE,))
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        names = [name for name in imported(file, package) if not is_within(name, without)]
        waiting += [name for name in names if outside or is_within(name, within)]
    return sorted(found)


def is_within(module: str, packages: Collection[str]) -> bool:
    """Return whether a module is one of `packages` or lies in one of them."""
    parts = module.split(".")
    return any(".".join(parts[:length]) in packages for length in range(1, len(parts) + 1))
