"""The published graph, operator by operator in torch, and its outputs decoded in NumPy: what the release must equal.

It knows neither the architecture nor how the release is written. TensorFlow keeps channels last, so every operator of
its own layout turns the tensor there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from services.perception.detection.training.nanodet.tfjs import GraphModel, Node

SIDE: Final = 416
"""Of the pictures that the published graph takes."""

Operator = Callable[[Node, list[Tensor]], Any]


@torch.no_grad()
def run_published(model: GraphModel, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Values of the published graph's outputs by name.

    Args:
        model: the published graph.
        image: float32 (1, 3, 416, 416), normalised, blue first.

    Raises:
        NotImplementedError: it has an operator that NanoDet does not need.
    """
    values: dict[str, Any] = {name: torch.from_numpy(value) for name, value in model.constants.items()}
    for name, node in model.nodes.items():
        if node.kind == "Placeholder":
            values[name] = torch.from_numpy(image)
        elif node.kind != "Const":
            values[name] = _run(node, [_find(values, one) for one in node.inputs])
    return {name: values[name].numpy() for name, node in model.nodes.items() if node.kind == "Identity"}


def heads_of(outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Scores of classes and logits of edges of all cells, the finest level first: (3549, 80 + 44)."""
    widths: dict[int, list[NDArray[np.float32]]] = {}
    for value in sorted((one[0] for one in outputs.values()), key=len, reverse=True):
        widths.setdefault(value.shape[1], []).append(value)
    return np.concatenate([np.concatenate(widths[width]) for width in sorted(widths, reverse=True)], axis=1)


def decode(
    edges: NDArray[np.float32], *, height: int, width: int, strides: tuple[int, ...] = (8, 16, 32)
) -> NDArray[np.float64]:
    """Boxes (cells, 4) of logits (cells, 4 * 11) of distances, within a picture of that size."""
    logits = edges.reshape(len(edges), 4, -1).astype(np.float64)
    chances = np.exp(logits - logits.max(axis=2, keepdims=True))
    distances = (chances / chances.sum(axis=2, keepdims=True)) @ np.arange(logits.shape[2])
    found, start = np.empty((len(edges), 4)), 0
    for stride in strides:
        rows, columns = height // stride, width // stride
        for place in range(rows * columns):
            x, y = (place % columns + 0.5) * stride, (place // columns + 0.5) * stride
            left, top, right, bottom = distances[start + place] * stride
            found[start + place] = x - left, y - top, x + right, y + bottom
        start += rows * columns
    return np.clip(found, 0, [width, height, width, height])


def _find(values: Mapping[str, Any], reference: str) -> Any:
    name, _, output = reference.lstrip("^").partition(":")
    value = values[name]
    return value[int(output or 0)] if isinstance(value, tuple) else value


def _run(node: Node, inputs: list[Any]) -> Any:
    if node.kind not in _OPERATORS:
        raise NotImplementedError(f"{node.name} is a {node.kind}, which is not known here")
    return _OPERATORS[node.kind](node, inputs)


def _channels_first(function: Callable[[Node, Tensor, list[Tensor]], Tensor]) -> Operator:
    """An operator whose first input has its channels last."""

    def run(node: Node, inputs: list[Tensor]) -> Tensor:
        return function(node, inputs[0].permute(0, 3, 1, 2), inputs[1:]).permute(0, 2, 3, 1)

    return run


def _convolve(node: Node, source: Tensor, inputs: list[Tensor]) -> Tensor:
    _require_valid(node)
    return functional.conv2d(source, inputs[0].permute(3, 2, 0, 1), stride=node.attributes["strides"][1:3])


def _max_pool(node: Node, source: Tensor, _inputs: list[Tensor]) -> Tensor:
    _require_valid(node)
    return functional.max_pool2d(source, node.attributes["ksize"][1:3], stride=node.attributes["strides"][1:3])


def _resize(node: Node, source: Tensor, inputs: list[Tensor]) -> Tensor:
    if not node.attributes["half_pixel_centers"] or node.attributes["align_corners"]:
        raise NotImplementedError(f"{node.name} takes other points than torch does")
    return functional.interpolate(source, size=inputs[0].tolist(), mode="bilinear", align_corners=False)


def _pad(_node: Node, inputs: list[Tensor]) -> Tensor:
    sides = [side for pair in reversed(inputs[1].tolist()) for side in pair]
    return functional.pad(inputs[0], sides, value=float(inputs[2]) if len(inputs) > 2 else 0.0)


def _fill_nothing(_node: Node, inputs: list[Tensor]) -> Tensor:
    """Shapes are computed by filling in what is not known; here all of it is."""
    places, size, _, default = inputs
    if places.numel():
        raise NotImplementedError("values to be filled in")
    return torch.full(size.tolist(), int(default), dtype=default.dtype)


def _require_valid(node: Node) -> None:
    if node.attributes["padding"] != "VALID":
        raise NotImplementedError(f"{node.name} pads by itself")


_OPERATORS: Final[Mapping[str, Operator]] = {
    "Add": lambda _node, inputs: inputs[0] + inputs[1],
    "AddV2": lambda _node, inputs: inputs[0] + inputs[1],
    "ConcatV2": lambda _node, inputs: torch.cat(inputs[:-1], dim=int(inputs[-1])),
    "Conv2D": _channels_first(_convolve),
    "Identity": lambda _node, inputs: inputs[0],
    "LeakyRelu": lambda node, inputs: functional.leaky_relu(inputs[0], node.attributes["alpha"]),
    "MaxPool": _channels_first(_max_pool),
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": lambda _node, inputs: inputs[0].reshape(inputs[1].tolist()),
    "ResizeBilinear": _channels_first(_resize),
    "Sigmoid": lambda _node, inputs: inputs[0].sigmoid(),
    "SparseToDense": _fill_nothing,
    "SplitV": lambda _node, inputs: torch.split(inputs[0], inputs[1].tolist(), dim=int(inputs[2])),
    "Transpose": lambda _node, inputs: inputs[0].permute(inputs[1].tolist()),
}
