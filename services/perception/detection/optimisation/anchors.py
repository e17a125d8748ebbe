"""Anchor boxes of feature maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from services.perception.detection.optimisation.instances import Maps


@dataclass(frozen=True, slots=True)
class AnchorOptions:
    """Shapes of anchors.

    Attributes:
        sizes: for each map, the finest first: square roots of areas in pixels.
        ratios: height over width, for each size.
    """

    sizes: tuple[tuple[float, ...], ...] = ((16.0, 28.0), (48.0, 80.0), (128.0, 200.0))
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        if len({len(sizes) for sizes in self.sizes}) != 1:
            raise ValueError("a head is shared by all maps, so they all have equally many sizes of anchors")

    @property
    def count(self) -> int:
        """Anchors in a cell of any map."""
        return len(self.sizes[0]) * len(self.ratios)


def anchor_shapes(sizes: tuple[float, ...], ratios: tuple[float, ...]) -> Tensor:
    """Anchors around the origin, float32 (sizes x ratios, 4)."""
    rows = []
    for size in sizes:
        for ratio in ratios:
            width, height = size / math.sqrt(ratio), size * math.sqrt(ratio)
            rows.append((-width / 2, -height / 2, width / 2, height / 2))
    return torch.tensor(rows)


def grid_anchors(maps: Maps, strides: tuple[int, ...], options: AnchorOptions) -> list[Tensor]:
    """Anchors around the centre of each cell of each map.

    Returns:
        For each map float32 (height x width x anchors of a cell, 4): rows, then columns, then shapes.
    """
    found = []
    for features, stride, sizes in zip(maps, strides, options.sizes, strict=True):
        shapes = anchor_shapes(sizes, options.ratios).to(features.device)
        # Sizes of a traced map stay open, so that an exported graph takes images of any size.
        y = (torch.arange(features.shape[-2], device=features.device) + 0.5) * stride
        x = (torch.arange(features.shape[-1], device=features.device) + 0.5) * stride
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack((columns, rows, columns, rows), dim=-1).reshape(-1, 1, 4)
        found.append((centres + shapes).reshape(-1, 4))
    return found
