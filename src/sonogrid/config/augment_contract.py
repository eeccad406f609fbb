"""Which random transform is legal for which modality, and why: the one table, from which messages and pages are made.

Legal is a transform that turns a picture into one that a scanner could have made of the same patient, with the same
signs of disease; where colour or a channel is a measurement, also with the same values measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from sonogrid.config.modalities import MEASUREMENTS, MODALITIES, title

INPUTS: tuple[str, ...] = tuple(
    chain.from_iterable(
        (row.name,) if row.measurement is None else (row.name, row.measurement.name) for row in MODALITIES.values()
    )
)
"""What a model sees: a modality as shown, or its measurement decoded to channels (cdfi: velocity, elastography:
stiffness; see config.Images)."""
OFFERED = ("horizontal_flip", "shift", "zoom", "rotate", "gain")
"""Transforms of augment.py, in the order of its strengths."""


class Ruling(NamedTuple):
    """Whether a transform is legal for some inputs, and the reason: one sentence without full stop."""

    transform: str
    legal: bool
    inputs: tuple[str, ...]
    reason: str


_BMODE: tuple[str, ...] = ("bmode",)
_CDFI: tuple[str, ...] = ("cdfi",)
_ELASTO: tuple[str, ...] = ("elastography",)
_FLOW: tuple[str, ...] = ("cdfi", "velocity")
_STIFF: tuple[str, ...] = ("elastography", "stiffness")
_COLOURS: tuple[str, ...] = ("cdfi", "elastography")
_CHANNELS: tuple[str, ...] = ("velocity", "stiffness")
_MEASURED: tuple[str, ...] = (*_FLOW, *_STIFF)
_ALL: tuple[str, ...] = (*_BMODE, *_MEASURED)

RULINGS = (
    Ruling("horizontal_flip", True, _BMODE, "left and right are the side of the neck and the way the probe is held"),
    Ruling("horizontal_flip", True, _FLOW, "flow runs towards the probe or away from it, mirrored or not"),
    Ruling("horizontal_flip", True, _STIFF, "stiffness has no left and right"),
    Ruling("shift", True, _ALL, "where the lesion lies in the picture is the examiner's choice"),
    Ruling("zoom", True, _ALL, "depth is a setting of the scanner; both axes are scaled alike, so their ratio stays"),
    Ruling("rotate", True, (*_BMODE, *_STIFF), "probes are held at somewhat different angles; depth still runs down"),
    Ruling("rotate", True, _FLOW, "vessels meet the beam at any angle; their pattern is read, not the speed"),
    Ruling("gain", True, _BMODE, "gain and dynamic range are set again for every patient"),
    Ruling("gain", False, _CDFI, "the brightness of a colour is the speed of flow"),
    Ruling("gain", False, _ELASTO, "another brightness is another stiffness on the colour bar"),
    Ruling("gain", False, _CHANNELS, "the channels are numbers, and a factor changes what was measured"),
    Ruling("time_gain", True, _BMODE, "time gain compensation is set again for every patient"),
    Ruling("time_gain", False, _COLOURS, "colours would code other values below than above"),
    Ruling("time_gain", False, _CHANNELS, "the channels are numbers, and a factor changes what was measured"),
    Ruling("gamma", True, _BMODE, "the grey maps of scanners differ by such curves"),
    Ruling("gamma", False, _COLOURS, "a curve moves colours along the colour bar, and the bar is the measurement"),
    Ruling("gamma", False, _CHANNELS, "the channels are numbers, and a curve changes what was measured"),
    Ruling("sharpen", True, _BMODE, "edge enhancement is a setting of the scanner"),
    Ruling("sharpen", False, _MEASURED, "overshoot at edges shows values that were measured nowhere"),
    Ruling("noise", True, _BMODE, "receiver noise of a few grey levels is in every B-mode"),
    Ruling("noise", False, _FLOW, "a changed pixel is flow that was not measured"),
    Ruling("noise", False, _STIFF, "a changed pixel is stiffness that was not measured"),
    Ruling("jpeg", True, _BMODE, "exports are often compressed"),
    Ruling("jpeg", False, _COLOURS, "compression averages colour over blocks of pixels, and colour is a measurement"),
    Ruling("jpeg", False, _CHANNELS, "exports are compressed before their colours are decoded, channels never are"),
    Ruling("hue", False, _BMODE, "B-mode is grey and has no hue"),
    Ruling("hue", False, _CDFI, "hue is the direction of flow"),
    Ruling("hue", False, _ELASTO, "hue is stiffness"),
    Ruling("hue", False, _CHANNELS, "the channels are numbers and have no hue"),
    Ruling("saturation", False, _BMODE, "B-mode is grey and has no saturation"),
    Ruling("saturation", False, _CDFI, "a paler colour is faster flow on many colour bars"),
    Ruling("saturation", False, _ELASTO, "a paler colour is another stiffness or another blending"),
    Ruling("saturation", False, _CHANNELS, "the channels are numbers and have no saturation"),
    Ruling("colour_jitter", False, _BMODE, "it is gain, and hue and saturation that B-mode does not have"),
    Ruling("colour_jitter", False, _CDFI, "it turns hue, which is the direction of flow"),
    Ruling("colour_jitter", False, _ELASTO, "it turns hue, which is stiffness"),
    Ruling("colour_jitter", False, _CHANNELS, "the channels are numbers, and jitter changes what was measured"),
    Ruling("grayscale", False, _BMODE, "B-mode is grey already"),
    Ruling("grayscale", False, _CDFI, "it erases the direction of flow"),
    Ruling("grayscale", False, _ELASTO, "it erases stiffness"),
    Ruling("grayscale", False, _CHANNELS, "it mixes the measurement with the grey below it"),
    Ruling("channel_shuffle", False, _BMODE, "B-mode is grey: its three channels are the same"),
    Ruling("channel_shuffle", False, _CDFI, "red and blue are flow in opposite directions"),
    Ruling("channel_shuffle", False, _ELASTO, "the order of colours on the bar is the order from soft to hard"),
    Ruling("channel_shuffle", False, _CHANNELS, "each channel is another quantity"),
    Ruling("invert", False, _BMODE, "a negative turns echo-free fluid into strong echoes"),
    Ruling("invert", False, _FLOW, "a negative turns flow round, and shows flow where there is none"),
    Ruling("invert", False, _STIFF, "a negative turns hard into soft"),
    Ruling("equalize", False, _BMODE, "it evens out echogenicity, by which a lesion is told from its surroundings"),
    Ruling("equalize", False, _MEASURED, "it changes what was measured by what else is in the picture"),
    Ruling("vertical_flip", False, (*_BMODE, *_STIFF), "depth runs down: shadows lie below what casts them"),
    Ruling("vertical_flip", False, _FLOW, "depth runs down, and flow towards the probe would run away from it"),
    Ruling("rotate90", False, _ALL, "depth runs down: a quarter turn lays shadows and layers sideways"),
    Ruling("aspect", False, _ALL, "the ratio of short to long axis is a sign of malignancy"),
    Ruling("shear", False, _ALL, "it changes the ratio of the axes, and tilts shadows off the beam"),
    Ruling("elastic", False, _ALL, "it bends the margin, and an irregular margin is a sign of malignancy"),
    Ruling("crop", False, _ALL, "it may cut off the lesion or its margin; shift and zoom keep within limits"),
    Ruling("random_resized_crop", False, _ALL, "it changes the ratio of the axes, and may cut off the lesion"),
    Ruling("blur", False, _BMODE, "it makes a sharp margin indistinct, and the margin is a sign"),
    Ruling("blur", False, _FLOW, "it mixes opposite directions, and spreads flow beyond the vessel's wall"),
    Ruling("blur", False, _STIFF, "it mixes the stiffness of the lesion and of its surroundings"),
    Ruling("erasing", False, _BMODE, "an even patch reads as fluid or shadow, and may hide the sign itself"),
    Ruling("erasing", False, _FLOW, "a patch without flow is a finding: an avascular part"),
    Ruling("erasing", False, _STIFF, "a patch says that no stiffness was measured there"),
    Ruling("mixup", False, _BMODE, "the mean of two patients shows neither of them"),
    Ruling("mixup", False, _MEASURED, "the mean of two patients is a value that was measured in neither"),
    Ruling("cutmix", False, _ALL, "the label would follow the area of the patch, the disease lies in the lesion"),
    Ruling("auto_augment", False, _ALL, "its policies hold transforms that are illegal here: shear, invert, colour"),
)

OTHER_NAMES = {
    "hflip": "horizontal_flip",
    "flip": "horizontal_flip",
    "mirror": "horizontal_flip",
    "translate": "shift",
    "scale": "zoom",
    "rotation": "rotate",
    "brightness": "gain",
    "contrast": "gain",
    "brightness_contrast": "gain",
    "depth_attenuation": "time_gain",
    "sharpness": "sharpen",
    "gaussian_noise": "noise",
    "speckle": "noise",
    "compression": "jpeg",
    "color_jitter": "colour_jitter",
    "greyscale": "grayscale",
    "solarize": "invert",
    "clahe": "equalize",
    "autocontrast": "equalize",
    "vflip": "vertical_flip",
    "rot90": "rotate90",
    "transpose": "rotate90",
    "stretch": "aspect",
    "perspective": "shear",
    "random_crop": "crop",
    "gaussian_blur": "blur",
    "motion_blur": "blur",
    "cutout": "erasing",
    "random_erasing": "erasing",
    "coarse_dropout": "erasing",
    "mosaic": "cutmix",
    "rand_augment": "auto_augment",
    "trivial_augment": "auto_augment",
    "augmix": "auto_augment",
}
"""Names under which other libraries know a transform of the table."""

RULED = tuple(shown for shown in INPUTS if any(shown in one.inputs for one in RULINGS))
"""Inputs of the table; of any other input of a modality every transform is illegal."""
_RULING: dict[tuple[str, str], Ruling] = {(one.transform, shown): one for one in RULINGS for shown in one.inputs}
TRANSFORMS = tuple(dict.fromkeys(one.transform for one in RULINGS))
"""Every transform of the table, offered or not."""
RECOLOURING = (
    *("gain", "time_gain", "gamma", "sharpen", "noise", "jpeg", "hue", "saturation", "colour_jitter", "grayscale"),
    *("channel_shuffle", "invert", "equalize"),
)
"""Transforms that move nothing and change grey levels or colours; illegal where a modality's `recolour` is False."""


