"""Features of boxes, each from the map of a pyramid that its size asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from services.optimisation.overlaps import areas
from services.optimisation.roi_align import roi_align
from services.perception.detection.optimisation.instances import Maps

Pooling: TypeAlias = Callable[[Tensor, Tensor, float, int], Tensor]


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
