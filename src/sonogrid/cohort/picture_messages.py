"""What is said of picture files that cannot be used. It decides no pixel: where one is raised, there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sonogrid.problems import InputError, Problem

_COPY_AGAIN = "Copy the file again from its source, or take it out of the data"


def missing(path: Path) -> InputError:
    """Return the error of a file that is not there."""
    return _error(path, "there is no such file", "Correct the path, or take the row or file out of the data")


def empty(path: Path) -> InputError:
    """Return the error of a file without a byte."""
    return _error(path, "is empty (0 bytes)", _COPY_AGAIN)


def several_frames(path: Path, frames: int) -> InputError:
    """Return the error of a file with several pictures."""
    return _error(path, f"holds {frames} frames", "Save the frame to be used as a picture of its own")


def too_deep(path: Path) -> InputError:
    """Return the error of pixels of 32 bits."""
    return _error(path, "has 32-bit pixels, whose range is not known", "Save it as an 8-bit or 16-bit picture")


def no_picture(path: Path, formats: Sequence[str]) -> InputError:
    """Return the error of a file of another format."""
    remedy = "Replace it by a picture, or take it out of the data"
    return _error(path, f"is not a picture ({', '.join(formats)})", remedy)


def damaged(path: Path, error: Exception) -> InputError:
    """Return the error of bytes that cannot be decoded."""
    return _error(path, f"is damaged or cut short ({error})", _COPY_AGAIN)


def too_large(path: Path, size: tuple[int, int] | None, most_pixels: int) -> InputError:
    """Return the error of a picture with too many pixels; None: how many is not known."""
    how = "too many pixels" if size is None else f"{size[0]} x {size[1]} pixels"
    limit = f"{most_pixels // 1_000_000} megapixels"
    return _error(path, f"is too large ({how}; the limit is {limit})", "Reduce it, or take it out of the data")


def _error(path: Path, what: str, remedy: str) -> InputError:
    return InputError([Problem(str(path), what, remedy)])
