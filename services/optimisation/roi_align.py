"""RoIAlign (He et al. 2017) without compiled operators, equal to ONNX's RoiAlign.

That is opset 16 and later with coordinate_transformation_mode half_pixel, sampling_ratio 2 and mode avg. Points more
than one cell outside of the map count as zero, those nearer are moved to its border, as the operator has it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

POINTS: Final = 2
"""Sampled points of a bin along each axis."""


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
