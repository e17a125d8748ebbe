"""Rewrites what some tensors of a caller could end a process with.

Run as `python -m shared.runtime.inspection.hazards < request`.

Two are known of onnxruntime (1.32); tests look for more.

- Div: the smallest integer of 32 or 64 bits divided by -1 is beyond the largest, which the processor signals. a / b
  becomes (a * s) / (b * s), where s is -1 where b is -1 and 1 elsewhere: the same numbers, but that the smallest
  integer becomes itself, as in NumPy. Narrower and unsigned types wrap in onnxruntime, floating ones become infinite;
  these are left alone, and so are constant divisors without a -1. Division by zero fails in onnxruntime as before.
- LSTM and GRU abort on a sequence or a batch of no elements, wherever that comes from. Their input x is reshaped to its
  own shape times n / n, n being the number of its elements: nothing changes, but that none fails as a division by zero.

Types of what is computed inside come from the onnx package's inference. It parses other people's bytes natively, so
that happens in this process (`shared.isolation`), and serving processes do not load the package.
`shared.runtime.inspection.preparation` starts it.
"""

from __future__ import annotations

import copy
import sys
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper, shape_inference

from shared.isolation import read_isolated_request, write_isolated_answer
from shared.runtime.inspection.failure_reasons import NEEDS_ELEMENTS
from shared.runtime.inspection.onnx_file import NEEDING_ELEMENTS

OLDEST_OPSET: Final = 7
"""The first whose operators broadcast as the rewritten ones need."""

_OVERFLOWING: Final = frozenset({TensorProto.INT32, TensorProto.INT64})


class UnknownDivision(ValueError):
    """A division of which cannot be told what numbers it divides, or which this opset cannot say otherwise."""


def main() -> None:
    """Read the request, answer `{"changed": bool}` and the graph behind it, or `{"error": ...}`."""
    _, content = read_isolated_request(sys.stdin.buffer)
    try:
        rewritten = without_hazards(content)
    except Exception as error:  # whatever the package raises of other people's bytes is the answer
        write_isolated_answer(sys.stdout.buffer, {"error": str(error)})
    else:
        write_isolated_answer(sys.stdout.buffer, {"changed": rewritten is not None}, rewritten or b"")


def without_hazards(content: bytes) -> bytes | None:
    """A graph that computes the same and survives what tensors it is given.

    Args:
        content: an ONNX file, weights inside.

    Returns:
        The file, with functions of its own inlined; None where there is nothing to rewrite.

    Raises:
        UnknownDivision: it cannot be rewritten.
    """
    model = onnx.load_model_from_string(content)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model, convert_version=True)
    if any(_is_hazardous(node) for function in model.functions for node in function.node):
        raise UnknownDivision("A function of the file that divides or is recurrent cannot be inlined.")
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    rewriter = _Rewriter(opset, _unused_prefix(content))
    rewriter.rewrite(model.graph, shape_inference.infer_shapes(model).graph, _Scope())
    return model.SerializeToString() if rewriter.count else None


def _unused_prefix(content: bytes) -> str:
    prefix = NEEDS_ELEMENTS
    while prefix.encode() in content:
        prefix += "_"
    return prefix


def _is_division(node: onnx.NodeProto) -> bool:
    return node.op_type == "Div" and node.domain in {"", "ai.onnx"}


