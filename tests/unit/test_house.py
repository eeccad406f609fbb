"""The house: rooms in the direction of the data, no circle, one name per thing, one home per fact."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sonogrid

PACKAGE = Path(sonogrid.__file__).parent
ROOMS = (
    *("problems", "files", "console", "arrays", "parallel", "multiplicity", "imports", "provenance"),
    *("config", "grid", "layout"),
    *("dicom", "cohort", "images", "splits", "audit"),
    *("training", "fits", "jobs"),
    *("evaluation", "reporting", "cluster"),
    *("stages", "cli"),
)
"""From top to bottom, as in CONTRIBUTING.md: a module imports from its own room and from rooms above it."""
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """Modules of this package that a module imports, inside functions too; `__init__` is the package itself."""
    for node in ast.walk(parsed(module)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")[1:] if name.split(".")[0] == "sonogrid" else []
            while parts and ".".join(parts) not in MODULES and ".".join([*parts, "__init__"]) not in MODULES:
                parts.pop()
            if parts:
                yield ".".join(parts) if ".".join(parts) in MODULES else ".".join([*parts, "__init__"])


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_module_is_in_a_room() -> None:
    assert {room(module) for module in MODULES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_a_module_imports_only_from_rooms_above_it(module: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room(module)) + 1])
    assert {name for name in imported(module) if room(name) not in allowed} == set()


def test_no_circle_among_modules() -> None:
    graph = {module: set(imported(module)) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_circle_would_be_found() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def public_names(module: str) -> Iterator[str]:
    """Public functions, classes and type aliases that a module defines, constants left out."""
    for node in parsed(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                # A type alias is written like a class.
                if isinstance(target, ast.Name) and target.id[:1].isupper() and not target.id.isupper():
                    yield target.id


def test_no_name_means_two_things() -> None:
    """A stage is named as the subcommand that it is, so stages.py alone may repeat a name of a room."""
    homes: dict[str, list[str]] = {}
    for module in set(MODULES) - {"stages"}:
        for name in set(public_names(module)):
            homes.setdefault(name, []).append(module)
    assert {name: sorted(where) for name, where in homes.items() if len(where) > 1} == {}


def test_snakemake_is_imported_in_the_room_of_the_cluster_alone() -> None:
    for module in MODULES:
        names = {
            alias.name if isinstance(node, ast.Import) else str(node.module)
            for node in ast.walk(parsed(module))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        if any(name.split(".")[0].startswith("snakemake") for name in names):
            assert room(module) == "cluster", module


RESULT_FILES = (
    *("patients.csv", "manifest.csv", "refused.csv", "seen.csv", "ceiling.json", "splits.csv", "certificate.json"),
    *("findings.csv", "pictures", "masks", "metrics.csv", "effects.csv", "rates.csv", "report.html"),
    *("model.safetensors", "weights.safetensors", "cells", "pretrained", "checkpoints"),
)


def test_paths_of_results_are_known_by_the_layout_alone() -> None:
    """A file name of the results in code, outside of docstrings and messages, is a path that someone joins."""
    joined = [
        f"{module}: {side.value}"
        for module in MODULES
        if module != "layout"
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        for side in (node.left, node.right)
        if isinstance(side, ast.Constant) and side.value in RESULT_FILES
    ]
    assert joined == []


def test_every_room_is_in_the_picture_of_the_house() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in ROOMS if f"`{name}" not in text] == []
