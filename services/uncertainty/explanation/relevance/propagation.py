"""What sharing ratios are compared with: the gradient, and layer-wise relevance propagation, by the same operations.

Both carry a number per channel and position, where sharing ratios carry one per position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Junction, Network, Size
from services.uncertainty.explanation.relevance.kernels import one_hot
from services.uncertainty.explanation.relevance.operations import Operations
from services.uncertainty.explanation.relevance.rules import pooled, slope, winners

T = TypeVar("T")

EPSILON = 1e-6
"""Moves denominators away from zero in layer-wise relevance propagation."""


def gradients(operations: Operations[T], network: Network, *, values: Mapping[str, T], weight: T) -> dict[str, T]:
    """Gradients of a logit by the input and by each junction's output, (batch, channels, height, width), by name.

    Args:
        operations: the backend.
        network: what was run.
        values: the input, and each junction's pre-activation and output, by name.
        weight: the class's row of the head, (batch or 1, channels, 1, 1).
    """
    rows, columns = network.sizes[network.head.source]
    everywhere = operations.constant(np.full((1, 1, rows, columns), 1 / (rows * columns), np.float32))
    flow = {network.head.source: operations.multiply(weight, everywhere)}

    def pass_down(junction: Junction, above: T) -> list[T]:
        if junction.rectified:
            above = operations.multiply(above, slope(operations, junction, values[junction.name]))
        return [pull(operations, branch, above, values[branch.source], network.sizes) for branch in junction.branches]

    return _descend(operations, network, flow, pass_down)


def gradient(operations: Operations[T], network: Network, *, values: Mapping[str, T], weight: T) -> T:
    """Gradient of a logit by the input; see `gradients`."""
    return gradients(operations, network, values=values, weight=weight)[network.input]


def activation_map(operations: Operations[T], network: Network, flow: Mapping[str, T], layer: str, values: T) -> T:
    """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) at a layer: (batch, 1, height, width), not negative.

    Args:
        operations: the backend.
        network: what was run.
        flow: from `gradients`.
        layer: which feature map.
        values: its content, (batch, channels, height, width).
    """
    rows, columns = network.sizes[layer]
    mean = np.full((1, 1, rows, columns), 1 / (rows * columns), np.float32)
    pooled_gradient = operations.convolve(operations.regroup(flow[layer], 1), mean)
    weight = operations.regroup(pooled_gradient, _channels(network, layer))
    return operations.rectify(operations.sum_channels(operations.multiply(values, weight)))


def _channels(network: Network, layer: str) -> int:
    """How many channels a feature map has."""
    for junction in network.junctions:
        for branch in junction.branches:
            if junction.output == layer and branch.convolution is not None:
                return int(branch.convolution.weight.shape[0])
            if branch.source == layer and branch.convolution is not None:
                return branch.convolution.inputs
    return int(network.head.weight.shape[1])


def epsilon_relevance(operations: Operations[T], network: Network, *, values: Mapping[str, T], weight: T) -> T:
    """LRP-epsilon in every layer (Bach et al. 2015, equation 58): (batch, channels, height, width) of the input."""
    flow = {network.head.source: _head_relevance(operations, network, values, weight)}

    def pass_down(junction: Junction, above: T) -> list[T]:
        ratio = operations.divide(above, operations.outward(values[junction.name], EPSILON))
        return [
            operations.multiply(
                values[branch.source], pull(operations, branch, ratio, values[branch.source], network.sizes)
            )
            for branch in junction.branches
        ]

    return _descend(operations, network, flow, pass_down)[network.input]


def positive_relevance(operations: Operations[T], network: Network, *, values: Mapping[str, T], weight: T) -> T:
    """LRP-z+ in every convolution, plain in the head: only contributions above zero get relevance.

    Montavon et al. 2017, section 4; at the input, whose values have signs, x+ W+ and x- W- count (alpha 1, beta 0).
    """
    flow = {network.head.source: _head_relevance(operations, network, values, weight)}

    def pass_down(junction: Junction, above: T) -> list[T]:
        parts = [_positive_parts(operations, branch, values[branch.source]) for branch in junction.branches]
        forward = [push(operations, part, source) for branch in parts for part, source in branch]
        total = forward[0]
        for further in forward[1:]:
            total = operations.add(total, further)
        ratio = operations.divide(above, operations.outward(total, EPSILON))
        return [
            _sum(
                operations,
                [
                    operations.multiply(source, pull(operations, part, ratio, source, network.sizes))
                    for part, source in branch
                ],
            )
            for branch in parts
        ]

    return _descend(operations, network, flow, pass_down)[network.input]


def push(operations: Operations[T], branch: Branch, source: T) -> T:
    """What a branch adds to its pre-activation, without its bias."""
    convolution = branch.convolution
    if convolution is None:
        return source
    if branch.pool is not None:
        source = pooled(operations, source, branch.pool, channels=convolution.inputs)
    return operations.convolve(
        source,
        convolution.weight,
        stride=convolution.stride,
        padding=convolution.padding,
        groups=convolution.groups,
    )


def pull(operations: Operations[T], branch: Branch, above: T, source: T, sizes: Mapping[str, Size]) -> T:
    """The transpose of `push` at `source`: (batch, channels, height, width) of the branch's source."""
    convolution, size = branch.convolution, sizes[branch.source]
    if convolution is None:
        return above
    if branch.pool is None:
        return _transposed(operations, convolution, above, size)
    pool, channels = branch.pool, convolution.inputs
    flow = _transposed(operations, convolution, above, pool.size(size))
    _, won = winners(operations, source, pool)
    taps = np.ascontiguousarray(one_hot(pool.kernel, pool.kernel).transpose(1, 0, 2, 3))
    padding = (pool.padding, pool.padding)
    routed = operations.multiply(operations.regroup(flow, 1), won)
    back = operations.spread(routed, taps, stride=pool.stride, padding=padding, size=size)
    return operations.regroup(back, channels)


