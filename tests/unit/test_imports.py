"""Imports within the package: what is found, what is followed, and what is left out."""

from pathlib import Path

import pytest

from sonogrid import imports
from sonogrid.imports import file_of, imported, is_within, reached

FILES = {
    "__init__.py": "",
    "top.py": "import numpy as np\n\n\ndef later():\n    from sonogrid.room import inner\n    return inner, np\n",
    "room/__init__.py": "",
    "room/inner.py": "from sonogrid.room.constants import ONE\nfrom sonogrid.other import two\n",
    "room/constants.py": "ONE = 1\n",
    "room/unused.py": "import sonogrid.top\n",
    "other.py": "import sonogrid.room.inner\n\ntwo = 2\n",
}
EVERYTHING = ["sonogrid.other", "sonogrid.room.constants", "sonogrid.room.inner", "sonogrid.top"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, code in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.setattr(imports, "FOLDER", tmp_path)
    return tmp_path


def test_files_of_modules_and_packages(package: Path) -> None:
    assert file_of("sonogrid.room.inner") == package / "room" / "inner.py"
    assert file_of("sonogrid.room") == package / "room" / "__init__.py"
    assert [file_of(name) for name in ("numpy", "sonogrid.room.nothing", "sonogridder.room")] == [None] * 3


def test_imports_inside_functions_and_of_modules_by_name_are_found(package: Path) -> None:
    assert imported(package / "top.py") == {"numpy", "sonogrid.room.inner"}
    assert imported(package / "room" / "inner.py") == {"sonogrid.room.constants", "sonogrid.other"}


def test_relative_imports_are_found_in_full(package: Path) -> None:
    file = package / "room" / "relative.py"
    file.write_text("from . import inner\nfrom .constants import ONE\nfrom .. import other\n", encoding="utf-8")
    found = {"sonogrid.room.inner", "sonogrid.room.constants", "sonogrid.other"}
    assert imported(file, "sonogrid.room") == found
    assert reached(["sonogrid.room.relative"]) == sorted({*found, "sonogrid.room.relative"})


def test_what_is_reached_through_others_and_in_a_circle(package: Path) -> None:
    assert reached(["sonogrid.top"]) == EVERYTHING
    assert reached(["sonogrid.room.inner"]) == EVERYTHING[:3]


def test_what_is_left_out_is_not_followed_but_a_root_is_in(package: Path) -> None:
    assert reached(["sonogrid.top"], without=["sonogrid.room"]) == ["sonogrid.top"]
    assert reached(["sonogrid.room.inner"], without=["sonogrid.room"]) == ["sonogrid.other", "sonogrid.room.inner"]
    assert reached(["sonogrid.room.inner"], within=["sonogrid.room"]) == EVERYTHING[1:3]


def test_a_module_is_within_itself_and_its_packages_and_not_within_a_longer_name() -> None:
    assert is_within("sonogrid.room.inner", ["sonogrid.room"]) and is_within("sonogrid.room", ["sonogrid.room"])
    assert not is_within("sonogrid.rooms", ["sonogrid.room"]) and not is_within("sonogrid.room", ())


def test_code_outside_is_followed_from_a_root_outside_unless_it_is_installed(
    package: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "stacks").mkdir()
    (folder / "stacks" / "__init__.py").write_text("")
    imports_of_reader = "import json\nimport numpy\nfrom sonogrid.room import constants\nimport one\n"
    (folder / "stacks" / "reader.py").write_text(imports_of_reader)
    (folder / "one.py").write_text("raise AssertionError('is imported')\n")
    (package / "top.py").write_text("import one\n")
    monkeypatch.syspath_prepend(folder)
    assert file_of("stacks.reader") == folder / "stacks" / "reader.py" and file_of("one") == folder / "one.py"
    assert [file_of(name) for name in ("stacks.nothing", "one.nothing", "nowhere", "json", "builtins")] == [None] * 5
    assert reached(["stacks.reader"]) == ["one", "sonogrid.room.constants", "stacks.reader"]
    assert reached(["sonogrid.top"]) == ["sonogrid.top"]
