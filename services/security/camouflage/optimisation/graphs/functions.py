"""A graph as a function of its input, differentiable in it; weights are constants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from services.security.camouflage.optimisation.graphs.arithmetic import ARITHMETIC
from services.security.camouflage.optimisation.graphs.folding import UnusableGraph
from services.security.camouflage.optimisation.graphs.layers import LAYERS
from services.security.camouflage.optimisation.graphs.nodes import (
    Compute,
    Node,
    UnknownOperator,
    read_attributes,
)
from services.security.camouflage.optimisation.graphs.regions import COUNTED_BY_VALUES, REGIONS
from services.security.camouflage.optimisation.graphs.shapes import SHAPES

OPERATORS: Final[Mapping[str, Compute]] = {**ARITHMETIC, **LAYERS, **SHAPES, **REGIONS}
"""Operators that are computed here, by their names in ONNX."""

OLDEST_OPSET: Final = 13
"""Before, some operators of the same names computed something else."""

_READ_AS_NUMBERS: Final = 64
"""Most elements of constants that operators may ask for as numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    node: Node
    compute: Compute
    released: tuple[str, ...]
    """Values that nothing behind it needs."""


class GraphFunction:
    """A folded graph as a function.

    Args:
        model: of `fold`: one input, standard operators.
        precision: that what is float32 in the graph is computed with; float64 to compare gradients.
        device: that it is computed on.

    Attributes:
        batches: whether several inputs are computed side by side.
        precision: as given.

    Raises:
        UnknownOperator: names the operators that are not known.
        UnusableGraph: it is of an old version of ONNX, or has parts within parts.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        precision: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        _require_known(model)
        self.precision = precision
        graph: Any = model.graph
        self._constants = {one.name: _tensor(one, precision, device) for one in graph.initializer}
        numbers = {name: value.tolist() for name, value in self._constants.items() if value.numel() <= _READ_AS_NUMBERS}
        nodes = [_read_node(node, numbers, precision) for node in graph.node]
        self._input = next(one.name for one in graph.input if one.name not in self._constants)
        self._outputs = tuple(one.name for one in graph.output)
        self._steps = _steps(nodes, {*self._outputs, *self._constants})
        self.batches = not any(node.operator in COUNTED_BY_VALUES for node in nodes)

    def digest(self) -> str:
        """SHA-256 of all constants, hexadecimal: the same as long as nothing has changed a weight."""
        found = hashlib.sha256()
        for name in sorted(self._constants):
            value = self._constants[name]
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
        return found.hexdigest()

    def __call__(self, values: Tensor) -> tuple[Tensor, ...]:
        """The graph's outputs, in their order, for its input.

        Raises:
            UnusableGraph: an operator cannot be computed as it is asked for here.
        """
        known: dict[str, Tensor] = {**self._constants, self._input: values}
        for step in self._steps:
            node = step.node
            inputs = [known[name] if name else None for name in node.inputs]
            try:
                found = step.compute(node, inputs)
            except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                if isinstance(error, UnusableGraph):
                    raise
                raise node.refusal(f"as it stands here ({error})") from error
            known.update(zip(node.outputs, (found,) if isinstance(found, Tensor) else found, strict=False))
            for name in step.released:
                known.pop(name, None)
        return tuple(known[name] for name in self._outputs)

    def each(self, values: Tensor) -> list[tuple[Tensor, ...]]:
        """The outputs of several inputs that the graph takes one at a time.

        Args:
            values: (n, ...), of which the graph takes (1, ...).

        Returns:
            For each of the n its outputs.
        """
        if not self.batches or len(values) == 1:
            return [self(one[None]) for one in values]
        # The graph stays one of a single picture; torch carries a further axis through each of its operators.
        found: tuple[Tensor, ...] = torch.func.vmap(self)(values[:, None])
        return list(zip(*(output.unbind() for output in found), strict=True))


def _require_known(model: Any) -> None:
    versions = {one.domain: one.version for one in model.opset_import}
    if versions.get("", OLDEST_OPSET) < OLDEST_OPSET:
        raise UnusableGraph(f"its operators are of opset {versions['']}, and {OLDEST_OPSET} is the oldest here")
    named = {f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node}
    unknown = sorted(named - OPERATORS.keys())
    if unknown:
        raise UnknownOperator(f"operators that are not known here: {', '.join(unknown)}")


def _read_node(node: onnx.NodeProto, numbers: Mapping[str, Any], precision: torch.dtype) -> Node:
    attributes = {
        name: _tensor(value, precision, "cpu") if isinstance(value, onnx.TensorProto) else value
        for name, value in read_attributes(node).items()
    }
    constants = {place: numbers[name] for place, name in enumerate(node.input) if name in numbers}
    return Node(
        node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, constants, precision=precision
    )


def _tensor(stored: onnx.TensorProto, precision: torch.dtype, device: torch.device | str) -> Tensor:
    tensor = torch.from_numpy(numpy_helper.to_array(stored).copy())
    return tensor.to(device, precision if tensor.is_floating_point() else tensor.dtype)


def _steps(nodes: Sequence[Node], kept: set[str]) -> list[_Step]:
    last: dict[str, int] = {}
    for place, node in enumerate(nodes):
        last.update(dict.fromkeys((*node.inputs, *node.outputs), place))
    released: dict[int, list[str]] = {}
    for name, place in last.items():
        if name and name not in kept:
            released.setdefault(place, []).append(name)
    return [_Step(node, OPERATORS[node.operator], tuple(released.get(place, ()))) for place, node in enumerate(nodes)]
