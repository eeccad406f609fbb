"""A copy of the package that a test edits, and fresh processes that import it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import sonogrid


class PackageCopy:
    """The package below `folder`, as it is in the checkout until it is edited."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        original = Path(sonogrid.__file__).parent
        self.package = shutil.copytree(original, folder / "sonogrid", ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, file: str, old: str, new: str) -> str:
        """Replace the only place of `old` in a file; return the file's text before, for `write`."""
        before = (self.package / file).read_text(encoding="utf-8")
        assert before.count(old) == 1, f"{file} has {before.count(old)} places with {old!r}"
        self.write(file, before.replace(old, new))
        return before

    def append(self, file: str, text: str) -> None:
        """Write text at the end of a file of the copy."""
        self.write(file, (self.package / file).read_text(encoding="utf-8") + text)

    def write(self, file: str, text: str) -> None:
        """Write a file of the copy."""
        (self.package / file).write_text(text, encoding="utf-8")

    def run(self, program: str, *arguments: str, folder: Path | None = None) -> Any:
        """Run a program in a fresh process that imports the copy; return the JSON of its last line."""
        environment = os.environ | {"PYTHONPATH": str(self.path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder or self.path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])