def _transposed(operations: Operations[T], convolution: Convolution, above: T, size: Size) -> T:
    return operations.spread(
        above,
        convolution.weight,
        stride=convolution.stride,
        padding=convolution.padding,
        size=size,
        groups=convolution.groups,
    )


def _head_relevance(operations: Operations[T], network: Network, values: Mapping[str, T], weight: T) -> T:
    rows, columns = network.sizes[network.head.source]
    count = operations.constant(np.full((1, 1, 1, 1), rows * columns, np.float32))
    return operations.divide(operations.multiply(values[network.head.source], weight), count)


def _positive_parts(operations: Operations[T], branch: Branch, source: T) -> list[tuple[Branch, T]]:
    """The branch as branches of which each only contributes what is not negative, with what each reads."""
    convolution = branch.convolution
    positive = operations.rectify(source)
    if convolution is None:
        return [(branch, positive)]
    upper = Branch(branch.source, _with_weight(convolution, sign=1), branch.pool)
    if branch.pool is not None:
        return [(upper, positive)]
    negative = operations.multiply(
        operations.rectify(operations.multiply(source, _minus(operations))), _minus(operations)
    )
    return [(upper, positive), (Branch(branch.source, _with_weight(convolution, sign=-1)), negative)]


def _with_weight(convolution: Convolution, *, sign: int) -> Convolution:
    weight = sign * np.maximum(sign * convolution.weight, 0)
    bias = np.zeros_like(convolution.bias)
    return replace(convolution, weight=weight, bias=bias)


def _minus(operations: Operations[T]) -> T:
    return operations.constant(np.full((1, 1, 1, 1), -1, np.float32))


def _sum(operations: Operations[T], terms: list[T]) -> T:
    total = terms[0]
    for term in terms[1:]:
        total = operations.add(total, term)
    return total


def _descend(
    operations: Operations[T], network: Network, flow: dict[str, T], pass_down: Callable[[Junction, T], list[T]]
) -> dict[str, T]:
    for junction in reversed(network.junctions):
        if junction.output not in flow:
            continue
        for branch, share in zip(junction.branches, pass_down(junction, flow[junction.output]), strict=True):
            known = flow.get(branch.source)
            flow[branch.source] = share if known is None else operations.add(known, share)
    return flow
