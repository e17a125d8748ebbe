"""Operators that choose: the surest, those that others do not overlap, features of boxes."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from services.optimisation.overlaps import suppress
from services.optimisation.roi_align import POINTS, roi_align
from services.security.camouflage.optimisation.graphs.nodes import Compute, Inputs, Node, tensor_of


def _gather(node: Node, inputs: Inputs) -> Tensor:
    values, axis = tensor_of(inputs, 0), node.get("axis", 0) % tensor_of(inputs, 0).ndim
    if 1 in node.constants and not isinstance(node.constants[1], list):
        return values.select(axis, node.constants[1])
    places = tensor_of(inputs, 1)
    places = torch.where(places < 0, places + values.shape[axis], places)
    chosen = values.index_select(axis, places.flatten())
    return chosen.reshape(*values.shape[:axis], *places.shape, *values.shape[axis + 1 :])


def _gather_elements(node: Node, inputs: Inputs) -> Tensor:
    values, places, axis = tensor_of(inputs, 0), tensor_of(inputs, 1), node.get("axis", 0)
    return values.gather(axis, torch.where(places < 0, places + values.shape[axis], places))


def _gather_nd(node: Node, inputs: Inputs) -> Tensor:
    node.require("batch_dims", 0, default=0)
    return tensor_of(inputs, 0)[tensor_of(inputs, 1).unbind(-1)]


def _scatter_nd(node: Node, inputs: Inputs) -> Tensor:
    node.require("reduction", "none", default="none")
    values, places, updates = (tensor_of(inputs, place) for place in range(3))
    return values.index_put(places.unbind(-1), updates)


def _scatter_elements(node: Node, inputs: Inputs) -> Tensor:
    node.require("reduction", "none", default="none")
    values, places, updates = (tensor_of(inputs, place) for place in range(3))
    return values.scatter(node.get("axis", 0), places, updates)


def _non_zero(node: Node, inputs: Inputs) -> Tensor:
    return tensor_of(inputs, 0).nonzero().T


def _surest(node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    values, count = tensor_of(inputs, 0), int(node.number(1, inputs))
    found = values.topk(count, node.get("axis", -1), bool(node.get("largest", 1)), bool(node.get("sorted", 1)))
    return found.values, found.indices


def _suppress(node: Node, inputs: Inputs) -> Tensor:
    """Rows (picture, class, box) of what stays, int64 (n, 3), class by class as onnxruntime has them."""
    boxes, scores = tensor_of(inputs, 0).detach(), tensor_of(inputs, 1).detach()
    if len(boxes) != 1:
        raise node.refusal(f"on {len(boxes)} pictures")
    most = int(node.number(2, inputs) or 0)
    overlap, least = float(node.number(3, inputs) or 0.0), node.number(4, inputs)
    corners = _corners(boxes[0], by_centre=bool(node.get("center_point_box", 0)))
    kept = []
    for label, of_class in enumerate(scores[0]):
        sure = torch.arange(len(corners)) if least is None else (of_class > least).nonzero()[:, 0]
        stays = sure[suppress(corners[sure], of_class[sure], overlap=overlap)[:most]]
        kept.append(torch.stack((torch.zeros_like(stays), torch.full_like(stays, label), stays), dim=1))
    return torch.cat(kept)


def _corners(boxes: Tensor, *, by_centre: bool) -> Tensor:
    """Boxes (n, 4) with the smaller edge first, whichever corners they were given by."""
    if by_centre:
        return torch.cat((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), dim=1)
    one, other = boxes[:, :2], boxes[:, 2:]
    return torch.cat((torch.minimum(one, other), torch.maximum(one, other)), dim=1)


def _pool_boxes(node: Node, inputs: Inputs) -> Tensor:
    features, boxes = tensor_of(inputs, 0), tensor_of(inputs, 1)
    side = node.get("output_height", 1)
    node.require("output_width", side, default=1)
    node.require("mode", "avg", default="avg")
    node.require("coordinate_transformation_mode", "half_pixel", default="half_pixel")
    node.require("sampling_ratio", POINTS, default=0)
    if len(features) != 1:
        raise node.refusal(f"on {len(features)} pictures")
    return roi_align(features, boxes, 1 / node.get("spatial_scale", 1.0), side)


REGIONS: Final[dict[str, Compute]] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonMaxSuppression": _suppress,
    "NonZero": _non_zero,
    "RoiAlign": _pool_boxes,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _surest,
}
"""Operators by their names in ONNX."""

COUNTED_BY_VALUES: Final = frozenset({"NonMaxSuppression", "NonZero"})
"""Operators whose output has as many rows as the values ask for, so that pictures cannot be computed side by side."""