def _is_hazardous(node: onnx.NodeProto) -> bool:
    return _is_division(node) or node.op_type in NEEDING_ELEMENTS


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is known of the names of a graph and of those around it.

    Attributes:
        types: TensorProto.DataType by name.
        constants: values by name.
    """

    types: ChainMap[str, int] = field(default_factory=ChainMap)
    constants: ChainMap[str, TensorProto] = field(default_factory=ChainMap)

    def within(self, graph: onnx.GraphProto) -> _Scope:
        """The scope of a graph in this one, its types inferred."""
        types = {value.name: value.type.tensor_type.elem_type for value in _values(graph)}
        types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        constants = {tensor.name: tensor for tensor in graph.initializer} | dict(_constants(graph))
        return _Scope(self.types.new_child(types), self.constants.new_child(constants))


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, TensorProto]]:
    for node in graph.node:
        if node.op_type == "Constant":
            value = helper.get_attribute_value(node.attribute[0])
            if isinstance(value, TensorProto):
                yield node.output[0], value
            elif node.attribute[0].name in {"value_int", "value_ints"}:
                yield node.output[0], numpy_helper.from_array(np.array(value, np.int64))


class _Rewriter:
    """Goes through the graphs of one file.

    Args:
        opset: of ai.onnx.
        prefix: of names that are in use nowhere in it.

    Attributes:
        count: divisions that were rewritten.
    """

    def __init__(self, opset: int, prefix: str) -> None:
        self._opset, self._prefix = opset, prefix
        self.count = 0

    def rewrite(self, graph: onnx.GraphProto, inferred: onnx.GraphProto, outside: _Scope) -> None:
        """Rewrite a graph and those in it.

        Args:
            graph: to change.
            inferred: the same with the types of what is computed in it.
            outside: what is known around it.
        """
        scope = outside.within(inferred)
        nodes: list[onnx.NodeProto] = []
        for node, twin in zip(graph.node, inferred.node, strict=True):
            for inner, inner_twin in zip(_subgraphs(node), _subgraphs(twin), strict=True):
                self.rewrite(inner, inner_twin, scope)
            nodes += self._rewritten(node, scope) if _is_hazardous(node) else [node]
        changed = [copy.deepcopy(node) for node in nodes]
        del graph.node[:]
        graph.node.extend(changed)

    def _rewritten(self, node: onnx.NodeProto, scope: _Scope) -> list[onnx.NodeProto]:
        if node.op_type in NEEDING_ELEMENTS:
            self.count += 1
            return list(_guarded(node, f"{self._prefix}{self.count}_"))
        dividend, divisor = node.input
        constant = scope.constants.get(divisor)
        if constant is not None and not _has_minus_one(constant):
            return [node]
        dtype = scope.types.get(divisor) or scope.types.get(dividend)
        if not dtype:
            raise UnknownDivision(
                f"It cannot be told what numbers the division {node.output[0]} divides: add the type of {divisor} to "
                "the graph's value_info, as onnx.shape_inference does."
            )
        if dtype not in _OVERFLOWING:
            return [node]
        if self._opset < OLDEST_OPSET:
            raise UnknownDivision(f"Its divisions of whole numbers are taken from opset {OLDEST_OPSET} on.")
        self.count += 1
        return list(_safe_division(node, dtype, f"{self._prefix}{self.count}_"))


def _has_minus_one(constant: TensorProto) -> bool:
    return constant.data_type in _OVERFLOWING and bool((numpy_helper.to_array(constant) == -1).any())


def _safe_division(node: onnx.NodeProto, dtype: int, prefix: str) -> Iterator[onnx.NodeProto]:
    """The same division with the sign of -1 taken out of the divisor; no operator here fails on any number."""
    dividend, divisor = node.input
    for name, value in (("minus_one", -1), ("minus_two", -2), ("one", 1)):
        yield helper.make_node("Constant", [], [prefix + name], value=helper.make_tensor("", dtype, [], [value]))

    def step(operator: str, *inputs: str, gives: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, [prefix + gives], **attributes)

    yield step("Equal", divisor, prefix + "minus_one", gives="is_minus_one")
    yield step("Cast", prefix + "is_minus_one", gives="flag", to=dtype)
    yield step("Mul", prefix + "flag", prefix + "minus_two", gives="change")
    yield step("Add", prefix + "change", prefix + "one", gives="sign")
    yield step("Mul", dividend, prefix + "sign", gives="dividend")
    yield step("Mul", divisor, prefix + "sign", gives="divisor")
    yield helper.make_node("Div", [prefix + "dividend", prefix + "divisor"], node.output, name=node.name)


def _guarded(node: onnx.NodeProto, prefix: str) -> Iterator[onnx.NodeProto]:
    """The same node, which fails before it begins where its first input has no elements."""
    given = node.input[0]
    yield helper.make_node("Size", [given], [prefix + "size"])
    yield helper.make_node("Div", [prefix + "size", prefix + "size"], [prefix + "one"], name=prefix + node.op_type)
    yield helper.make_node("Shape", [given], [prefix + "shape"])
    yield helper.make_node("Mul", [prefix + "shape", prefix + "one"], [prefix + "same"])
    yield helper.make_node("Reshape", [given, prefix + "same"], [prefix + "given"])
    node.input[0] = prefix + "given"
    yield node


if __name__ == "__main__":
    main()
