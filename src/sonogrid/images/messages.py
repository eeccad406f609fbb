"""What is said of pictures that cannot be used. It decides no canvas: where one of these is raised, there is none."""

from __future__ import annotations

from pathlib import Path

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.problems import InputError, Problem


class TextRemains(ValueError):  # noqa: N818 - it says what is the case, not what went wrong
    """Text can still be read in a picture after all that was found is black; never says what it reads."""


class BarOutside(ValueError):  # noqa: N818 - it says what is the case, not what went wrong
    """The colour bar of a device's layout is not inside the picture."""


class UnusableMask(InputError):  # noqa: N818 - it says what is the case, not what went wrong
    """Masks of a picture cannot be read, or are not of its size."""


def other_size(path: Path, mask: Mask, origin: str, picture: Picture) -> Problem:
    """Return the problem of a mask that is not of the size of its picture, which `origin` names."""
    (height, width), (high, wide) = picture.shape[:2], mask.shape
    what = f"is {wide} x {high} pixels, its picture {origin} is {width} x {height}"
    return Problem(str(path), what, "Give the mask the size of its picture")


def text_remains(places: int, rounds: int) -> TextRemains:
    """Return the error of text that is left."""
    return TextRemains(f"readable text is left in {places} places after {rounds} rounds of masking")


def outside(what: str, box: Box, picture: Picture) -> ValueError:
    """Return the error of a box that leaves its picture; `what` the box is."""
    height, width = picture.shape[:2]
    return ValueError(f"{what} {tuple(box)} is not inside a picture of {width} x {height} pixels")


def no_box(text: str) -> ValueError:
    """Return the error of a text that is no box."""
    return ValueError(f"{text!r} is not a box 'x0 y0 x1 y1'")


def no_length(mm_x: float, mm_y: float) -> ValueError:
    """Return the error of a pixel that is not above 0 mm wide and high."""
    return ValueError(f"mm per pixel must be above 0, not {mm_x} and {mm_y}")


def empty_mask() -> ValueError:
    """Return the error of a mask without a pixel."""
    return ValueError("the mask is empty")


def no_size(width: int, height: int, size: int) -> ValueError:
    """Return the error of a picture or canvas without a pixel."""
    return ValueError(f"sides must be at least 1, not {width} x {height} on a canvas of {size}")


def anisotropic(aspect: float, most: float) -> ValueError:
    """Return the error of a pixel that is much wider than high, or the reverse."""
    return ValueError(f"a pixel {aspect:.3g} times as wide as high is beyond {most:g} to 1")


def no_measurement(modality: str) -> ValueError:
    """Return the error of a modality whose colours cannot be decoded."""
    return ValueError(f"colours of {modality} are no measurement")


def grey_bar(box: Box, modality: str) -> ValueError:
    """Return the error of a colour bar that has no colour."""
    return ValueError(f"the colour bar {tuple(box)} has no colour; {_remedy(modality)}")


def no_bar(modality: str) -> ValueError:
    """Return the error of a picture without a colour bar."""
    return ValueError(f"no colour bar is found; {_remedy(modality)}")


def different_bars(bars: int, modality: str) -> ValueError:
    """Return the error of a picture with several colour bars."""
    return ValueError(f"{bars} colour bars that differ are found; {_remedy(modality)}")


def _remedy(modality: str) -> str:
    return f"set cohort.layouts.DEVICE.colour_bar, or images.{modality}: rgb"