def ruling(transform: str, shown: str) -> Ruling:
    """The ruling on a transform for an input; illegal where the table has none on an input of the modalities.

    Raises ValueError for other transforms and inputs.
    """
    if transform not in TRANSFORMS or shown not in INPUTS:
        raise ValueError(f"no ruling on {transform!r} for {shown!r}")
    return _RULING.get((transform, shown)) or Ruling(transform, False, (shown,), _not_ruled(transform, shown))


def _not_ruled(transform: str, shown: str) -> str:
    """Why a transform without a ruling is illegal for an input."""
    row = MODALITIES.get(shown) or MEASUREMENTS[shown]
    if transform in RECOLOURING and not row.recolour and row.colours:
        return f"it changes colours, and the colours of {row.title} mean {row.colours}"
    return f"no ruling says that it leaves the signs of disease in {row.title} as they are"


def why_not_offered(name: str) -> str | None:
    """Why a transform of this name is not offered: a phrase that continues the name.

    None for the transforms that are offered, and for words that are no transform.
    """
    transform = OTHER_NAMES.get(name, name)
    if transform not in TRANSFORMS or name in OFFERED:
        return None
    if transform in OFFERED:
        return f"is called {transform} here"
    legal = [modality for modality in MODALITIES if ruling(transform, modality).legal]
    what = f"is legal for {', '.join(legal)} only, and not offered" if legal else "is legal for no modality"
    reasons: dict[str, list[str]] = {}
    for modality in MODALITIES:
        if modality not in legal:
            reasons.setdefault(ruling(transform, modality).reason, []).append(modality)
    told = "; ".join(f"{', '.join(shown)}: {reason}" for reason, shown in reasons.items())
    return f"{what} ({told})"


