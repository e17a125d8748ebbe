"""Convolution, pooling, normalisation and scaling of maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from services.security.camouflage.optimisation.graphs.nodes import Compute, Inputs, Node, tensor_of

_CONVOLUTIONS: Final = {3: functional.conv1d, 4: functional.conv2d}


def _convolve(node: Node, inputs: Inputs) -> Tensor:
    values, weights, bias = tensor_of(inputs, 0), tensor_of(inputs, 1), inputs[2] if len(inputs) > 2 else None
    axes = values.ndim - 2
    convolve: Any = _CONVOLUTIONS.get(values.ndim)
    if convolve is None:
        raise node.refusal(f"on {axes} axes")
    strides, dilations = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    padding = _padding(node, values, list(weights.shape[2:]), strides, dilations)
    values, symmetric = _padded(values, padding, 0.0)
    found: Tensor = convolve(values, weights, bias, strides, symmetric, dilations, node.get("group", 1))
    return found


def _max_pool(node: Node, inputs: Inputs) -> Tensor:
    values, kernel, strides, dilations = _pooling(node, inputs)
    values, symmetric = _padded(values, _padding(node, values, kernel, strides, dilations), -math.inf, kernel)
    ceil = bool(node.get("ceil_mode", 0))
    return functional.max_pool2d(values, kernel, strides, symmetric, dilations, ceil_mode=ceil)


def _average_pool(node: Node, inputs: Inputs) -> Tensor:
    values, kernel, strides, dilations = _pooling(node, inputs)
    if any(dilation != 1 for dilation in dilations):
        raise node.refusal("with dilations")
    before, after = _padding(node, values, kernel, strides, dilations)
    if before != after:
        raise node.refusal("with uneven padding")
    return functional.avg_pool2d(
        values, kernel, strides, before, bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    )


def _pooling(node: Node, inputs: Inputs) -> tuple[Tensor, list[int], list[int], list[int]]:
    values, kernel = tensor_of(inputs, 0), list(node.attributes["kernel_shape"])
    if len(kernel) != 2:
        raise node.refusal(f"on {len(kernel)} axes")
    if len(node.outputs) > 1:
        raise node.refusal("with places as a second output")
    return values, kernel, node.get("strides", [1, 1]), node.get("dilations", [1, 1])


def _padding(
    node: Node, values: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Elements added before and after each axis."""
    axes, mode = len(kernel), node.get("auto_pad", "NOTSET")
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
        sizes = values.shape[2:]
        totals = [
            max((-(-size // stride) - 1) * stride + one - size, 0)
            for size, stride, one in zip(sizes, strides, reach, strict=True)
        ]
        halves, rests = [total // 2 for total in totals], [total - total // 2 for total in totals]
        return (halves, rests) if mode == "SAME_UPPER" else (rests, halves)
    pads = list(node.get("pads", [0] * 2 * axes)) if mode == "NOTSET" else [0] * 2 * axes
    return pads[:axes], pads[axes:]


def _padded(
    values: Tensor, padding: tuple[list[int], list[int]], filling: float, kernel: Sequence[int] | None = None
) -> tuple[Tensor, list[int]]:
    """Values padded where a layer cannot do it itself, and the padding that is left to it."""
    before, after = padding
    possible = kernel is None or all(one <= size // 2 for one, size in zip(before, kernel, strict=True))
    if before == after and possible:
        return values, before
    pairs = [side for pair in reversed(list(zip(before, after, strict=True))) for side in pair]
    return functional.pad(values, pairs, value=filling), [0] * len(before)


def _global_average(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    return values.mean(list(range(2, values.ndim)), keepdim=True)


def _normalise_instances(node: Node, inputs: Inputs) -> Tensor:
    values, scale, bias = (tensor_of(inputs, place) for place in range(3))
    return functional.instance_norm(values, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _normalise_batches(node: Node, inputs: Inputs) -> Tensor:
    node.require("training_mode", 0, default=0)
    values, scale, bias, mean, variance = (tensor_of(inputs, place) for place in range(5))
    shape = [1, -1] + [1] * (values.ndim - 2)
    factor = scale / (variance + node.get("epsilon", 1e-5)).sqrt()
    return values * factor.reshape(shape) + (bias - mean * factor).reshape(shape)


def _normalise_layers(node: Node, inputs: Inputs) -> Tensor:
    values, scale = tensor_of(inputs, 0), tensor_of(inputs, 1)
    axis = node.get("axis", -1) % values.ndim
    bias = inputs[2] if len(inputs) > 2 else None
    return functional.layer_norm(values, list(values.shape[axis:]), scale, bias, node.get("epsilon", 1e-5))


def _resize(node: Node, inputs: Inputs) -> Tensor:
    node.require("antialias", 0, default=0)
    node.require("keep_aspect_ratio_policy", "stretch", default="stretch")
    node.require("mode", "nearest", "linear", default="nearest")
    values = tensor_of(inputs, 0)
    sizes = _resized(node, values, inputs)
    if sizes[:-2] != list(values.shape[:-2]) or values.ndim != 4:
        raise node.refusal("of other axes than height and width")
    if node.get("mode", "nearest") == "nearest":
        return _resize_nearest(node, values, sizes)
    places = node.get("coordinate_transformation_mode", "half_pixel")
    if places not in {"half_pixel", "pytorch_half_pixel", "align_corners"}:
        raise node.refusal(f"with coordinates {places}")
    return functional.interpolate(values, sizes[-2:], mode="bilinear", align_corners=places == "align_corners")


def _resized(node: Node, values: Tensor, inputs: Inputs) -> list[int]:
    axes = node.get("axes", list(range(values.ndim)))
    given, scales, sizes = list(values.shape), node.numbers(2, inputs), node.numbers(3, inputs)
    for place, axis in enumerate(axes):
        given[axis] = int(sizes[place]) if sizes else math.floor(given[axis] * (scales or [])[place])
    return given


def _resize_nearest(node: Node, values: Tensor, sizes: Sequence[int]) -> Tensor:
    places, rounding = node.get("coordinate_transformation_mode", "half_pixel"), node.get("nearest_mode", "")
    if (places, rounding) == ("asymmetric", "floor"):
        return functional.interpolate(values, list(sizes[-2:]), mode="nearest")
    for axis in (2, 3):
        chosen = _nearest(node, int(values.shape[axis]), sizes[axis])
        values = values.index_select(axis, torch.tensor(chosen, device=values.device))
    return values


def _nearest(node: Node, old: int, new: int) -> list[int]:
    """Which old row each new row is (ONNX, Resize)."""
    mode, rounding = (
        node.get("coordinate_transformation_mode", "half_pixel"),
        node.get("nearest_mode", "round_prefer_floor"),
    )
    transforms: dict[str, Callable[[int], float]] = {
        "asymmetric": lambda row: row * old / new,
        "half_pixel": lambda row: (row + 0.5) * old / new - 0.5,
        "pytorch_half_pixel": lambda row: (row + 0.5) * old / new - 0.5 if new > 1 else 0.0,
        "align_corners": lambda row: row * (old - 1) / (new - 1) if new > 1 else 0.0,
    }
    rounders: dict[str, Callable[[float], int]] = {
        "floor": math.floor,
        "ceil": math.ceil,
        "round_prefer_floor": lambda place: math.ceil(place - 0.5),
        "round_prefer_ceil": lambda place: math.floor(place + 0.5),
    }
    transform, near = transforms.get(mode), rounders.get(rounding)
    if transform is None or near is None:
        raise node.refusal(f"with coordinates {mode} and {rounding}")
    return [min(max(near(transform(row)), 0), old - 1) for row in range(new)]


LAYERS: Final[dict[str, Compute]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _normalise_batches,
    "Conv": _convolve,
    "GlobalAveragePool": _global_average,
    "InstanceNormalization": _normalise_instances,
    "LayerNormalization": _normalise_layers,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
"""Operators by their names in ONNX."""
