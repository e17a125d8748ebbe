"""A classifier's file in the one form that the rules are written for: float32, an opset from 17 on, no name in the way.

What is changed says the same: the nodes are those of the file, and a model that is in this form already is left as it
is, so its logits stay the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, version_converter

from services.uncertainty.explanation.networks.graph import UnsupportedNetwork

OPSET: Final = 17
"""Least opset of a model that the rules can be put behind; older ones are converted up to it."""

RESERVED: Final = frozenset(
    {
        "target",
        "contrast",
        "substitute",
        "explained",
        "relevance",
        "pattern_logits",
        "gradient",
        "normalised",
        "lost",
    }
)
"""Names of the inputs and outputs that an explanation adds."""

_RESERVED_PREFIXES: Final = ("relevance/", "sharing_ratio", "sum_flat_", "sum_ones_", "sum_back_")
_OTHER_FLOATS: Final = {TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in float32, with an opset from `OPSET` on, whose tensors have none of the names that are added.

    Weights in half or double precision become float32, as do the input and the output. Shapes that the file states of
    tensors between its nodes are dropped: they are inferred, not believed. Weights that could be overridden by inputs
    are constants.

    Raises:
        UnsupportedNetwork: an input or output has a name that is needed, the input is of whole numbers, or onnx cannot
            convert the file up.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    _fix_weights(copied.graph)
    _widen(copied.graph)
    copied = _converted_up(copied)
    del copied.graph.value_info[:]
    _require_usable_ends(copied.graph)
    _rename(copied.graph)
    return copied


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of ONNX's own operators, 0 where the file names none."""
    return next((item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}), 0)


def _fix_weights(graph: onnx.GraphProto) -> None:
    constants = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    if len(inputs) != len(graph.input):
        del graph.input[:]
        graph.input.extend(inputs)


def _widen(graph: onnx.GraphProto) -> None:
    """Half and double precision to float32."""
    for tensor in _tensors(graph):
        if tensor.data_type in _OTHER_FLOATS:
            value = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):  # what float32 cannot hold is refused with the weights that are not finite
                tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    for item in (*graph.input, *graph.output):
        if item.type.tensor_type.elem_type in _OTHER_FLOATS:
            item.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i in _OTHER_FLOATS:
                    attribute.i = TensorProto.FLOAT


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.type == onnx.AttributeProto.TENSOR)


def _converted_up(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = opset_of(model)
    if opset >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception:  # the converter throws RuntimeError and others of its own
        raise UnsupportedNetwork([f"opset {opset}, which onnx cannot convert up to {OPSET}"]) from None


def _require_usable_ends(graph: onnx.GraphProto) -> None:
    faults = [
        f"an input or output called {item.name}, a name that the explanation needs"
        for item in (*graph.input, *graph.output)
        if _is_reserved(item.name)
    ]
    faults += [
        f"an input of type {TensorProto.DataType.Name(item.type.tensor_type.elem_type).lower()}"
        for item in graph.input
        if item.type.tensor_type.elem_type != TensorProto.FLOAT
    ]
    if faults:
        raise UnsupportedNetwork(faults)


def _is_reserved(name: str) -> bool:
    return name in RESERVED or name.startswith(_RESERVED_PREFIXES)


def _rename(graph: onnx.GraphProto) -> None:
    """Give tensors of the model that stand in the way other names."""
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    used |= {item.name for item in graph.initializer}
    names = {name: _free_name(name, used) for name in sorted(used) if _is_reserved(name)}
    if not names:
        return
    for node in graph.node:
        _replace(node.input, names)
        _replace(node.output, names)
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _replace(names: Iterable[str], by: dict[str, str]) -> None:
    changed = [by.get(name, name) for name in names]
    names[:] = changed  # type: ignore[index]


def _free_name(name: str, used: set[str]) -> str:
    candidate = f"model/{name}"
    while candidate in used:
        candidate += "_"
    return candidate
