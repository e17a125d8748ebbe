"""RoIAlign (He et al. 2017) without compiled operators, equal to ONNX's RoiAlign.

That is opset 16 and later with coordinate_transformation_mode half_pixel, sampling_ratio 2 and mode avg. Points more
than one cell outside of the map count as zero, those nearer are moved to its border, as the operator has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from services.perception.detection.optimisation.boxes import areas
from services.perception.detection.optimisation.instances import Maps

POINTS: Final = 2
"""Sampled points of a bin along each axis."""

Pooling: TypeAlias = Callable[[Tensor, Tensor, float, int], Tensor]


def roi_align(features: Tensor, boxes: Tensor, stride: float, side: int) -> Tensor:
    """Features of boxes in one image, averaged in bins; there is a gradient to the features, none to the boxes.

    Args:
        features: float32 (1, channels, height, width).
        boxes: float32 (n, 4), left, top, right, bottom in pixels of the image.
        stride: pixels of a cell of the map.
        side: bins along each axis.

    Returns:
        float32 (n, channels, side, side).
    """
    channels, height, width = features.shape[1:]
    count = len(boxes)
    if count == 0:
        return features.new_zeros((0, channels, side, side))
    boxes = boxes.detach() / stride - 0.5
    x, in_x = _coordinates(boxes[:, 0], boxes[:, 2], width, side)
    y, in_y = _coordinates(boxes[:, 1], boxes[:, 3], height, side)
    points = side * POINTS
    grid = torch.stack((x[:, None, :].expand(count, points, points), y[:, :, None].expand(count, points, points)), -1)
    sampled = functional.grid_sample(
        features, grid.reshape(1, count * points, points, 2), padding_mode="border", align_corners=False
    )
    inside = in_y.reshape(1, 1, -1, 1) & in_x.repeat_interleave(points, dim=0)
    averaged = functional.avg_pool2d(sampled * inside, POINTS)
    return averaged.reshape(channels, count, side, side).transpose(0, 1)


def _coordinates(first: Tensor, last: Tensor, cells: int, side: int) -> tuple[Tensor, Tensor]:
    """Sampled points along an axis as grid_sample wants them, and whether they count; (n, points) each."""
    places = (torch.arange(side * POINTS, device=first.device) + 0.5) / (side * POINTS)
    points = first[:, None] + (last - first)[:, None] * places
    return (2 * points + 1) / cells - 1, (points >= -1) & (points <= cells)


def levels_of(boxes: Tensor, levels: int, boundary: float) -> Tensor:
    """Which map a box is pooled from (Lin et al. 2017, FPN, equation 1), int64 (n,), 0 for the finest.

    Args:
        boxes: float32 (n, 4).
        levels: maps there are, each of twice the stride of the one before.
        boundary: square root of the area at which boxes leave the finest map; the paper's 224 pixels for stride 16.
    """
    found = torch.zeros_like(boxes[:, 0], dtype=torch.int64)
    for level in range(1, levels):
        found = found + (areas(boxes) >= (boundary * 2 ** (level - 1)) ** 2).to(torch.int64)
    return found


def pool_levels(
    maps: Maps, boxes: Tensor, *, strides: tuple[int, ...], boundary: float, side: int, pooling: Pooling = roi_align
) -> Tensor:
    """Features of boxes in one image, each from the map that its size asks for.

    Args:
        maps: of one image, each (1, channels, height, width).
        boxes: float32 (n, 4) in pixels of the image.
        strides: of the maps.
        boundary: as in `levels_of`.
        side: bins along each axis.
        pooling: what pools from one map; an exported graph has an operator of ONNX there.

    Returns:
        float32 (n, channels, side, side), in the order of the boxes.
    """
    levels = levels_of(boxes, len(maps), boundary)
    indices = [(levels == level).nonzero()[:, 0] for level in range(len(maps))]
    pooled = [
        pooling(features, boxes[index], float(stride), side)
        for features, index, stride in zip(maps, indices, strides, strict=True)
    ]
    together = torch.cat(pooled)
    return torch.zeros_like(together).index_put((torch.cat(indices),), together)
