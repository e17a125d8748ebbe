"""Operators that torch has not, or not for any number of rows, as nodes of an exported graph.

Each computes the same in torch, so a module that calls them can be run, too. The exporter finds `symbolic` by its name.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from services.optimisation import overlaps
from services.optimisation import roi_align as pooling
from services.perception.detection.optimisation import boxes as box_arithmetic


class _Surest(Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, most: int) -> Tensor:
        return scores.topk(min(most, len(scores))).indices

    @staticmethod
    def symbolic(graph: Any, scores: Any, most: int) -> Any:
        wanted = graph.op("Constant", value_t=torch.tensor([most]))
        count = graph.op("Min", wanted, graph.op("Shape", scores))
        return graph.op("TopK", scores, count, axis_i=0, largest_i=1, sorted_i=1, outputs=2)[1]


class _Suppressed(Function):
    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, overlap: float, most: int) -> Tensor:
        return overlaps.suppress(boxes, scores, overlap=overlap)[:most]

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, overlap: float, most: int) -> Any:
        first = graph.op("Constant", value_t=torch.tensor([0]))
        ahead = graph.op("Constant", value_t=torch.tensor([0, 1]))
        chosen = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", boxes, first),
            graph.op("Unsqueeze", scores, ahead),
            graph.op("Constant", value_t=torch.tensor([most])),
            graph.op("Constant", value_t=torch.tensor([overlap])),
        )
        third = graph.op("Constant", value_t=torch.tensor(2))
        return graph.op("Gather", chosen, third, axis_i=1)


class _Pooled(Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, boxes: Tensor, stride: float, side: int) -> Tensor:
        return pooling.roi_align(features, boxes, stride, side)

    @staticmethod
    def symbolic(graph: Any, features: Any, boxes: Any, stride: float, side: int) -> Any:
        # The number of the image of each box, all 0: sums of no columns.
        none = graph.op("Constant", value_t=torch.tensor([[0.0], [0.0], [0.0], [0.0]]))
        zeros = graph.op("MatMul", boxes, none)
        last = graph.op("Constant", value_t=torch.tensor([1]))
        images = graph.op("Cast", graph.op("Squeeze", zeros, last), to_i=7)
        return graph.op(
            "RoiAlign",
            features,
            boxes,
            images,
            coordinate_transformation_mode_s="half_pixel",
            mode_s="avg",
            output_height_i=side,
            output_width_i=side,
            sampling_ratio_i=pooling.POINTS,
            spatial_scale_f=1 / stride,
        )


class _ImageSize(Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return box_arithmetic.image_size(images)

    @staticmethod
    def symbolic(graph: Any, images: Any) -> Any:
        return graph.op("Cast", graph.op("Shape", images, start_i=2, end_i=4), to_i=1)


def surest(scores: Tensor, most: int) -> Tensor:
    """Indices of the largest scores (n,), falling; `most` of them or all."""
    found: Tensor = _Surest.apply(scores, most)  # type: ignore[no-untyped-call]
    return found


def suppress(boxes: Tensor, scores: Tensor, *, overlap: float, most: int) -> Tensor:
    """Indices of boxes (n, 4) that stay, falling scores (n,); `most` of them or all."""
    found: Tensor = _Suppressed.apply(boxes, scores, overlap, most)  # type: ignore[no-untyped-call]
    return found


def roi_align(features: Tensor, boxes: Tensor, stride: float, side: int) -> Tensor:
    """As `roi_align.roi_align`."""
    found: Tensor = _Pooled.apply(features, boxes, stride, side)  # type: ignore[no-untyped-call]
    return found


def image_size(images: Tensor) -> Tensor:
    """As `boxes.image_size`."""
    found: Tensor = _ImageSize.apply(images)  # type: ignore[no-untyped-call]
    return found
