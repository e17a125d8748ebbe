"""Operators that move elements and compute none."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from services.security.camouflage.optimisation.graphs.nodes import Compute, Inputs, Node, tensor_of


def _reshape(node: Node, inputs: Inputs) -> Tensor:
    values, sizes = tensor_of(inputs, 0), node.numbers(1, inputs) or []
    if not node.get("allowzero", 0):
        sizes = [values.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return values.reshape(sizes)


def _transpose(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    return values.permute(node.get("perm", list(reversed(range(values.ndim)))))


def _flatten(node: Node, inputs: Inputs) -> Tensor:
    values, axis = tensor_of(inputs, 0), node.get("axis", 1)
    axis = axis % values.ndim if axis < 0 else axis
    return values.reshape(math.prod(values.shape[:axis]), -1)


def _concatenate(node: Node, inputs: Inputs) -> Tensor:
    return torch.cat([one for one in inputs if one is not None], dim=node.attributes["axis"])


def _squeeze(node: Node, inputs: Inputs) -> Tensor:
    values, axes = tensor_of(inputs, 0), node.axes(1, inputs)
    return values.squeeze() if axes is None else values.squeeze(tuple(axes))


def _unsqueeze(node: Node, inputs: Inputs) -> Tensor:
    values, axes = tensor_of(inputs, 0), node.axes(1, inputs) or []
    rank = values.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _slice(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    starts, ends = node.numbers(1, inputs) or [], node.numbers(2, inputs) or []
    axes, steps = node.numbers(3, inputs) or list(range(len(starts))), node.numbers(4, inputs) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = int(values.shape[axis])
        if step > 0:
            first, last, step = slice(start, end, step).indices(size)
            index = [slice(None)] * (axis % values.ndim) + [slice(first, max(first, last), step)]
            values = values[tuple(index)]
        else:
            end = None if end < -size else end
            chosen = list(range(size))[start:end:step]
            values = values.index_select(axis, torch.tensor(chosen, dtype=torch.int64, device=values.device))
    return values


def _split(node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    values, axis = tensor_of(inputs, 0), node.get("axis", 0)
    sizes = node.numbers(1, inputs) or node.attributes.get("split")
    if sizes is None:
        parts = len(node.outputs)
        sizes = [-(-int(values.shape[axis]) // parts)] * parts
        sizes[-1] = int(values.shape[axis]) - sum(sizes[:-1])
    return torch.split_with_sizes(values, list(sizes), dim=axis)


def _expand(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    # Sizes of either may be 1 where the other's is not.
    sizes = list(node.numbers(1, inputs) or [])
    shape = [1] * (len(sizes) - values.ndim) + list(values.shape)
    sizes = [1] * (len(shape) - len(sizes)) + sizes
    return values.expand([own if size == 1 else size for own, size in zip(shape, sizes, strict=True)])


def _tile(node: Node, inputs: Inputs) -> Tensor:
    return tensor_of(inputs, 0).repeat(node.numbers(1, inputs) or [])


def _pad(node: Node, inputs: Inputs) -> Tensor:
    values, pads = tensor_of(inputs, 0), node.numbers(1, inputs) or []
    axes = node.numbers(3, inputs) or list(range(values.ndim))
    before, after = dict(zip(axes, pads, strict=False)), dict(zip(axes, pads[len(axes) :], strict=True))
    pairs = [int(side.get(axis, 0)) for axis in reversed(range(values.ndim)) for side in (before, after)]
    node.require("mode", "constant", "reflect", "edge", default="constant")
    mode = node.get("mode", "constant")
    if mode == "constant":
        return functional.pad(values, pairs, value=node.number(2, inputs) or 0)
    if any(pairs[4:]) or values.ndim < 3:
        raise node.refusal(f"with mode = {mode!r} of other axes than height and width")
    return functional.pad(values, pairs[:4], mode="replicate" if mode == "edge" else mode)


def _shape(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    sizes = list(values.shape)[node.get("start", 0) : node.attributes.get("end")]
    return torch.tensor(sizes, dtype=torch.int64, device=values.device)


def _size(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    return torch.tensor(values.numel(), dtype=torch.int64, device=values.device)


def _constant_of_shape(node: Node, inputs: Inputs) -> Tensor:
    sizes = node.numbers(0, inputs) or []
    value = node.get("value", torch.zeros(1, dtype=node.precision))
    return value.reshape(()).expand(sizes).clone()


def _range(node: Node, inputs: Inputs) -> Tensor:
    start, limit, delta = (node.number(place, inputs) for place in range(3))
    return torch.arange(start, limit, delta, dtype=tensor_of(inputs, 0).dtype)


SHAPES: Final[dict[str, Compute]] = {
    "Concat": _concatenate,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Operators by their names in ONNX."""
