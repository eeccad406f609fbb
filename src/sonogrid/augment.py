"""Random transforms on the device, and for which modality each is legal.

| transform | B-mode | CDFI | elastography | why |
|---|---|---|---|---|
| horizontal flip | yes | yes | yes | left and right carry no diagnosis, and flow towards or away is vertical |
| shift, zoom, rotate (small) | yes | yes | yes | the probe's position is arbitrary; aspect is kept |
| gain (brightness, contrast) | yes | no | no | colour is a measurement: velocity or stiffness |
| hue | no | no | no | not offered: hue is flow direction or stiffness |
| vertical flip | no | no | no | not offered: it reverses depth, shadow and enhancement |
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from sonogrid.config import Augment

GAIN_IS_LEGAL = frozenset({"bmode"})


def gain_mask(modalities: Sequence[str]) -> Tensor:
    """One bool an image: whether its brightness and contrast may be changed."""
    return torch.tensor([modality in GAIN_IS_LEGAL for modality in modalities], dtype=torch.bool)


def augment(images: Tensor, may_gain: Tensor, strengths: Augment, generator: torch.Generator) -> Tensor:
    """Random geometry for every image and random gain where it is legal.

    `images` are n x 3 x H x W in uint8; returns float32 in [0, 1] of the same shape. `may_gain` is n bool.
    Random numbers come from `generator` (on the CPU), so they do not depend on the device.
    """
    n = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    angle = uniform(math.radians(strengths.rotate))
    scale = torch.exp(uniform(math.log1p(strengths.zoom)))
    flip = torch.where(torch.rand(n, generator=generator) < strengths.horizontal_flip, -1.0, 1.0)
    shift_x, shift_y = uniform(2 * strengths.shift), uniform(2 * strengths.shift)
    contrast, brightness = 1 + uniform(strengths.gain), uniform(strengths.gain / 2)

    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (cosine * flip, -sine, shift_x, sine * flip, cosine, shift_y)
    matrices = torch.stack(rows, dim=1).reshape(n, 2, 3).to(images.device)
    grid = affine_grid(matrices, list(images.shape), align_corners=False)
    moved = grid_sample(images.float().div(255.0), grid, padding_mode="zeros", align_corners=False)

    legal = may_gain.to(images.device)
    factor = torch.where(legal, contrast.to(images.device), 1.0)[:, None, None, None]
    offset = torch.where(legal, brightness.to(images.device), 0.0)[:, None, None, None]
    gained = (moved * factor + offset).clamp(0, 1)
    # The letterbox border stays black: it is no tissue, and a border that follows the gain would say so.
    return torch.where(moved.amax(dim=1, keepdim=True) > 0, gained, moved)
