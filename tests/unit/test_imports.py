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
