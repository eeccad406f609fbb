"""The page of all modules, by the first lines of docstrings: python tests/tools/list_modules.py > docs/modules.md"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import sonogrid

PACKAGE = Path(sonogrid.__file__).parent
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
ROOMS = (
    *("problems", "files", "console", "arrays", "parallel", "multiplicity", "imports", "provenance"),
    *("config", "grid", "layout", "stored"),
    *("dicom", "cohort", "images", "splits", "audit"),
    *("training", "fits", "jobs"),
    *("evaluation", "reporting", "cluster"),
    *("perf", "stages", "cli"),
)
"""From top to bottom, as in CONTRIBUTING.md: a module imports from its own room and from rooms above it."""

HEAD = """\
# Every module

Made by `make modules` from the first line of each docstring; paths are below `src/sonogrid/`. To find
where a thing is done, search this page for its word, then [CONTRIBUTING](../CONTRIBUTING.md) for what
to edit with it.
"""


def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module, named with dots below the package."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def room(module: str) -> str:
    """Return the room that a module is in: a folder, or the module itself."""
    return module.split(".")[0]


def public_names(code: ast.Module) -> Iterator[str]:
    """Yield functions, classes and constants that other modules may use, in their order."""
    for node in code.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def row(module: str) -> str:
    """Return a row of a table: the file, the first line of its docstring, what it defines."""
    code = parsed(module)
    says = (ast.get_docstring(code) or "").partition("\n")[0].replace("|", "\\|")
    names = ", ".join(f"`{name}`" for name in public_names(code))
    return f"| `{module.replace('.', '/')}.py` | {says} | {names} |"


def page() -> str:
    """Return the page as Markdown: a table for each room that is a folder, and one of the modules beside them."""
    parts = [HEAD]
    for name in dict.fromkeys(one if f"{one}.__init__" in MODULES else "" for one in ROOMS):
        inside = [one for one in MODULES if room(one) == name and not one.endswith("__init__")]
        beside = [one for one in ROOMS if one in MODULES]
        title = f"{name}/" if name else "Beside the folders"
        rows = sorted(inside) if name else beside
        parts.append(f"\n## {title}\n\n| module | what it holds | what it defines |\n|---|---|---|\n")
        parts.extend(f"{row(one)}\n" for one in rows)
    return "".join(parts)


if __name__ == "__main__":
    print(page(), end="")
