"""The house: rooms in the direction of the data, no circle, one name per thing, one home per fact."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
from tools.list_modules import MODULES, ROOMS, page, parsed, room

from sonogrid.layout import ANY_CELL, CELL_FILES, PRETRAINED_FILES, AuditLayout, Layout

ROOT = Path(__file__).parents[2]


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


FILLED: dict[str, Any] = {"cell": ANY_CELL, "folder": Path("results/{folder}"), "checkpoints": Path("results")}
"""Arguments of methods of a layout that are no text; any other is a wildcard of its name."""


def paths_of(layout: object) -> Iterator[Path]:
    """Every path that a layout yields, with a wildcard for each argument of a method."""
    for name, member in inspect.getmembers(type(layout)):
        if isinstance(member, property):
            value = getattr(layout, name)
            yield from [value] if isinstance(value, Path) else paths_of(value)
        elif inspect.isfunction(member) and not name.startswith("_"):
            wanted = list(inspect.signature(member).parameters)[1:]
            value = getattr(layout, name)(*(FILLED.get(one, f"{{{one}}}") for one in wanted))
            yield from [value] if isinstance(value, Path) else paths_of(value)


RESULTS = Layout(Path("results"))
RESULT_NAMES = {
    *(part for path in paths_of(RESULTS) for part in path.parts if "{" not in part and part != "results"),
    *(path.name for path in paths_of(AuditLayout(RESULTS.cohort.audit))),
    *CELL_FILES,
    *PRETRAINED_FILES,
}
"""Every file and folder that the layout names by itself."""
OTHER_MEANINGS = {("cohort.picture_files", "pictures"): "the decoder of picture files"}
"""Module and constant that is spelt like a result -> what it is."""


def texts(node: ast.AST | None) -> Iterator[str]:
    if node is not None:
        yield from (one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def named_paths(code: ast.Module) -> Iterator[str]:
    """Names of results that code joins to a path, or keeps in a constant; a folder in a table may mean a stage."""
    for node in ast.walk(code):
        sides: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            sides = [node.left, node.right]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in JOINING:
            sides = node.args
        yield from (side.value for side in sides if isinstance(side, ast.Constant) and side.value in RESULT_NAMES)
        for statement in node.body if isinstance(node, ast.Module | ast.ClassDef) else []:
            value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
            alone = isinstance(value, ast.Constant)
            yield from (text for text in texts(value) if text in RESULT_NAMES and (alone or "." in text))


JOINING = ("Path", "PurePath", "joinpath", "with_name")


def test_paths_of_results_are_known_by_the_layout_alone() -> None:
    """A name of a result in code, outside of docstrings and messages, is a path that someone joins."""
    found = [(module, name) for module in MODULES if module != "layout" for name in named_paths(parsed(module))]
    assert [one for one in found if one not in OTHER_MEANINGS] == []
    assert set(OTHER_MEANINGS) <= set(found)


@pytest.mark.parametrize(
    "code",
    [
        'folder / "seen.csv"',
        'folder / "masks" / name',
        'Path(folder, "cells")',
        'index.with_name("metrics.csv")',
        'CERTIFICATE = "certificate.json"',
        'FOLDER: str = "pretrained"',
        'FILES = ("run.json", "history.csv")',
        'class A:\n    name = "report.html"',
    ],
)
def test_a_name_of_a_result_would_be_found(code: str) -> None:
    assert list(named_paths(ast.parse(code)))


def test_every_kind_of_result_is_among_the_names() -> None:
    assert {
        *("patients.csv", "manifest.csv", "refused.csv", "seen.csv", "ceiling.json", "splits.csv", "certificate.json"),
        *("findings.csv", "pictures", "masks", "metrics.csv", "effects.csv", "rates.csv", "report.html"),
        *("model.safetensors", "weights.safetensors", "cells", "pretrained", "checkpoints", "run.json", "history.csv"),
    } <= RESULT_NAMES


def test_every_room_is_in_the_picture_of_the_house() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in ROOMS if f"`{name}" not in text] == []


def test_the_page_of_modules_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "modules.md").read_text(encoding="utf-8") == page(), "run: make modules"


def test_every_module_says_what_it_holds() -> None:
    """In a first line that ends, so that the page of modules can be read."""
    says = {module: (ast.get_docstring(parsed(module)) or "").partition("\n")[0] for module in MODULES}
    assert {module: line for module, line in says.items() if line[-1:] not in (".", "?")} == {}
