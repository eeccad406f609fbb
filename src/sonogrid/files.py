"""Files that exist whole or not at all, and their hashes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from sonogrid.problems import InputError, Problem

if TYPE_CHECKING:
    import pandas as pd

Content = TypeVar("Content")
LEFTOVER_SECONDS = 3600.0
"""Age at which a temporary file is no longer being written by anyone."""


@contextmanager
def whole_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    `mode` is what the file allows, before the umask. The temporary name is unique, so two processes that make the
    same file do not disturb each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            # A failed write does not say of which file; a full disk must.
            raise (
                error if error.filename or error.errno is None else OSError(error.errno, error.strerror, str(path))
            ) from error
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(mode & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_files(*paths: Path) -> Iterator[list[Path]]:
    """Give a temporary path beside each path; on success rename all, the first of them last, else remove all.

    Where the first path exists, the others do: an interruption while they are written leaves none of them.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(whole_file(path)) for path in paths]


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(frame: pd.DataFrame, path: Path, mode: int = 0o666) -> None:
    """Write a table as UTF-8 CSV without its index, whole or not at all; floats keep every digit."""
    with whole_file(path, mode) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_json(value: Any, path: Path) -> None:
    """Write JSON with sorted keys, whole or not at all; NaN is refused, as JSON has none."""
    write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n", path)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_yaml(path: Path, remedy: str) -> dict[str, Any]:
    """Read a YAML mapping, of which an empty file is one; raises InputError where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError([Problem(str(path), f"cannot be read ({error.strerror})", "Correct the path")]) from error
    # ValueError: a date or number that is none; RecursionError: nested a thousandfold.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError([Problem(str(path), f"is not YAML in UTF-8 ({reason})", remedy)]) from error
    if not isinstance(content, dict | None):
        raise InputError([Problem(str(path), "does not hold `key: value` lines", remedy)])
    if _holds_itself(content, set(), set()):
        raise InputError([Problem(str(path), "has an anchor (&) whose value holds itself (*)", remedy)])
    return content or {}


def _holds_itself(content: Any, above: set[int], done: set[int]) -> bool:
    """Whether a value is somewhere inside itself, as an anchor of YAML allows; each value is looked at once."""
    if not isinstance(content, (dict, list)) or id(content) in done:
        return False
    if id(content) in above:
        return True
    above.add(id(content))
    below = content.values() if isinstance(content, dict) else content
    found = any(_holds_itself(value, above, done) for value in below)
    above.remove(id(content))
    done.add(id(content))
    return found


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(**facts: Any) -> str:
    """SHA-256 over named values that JSON can write."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def read_once(read: Callable[..., Content]) -> Callable[..., Content]:
    """The same function of one or more paths, which reads again only if a file has changed since."""

    @functools.lru_cache(maxsize=64)
    def remembered(paths: tuple[Path, ...], _modified: tuple[int, ...]) -> Content:
        return read(*paths)

    @functools.wraps(read)
    def look(*paths: Path) -> Content:
        return remembered(paths, tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths))

    return look


def remove_leftovers(*folders: Path) -> None:
    """Remove temporary files of `whole_file` that a killed process left behind, once nobody can be writing them."""
    for folder in folders:
        for file in folder.glob(".*.*") if folder.is_dir() else ():
            try:
                if file.is_file() and time.time() - file.stat().st_mtime > LEFTOVER_SECONDS:
                    file.unlink()
            except FileNotFoundError:
                continue
