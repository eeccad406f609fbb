"""What is said of pictures that cannot be used. It decides no canvas: where one of these is raised, there is none."""

from __future__ import annotations

from pathlib import Path

from sonogrid.arrays import Box, Mask, Picture
from sonogrid.cohort.sources import READ_AGAIN
from sonogrid.problems import InputError, Problem


class NoCanvas(ValueError):  # noqa: N818 - it says what is the case, not what went wrong
    """A row of a manifest and its picture cannot become a canvas; `remedy` says what to do about it."""

    def __init__(self, what: str, remedy: str = READ_AGAIN) -> None:
        super().__init__(what)
        self.remedy = remedy


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


def outside(what: str, box: Box, picture: Picture) -> NoCanvas:
    """Return the error of a box that leaves its picture; `what` the box is."""
    height, width = picture.shape[:2]
    remedy = f"Correct the scan area and colour_bar in the cohort's source or cohort.layouts. {READ_AGAIN}"
    return NoCanvas(f"{what} {tuple(box)} is not inside a picture of {width} x {height} pixels", remedy)


def no_box(text: str) -> NoCanvas:
    """Return the error of a text that is no box."""
    return NoCanvas(f"{text!r} is not a box 'x0 y0 x1 y1'")


def no_length(mm_x: float, mm_y: float) -> NoCanvas:
    """Return the error of a pixel that is not above 0 mm wide and high."""
    return NoCanvas(f"mm per pixel must be above 0, not {mm_x} and {mm_y}", _CORRECT_MM)


def empty_mask() -> ValueError:
    """Return the error of a mask without a pixel."""
    return ValueError("the mask is empty")


def no_size(width: int, height: int, size: int) -> NoCanvas:
    """Return the error of a picture or canvas without a pixel."""
    return NoCanvas(f"sides must be at least 1, not {width} x {height} on a canvas of {size}")


def anisotropic(aspect: float, most: float) -> NoCanvas:
    """Return the error of a pixel that is much wider than high, or the reverse."""
    return NoCanvas(f"a pixel {aspect:.3g} times as wide as high is beyond {most:g} to 1", _CORRECT_MM)


def no_measurement(modality: str) -> NoCanvas:
    """Return the error of a modality whose colours cannot be decoded."""
    return NoCanvas(f"colours of {modality} are no measurement", f"Set images.{modality}: rgb")


def grey_bar(box: Box, modality: str) -> NoCanvas:
    """Return the error of a colour bar that has no colour."""
    return NoCanvas(f"the colour bar {tuple(box)} has no colour", _name_bar(modality))


def no_bar(modality: str) -> NoCanvas:
    """Return the error of a picture without a colour bar."""
    return NoCanvas("no colour bar is found", _name_bar(modality))


def different_bars(bars: int, modality: str) -> NoCanvas:
    """Return the error of a picture with several colour bars."""
    return NoCanvas(f"{bars} colour bars that differ are found", _name_bar(modality))


_CORRECT_MM = f"Correct mm per pixel in the cohort's source. {READ_AGAIN}"


def _name_bar(modality: str) -> str:
    return f"Set cohort.layouts.DEVICE.colour_bar, or images.{modality}: rgb"
