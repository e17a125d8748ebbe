"""Arithmetic of boxes: float32 (..., 4), left, top, right, bottom in pixels."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import torch
from torch import Tensor

from services.optimisation.overlaps import areas

Weights: TypeAlias = tuple[float, float, float, float]

UNIT_WEIGHTS: Final[Weights] = (1.0, 1.0, 1.0, 1.0)
LARGEST_LOG_SCALE: Final = math.log(1000 / 16)
"""Logarithms of scales are cut here before they are exponentiated, so that an untrained network gives finite boxes."""


def paired_iou(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019, algorithm 1) of boxes in pairs: (n, 4) to (n,) each.

    Generalised IoU is in (-1, 1], also tells boxes apart that do not meet, and has a gradient there.
    """
    inner = torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])
    outer = torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])
    shared, hull = inner.clamp(min=0).prod(dim=1), outer.prod(dim=1).clamp(min=1e-9)
    union = (areas(one) + areas(other) - shared).clamp(min=1e-9)
    iou = shared / union
    return iou, iou - (hull - union) / hull


def encode(boxes: Tensor, anchors: Tensor, weights: Weights = UNIT_WEIGHTS) -> Tensor:
    """Deltas that `decode` makes `boxes` of (Ren et al. 2015, equation 2), (n, 4).

    Args:
        boxes: to be encoded, (n, 4), of sides above 0.
        anchors: they are relative to, (n, 4), of sides above 0.
        weights: factors of the shifts in x and y and of the logarithms of the scales.
    """
    sizes, anchor_sizes = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    shifts = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / (2 * anchor_sizes)
    return torch.cat((shifts, (sizes / anchor_sizes).log()), dim=1) * boxes.new_tensor(weights)


def decode(deltas: Tensor, anchors: Tensor, weights: Weights = UNIT_WEIGHTS) -> Tensor:
    """Boxes of deltas.

    Args:
        deltas: (..., 4), as `encode` gives them.
        anchors: broadcast against the deltas.
        weights: as in `encode`.
    """
    deltas = deltas / torch.tensor(weights, device=deltas.device)
    sizes = anchors[..., 2:] - anchors[..., :2]
    centres = anchors[..., :2] + 0.5 * sizes + deltas[..., :2] * sizes
    half = 0.5 * sizes * deltas[..., 2:].clamp(max=LARGEST_LOG_SCALE).exp()
    return torch.cat((centres - half, centres + half), dim=-1)


def image_size(images: Tensor) -> Tensor:
    """Height and width of images (batch, channels, height, width) as float32 (2,), for `clip`."""
    return torch.tensor(images.shape[-2:], dtype=torch.float32, device=images.device)


def clip(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes (..., 4) cut at the border of an image of `size` (height, width), float32 (2,)."""
    height, width = size[0], size[1]
    return torch.minimum(boxes.clamp(min=0), torch.stack((width, height, width, height)))


def large_enough(boxes: Tensor, smallest: float) -> Tensor:
    """Whether both sides of boxes (n, 4) have `smallest` pixels, bool (n,)."""
    return ((boxes[:, 2] - boxes[:, 0]) >= smallest) & ((boxes[:, 3] - boxes[:, 1]) >= smallest)
