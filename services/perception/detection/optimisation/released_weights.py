"""A released detector as a network of torch, so that training can go on from its file.

An exported graph names most weights by numbers, and batch normalisation is folded into its convolutions. But its nodes
stand in the order in which torch has executed the modules they came from. So each convolution and each group
normalisation of one pass is matched with its node, shapes are compared, and what two passes through the same module
found has to be equal. Folded normalisation becomes one that adds the bias and changes nothing else, which is frozen in
these detectors anyway. Weights in half precision are widened exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from services.perception.detection.optimisation.construction import DetectorOptions, make_detector
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.published_backbone import make_identity

_KEEPS_VALUES: Final = ("Cast", "Identity")
_CONVOLUTION: Final = "Conv"
_GROUPS: Final = "InstanceNormalization"
"""What group normalisation is exported as, with its own factors and summands behind."""
_COUNTERS: Final = "num_batches_tracked"
"""Of batch normalisation, which no graph has."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What a graph knows of one execution of a module.

    Attributes:
        operator: what the module is exported as.
        weight: float32, of any shape.
        bias: float32, of any shape; None where there is none.
    """

    operator: str
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution of a module.

    Attributes:
        operator: what it is exported as.
        name: of the module.
        norm: name of the batch normalisation that comes next; None where another module does.
    """

    operator: Literal["Conv", "InstanceNormalization"]
    name: str
    norm: str | None


def read_released(content: bytes, options: DetectorOptions) -> Detector:
    """The network of a released file, in evaluation mode.

    Args:
        content: ONNX file that `export_detector` made, weights in single or half precision.
        options: of the detector that it was made of.

    Raises:
        ValueError: the file is the graph of another detector; what does not fit is named.
    """
    detector = make_detector(options).eval()
    state = detector.state_dict()
    layers, executions = list(_layers(content)), _execute(detector)
    if [one.operator for one in layers] != [one.operator for one in executions]:
        raise ValueError(f"the graph computes {_counted(layers)}, the detector {_counted(executions)}")
    found: dict[str, Tensor] = {}
    for layer, execution in zip(layers, executions, strict=True):
        _take(found, layer, execution, state)
    missing = [name for name in state if name not in found and not name.endswith(_COUNTERS)]
    if missing:
        raise ValueError(f"the graph has no weights of {missing[0]} and {len(missing) - 1} more")
    detector.load_state_dict(state | found)
    return detector


def _counted(steps: Sequence[Layer] | Sequence[Execution]) -> str:
    convolutions = sum(one.operator == _CONVOLUTION for one in steps)
    return f"{convolutions} convolutions and {len(steps) - convolutions} normalisations of groups in its own order"


def _take(found: dict[str, Tensor], layer: Layer, execution: Execution, state: dict[str, Tensor]) -> None:
    """Add the weights of one execution to what was found."""
    taken = {f"{execution.name}.weight": layer.weight}
    has_bias = f"{execution.name}.bias" in state
    if (layer.bias is not None) != (has_bias or execution.norm is not None):
        raise ValueError(f"{execution.name}: either the graph or the detector adds no bias here")
    if layer.bias is not None and has_bias:
        taken[f"{execution.name}.bias"] = layer.bias
    elif layer.bias is not None and execution.norm is not None:
        make_identity(taken, execution.norm, layer.bias)
    for name, tensor in taken.items():
        # Factors of group normalisation stand in graphs as (channels, 1, 1).
        fitting = tensor.reshape(-1) if execution.operator == _GROUPS else tensor
        if fitting.shape != state[name].shape:
            raise ValueError(f"{name} is {tuple(state[name].shape)}, in the graph {tuple(fitting.shape)}")
        if name in found and not torch.equal(found[name], fitting):
            raise ValueError(f"{name} is not the same wherever the graph has it")
        found[name] = fitting


@torch.no_grad()
def _execute(detector: Detector) -> list[Execution]:
    """All executions of modules with weights in one pass, in their order."""
    names = {module: name for name, module in detector.named_modules()}
    order: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm)
    hooks = [
        module.register_forward_hook(lambda module, *_: order.append(module))
        for module in names
        if isinstance(module, kinds)
    ]
    side = 2 * detector.backbone.options.strides[-1]
    try:
        detector.predict(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    following: list[nn.Module | None] = [*order[1:], None]
    return [
        Execution(
            _GROUPS if isinstance(module, nn.GroupNorm) else _CONVOLUTION,
            names[module],
            names[after] if isinstance(after, nn.BatchNorm2d) else None,
        )
        for module, after in zip(order, following, strict=True)
        if not isinstance(module, nn.BatchNorm2d)
    ]


def _layers(content: bytes) -> Iterator[Layer]:
    """All nodes of a graph that modules with weights were exported as, in their order."""
    graph = onnx.load_model_from_string(content).graph
    stored = StoredWeights(graph)
    for node in graph.node:
        if node.op_type == _CONVOLUTION:
            yield Layer(_CONVOLUTION, stored.find(node.input[1]), stored.find_bias(node))
        elif node.op_type == _GROUPS:
            yield Layer(_GROUPS, *stored.find_affine(node))


class StoredWeights:
    """Tensors of a graph by the names that its nodes read them by.

    Args:
        graph: ONNX's.
    """

    def __init__(self, graph: Any) -> None:
        self._stored = {one.name: one for one in graph.initializer}
        self._same = {node.output[0]: node.input[0] for node in graph.node if node.op_type in _KEEPS_VALUES}
        self._readers = {name: node for node in graph.node for name in node.input}

    def find(self, name: str) -> Tensor:
        """A tensor, float32.

        Raises:
            ValueError: it is not stored, but computed.
        """
        while name not in self._stored and name in self._same:
            name = self._same[name]
        if name not in self._stored:
            raise ValueError(f"{name} is no weight that the graph stores")
        return torch.from_numpy(numpy_helper.to_array(self._stored[name]).astype(np.float32))

    def find_bias(self, node: Any) -> Tensor | None:
        """Of a convolution."""
        return self.find(node.input[2]) if len(node.input) > 2 else None

    def find_affine(self, node: Any) -> tuple[Tensor, Tensor]:
        """Factors and summands behind the normalisation of groups.

        Raises:
            ValueError: other nodes follow it.
        """
        found: list[Tensor] = []
        for operator in ("Reshape", "Mul", "Add"):
            following = self._readers.get(node.output[0])
            if following is None or following.op_type != operator:
                raise ValueError(f"{node.name or node.output[0]} is not followed by {operator}")
            if operator != "Reshape":
                found.append(self.find(following.input[1]))
            node = following
        return found[0], found[1]
