"""Operators that compute each element by itself, and sums over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from services.security.camouflage.optimisation.graphs.nodes import Compute, Inputs, Node, tensor_of


def _each(function: Callable[[Tensor], Tensor]) -> Compute:
    return lambda _, inputs: function(tensor_of(inputs, 0))


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    return lambda _, inputs: function(tensor_of(inputs, 0), tensor_of(inputs, 1))


def _all(function: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    return lambda _, inputs: reduce(function, [one for one in inputs if one is not None])


def _divide(one: Tensor, other: Tensor) -> Tensor:
    whole = not (one.is_floating_point() or other.is_floating_point())
    return torch.div(one, other, rounding_mode="trunc") if whole else one / other


def _clip(node: Node, inputs: Inputs) -> Tensor:
    values, least, most = tensor_of(inputs, 0), node.number(1, inputs), node.number(2, inputs)
    if least is None or most is None or not values.is_floating_point():
        return values.clamp(least, most)
    return functional.hardtanh(values, least, most)  # the same, and its gradient takes a fifth of the time


def _leaky_relu(node: Node, inputs: Inputs) -> Tensor:
    return functional.leaky_relu(tensor_of(inputs, 0), node.get("alpha", 0.01))


def _elu(node: Node, inputs: Inputs) -> Tensor:
    return functional.elu(tensor_of(inputs, 0), node.get("alpha", 1.0))


def _prelu(node: Node, inputs: Inputs) -> Tensor:
    values = tensor_of(inputs, 0)
    return torch.where(values < 0, values * tensor_of(inputs, 1), values)


def _hard_sigmoid(node: Node, inputs: Inputs) -> Tensor:
    return (tensor_of(inputs, 0) * node.get("alpha", 0.2) + node.get("beta", 0.5)).clamp(0, 1)


def _gelu(node: Node, inputs: Inputs) -> Tensor:
    return functional.gelu(tensor_of(inputs, 0), approximate=node.get("approximate", "none"))


def _softmax(node: Node, inputs: Inputs) -> Tensor:
    return tensor_of(inputs, 0).softmax(node.get("axis", -1))


def _gemm(node: Node, inputs: Inputs) -> Tensor:
    one, other = tensor_of(inputs, 0), tensor_of(inputs, 1)
    product = (one.T if node.get("transA", 0) else one) @ (other.T if node.get("transB", 0) else other)
    product = product * node.get("alpha", 1.0)
    added = inputs[2] if len(inputs) > 2 else None
    return product if added is None else product + node.get("beta", 1.0) * added


def _cast(node: Node, inputs: Inputs) -> Tensor:
    kinds = {1: node.precision, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: node.precision, 11: torch.float64}
    kind = kinds.get(node.attributes["to"])
    if kind is None:
        raise node.refusal(f"to the type {node.attributes['to']}")
    return tensor_of(inputs, 0).to(kind)


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Compute:
    def compute(node: Node, inputs: Inputs) -> Tensor:
        values, axes, keep = tensor_of(inputs, 0), node.axes(1, inputs), bool(node.get("keepdims", 1))
        if not axes:
            if node.get("noop_with_empty_axes", 0):
                return values
            axes = list(range(values.ndim))
        return function(values, axes, keep)

    return compute


def _product(values: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % values.ndim for axis in axes), reverse=True):
        values = values.prod(dim=axis, keepdim=keep)
    return values


def _arg_max(node: Node, inputs: Inputs) -> Tensor:
    node.require("select_last_index", 0, default=0)
    return tensor_of(inputs, 0).argmax(node.get("axis", 0), bool(node.get("keepdims", 1)))


def _where(node: Node, inputs: Inputs) -> Tensor:
    return torch.where(tensor_of(inputs, 0), tensor_of(inputs, 1), tensor_of(inputs, 2))


def _mean(node: Node, inputs: Inputs) -> Tensor:
    return reduce(torch.add, [one for one in inputs if one is not None]) / len(inputs)


ARITHMETIC: Final[dict[str, Compute]] = {
    "Abs": _each(torch.abs),
    "Add": _pair(torch.add),
    "And": _pair(torch.logical_and),
    "ArgMax": _arg_max,
    "Cast": _cast,
    "Ceil": _each(torch.ceil),
    "Clip": _clip,
    "Div": _pair(_divide),
    "Elu": _elu,
    "Equal": _pair(torch.eq),
    "Erf": _each(torch.erf),
    "Exp": _each(torch.exp),
    "Floor": _each(torch.floor),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "Greater": _pair(torch.gt),
    "GreaterOrEqual": _pair(torch.ge),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _each(functional.hardswish),
    "Identity": _each(lambda values: values),
    "LeakyRelu": _leaky_relu,
    "Less": _pair(torch.lt),
    "LessOrEqual": _pair(torch.le),
    "Log": _each(torch.log),
    "MatMul": _pair(torch.matmul),
    "Max": _all(torch.maximum),
    "Mean": _mean,
    "Min": _all(torch.minimum),
    "Mish": _each(functional.mish),
    "Mul": _pair(torch.mul),
    "Neg": _each(torch.neg),
    "Not": _each(torch.logical_not),
    "Or": _pair(torch.logical_or),
    "PRelu": _prelu,
    "Pow": _pair(torch.pow),
    "Reciprocal": _each(torch.reciprocal),
    "ReduceMax": _reduce(lambda values, axes, keep: values.amax(axes, keep)),
    "ReduceMean": _reduce(lambda values, axes, keep: values.mean(axes, keep)),
    "ReduceMin": _reduce(lambda values, axes, keep: values.amin(axes, keep)),
    "ReduceProd": _reduce(_product),
    "ReduceSum": _reduce(lambda values, axes, keep: values.sum(axes, keep)),
    "Relu": _each(torch.relu),
    "Round": _each(torch.round),
    "Sigmoid": _each(torch.sigmoid),
    "Softmax": _softmax,
    "Softplus": _each(lambda values: functional.softplus(values, threshold=math.inf)),
    "Sqrt": _each(torch.sqrt),
    "Sub": _pair(torch.sub),
    "Sum": _all(torch.add),
    "Tanh": _each(torch.tanh),
    "Where": _where,
}
"""Operators by their names in ONNX."""