def check_strengths(transform: str, told: Mapping[str, float]) -> None:
    """Raise ValueError with all reasons where a modality is told more than 0 of a transform that is illegal for it."""
    illegal = [one for one, strength in told.items() if strength > 0 and not ruling(transform, one).legal]
    if illegal:
        reasons = (f"{transform} is illegal for {one}: {ruling(transform, one).reason}" for one in illegal)
        raise ValueError("; ".join(reasons))


def strength(transform: str, told: float | Mapping[str, float], modality: str) -> float:
    """How strong a transform is for a modality, as the config tells it.

    A number is for every modality for which the transform is legal; a mapping gives 0 to the modalities it leaves out.
    """
    if not ruling(transform, modality).legal:
        return 0.0
    return told.get(modality, 0.0) if isinstance(told, Mapping) else told


def as_markdown(transforms: Sequence[str] = TRANSFORMS) -> str:
    """Return the table in Markdown, one line per ruling; ends with a line break. `all` is every input of RULED."""
    lines = ["| transform | input | legal | why |", "|---|---|---|---|"]
    for one in RULINGS:
        if one.transform in transforms:
            shown = "all" if one.inputs == RULED else ", ".join(map(title, one.inputs))
            lines.append(f"| {one.transform} | {shown} | {'yes' if one.legal else 'no'} | {one.reason} |")
    return "\n".join(lines) + "\n"
