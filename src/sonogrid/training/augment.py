"""Random transforms on the device; augment_contract.py has the whole table of what is legal and why.

| transform | input | legal | why |
|---|---|---|---|
| horizontal_flip | B-mode | yes | left and right are the side of the neck and the way the probe is held |
| horizontal_flip | CDFI, velocity | yes | flow runs towards the probe or away from it, mirrored or not |
| horizontal_flip | Elastography, stiffness | yes | stiffness has no left and right |
| shift | all | yes | where the lesion lies in the picture is the examiner's choice |
| zoom | all | yes | depth is a setting of the scanner; both axes are scaled alike, so their ratio stays |
| rotate | B-mode, Elastography, stiffness | yes | probes are held at somewhat different angles; depth still runs down |
| rotate | CDFI, velocity | yes | vessels meet the beam at any angle; their pattern is read, not the speed |
| gain | B-mode | yes | gain and dynamic range are set again for every patient |
| gain | CDFI | no | the brightness of a colour is the speed of flow |
| gain | Elastography | no | another brightness is another stiffness on the colour bar |
| gain | velocity, stiffness | no | the channels are numbers, and a factor changes what was measured |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

Strengths = Mapping[str, Mapping[str, float]]
"""Transform -> modality -> how strong it is, 0 where it is illegal; fits.recipe resolves it from the config."""


def strengths_of(strengths: Strengths, modalities: Sequence[str]) -> dict[str, Tensor]:
    """Return the strengths for images of these modalities: transform -> n float64."""
    return {
        transform: torch.tensor([by_modality[modality] for modality in modalities], dtype=torch.float64)
        for transform, by_modality in strengths.items()
    }


def augment(images: Tensor, strengths: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
    """Return images after random geometry and gain, each by its own strengths (transform -> n, as strengths_of).

    `images` are n x 3 x H x W in uint8; the result is float32 in [0, 1] of the same shape. An image that is not moved
    keeps its pixels exactly. Random numbers come from `generator` (on the CPU), so they do not depend on the device;
    every image takes one for every transform whatever its strengths, so they do not depend on the modalities either.
    """
    n = len(images)

    def uniform(limit: Tensor) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit.float()

    angle = uniform(torch.deg2rad(strengths["rotate"]))
    scale = torch.exp(uniform(torch.log1p(strengths["zoom"])))
    flip = torch.where(torch.rand(n, generator=generator) < strengths["horizontal_flip"].float(), -1.0, 1.0)
    shift_x, shift_y = uniform(2 * strengths["shift"]), uniform(2 * strengths["shift"])
    contrast, brightness = 1 + uniform(strengths["gain"]), uniform(strengths["gain"] / 2)

    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (cosine * flip, -sine, shift_x, sine * flip, cosine, shift_y)
    matrices = torch.stack(rows, dim=1).reshape(n, 2, 3)
    grid = affine_grid(matrices.to(images.device), list(images.shape), align_corners=False)
    pixels = images.float().div(255.0)
    sampled = grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)
    # Sampling at the pixels' own places still rounds, and a measurement that nothing is to change must not change.
    still = (matrices == torch.eye(2, 3)).flatten(1).all(dim=1)
    moved = torch.where(_each(still, images), pixels, sampled)

    gained = (moved * _each(contrast, images) + _each(brightness, images)).clamp(0, 1)
    # The letterbox border stays black: it is no tissue, and a border that follows the gain would say so.
    return torch.where(moved.amax(dim=1, keepdim=True) > 0, gained, moved)


def _each(values: Tensor, images: Tensor) -> Tensor:
    """One value an image, on the device of the images, to go with n x 3 x H x W."""
    return values.to(images.device)[:, None, None, None]
