"""Activation-pattern-only prediction: another picture runs through the network under the pattern of the first.

Every ReLU is replaced by a product with 0 or 1, as the first picture had it switched off or on. What the network then
still predicts of the first picture, it knows by the pattern alone (Han, Kim, Kwak 2024, section 3). Of a ReLU with a
ceiling, what the first picture had cut off answers the ceiling: each unit stays on its piece of the activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Junction, MaxPool, Network
from services.uncertainty.explanation.relevance.operations import Operations
from services.uncertainty.explanation.relevance.rules import room, slope, windows_of, winners

T = TypeVar("T")


def pattern_logits(operations: Operations[T], network: Network, *, values: Mapping[str, T], substitute: T) -> T:
    """Logits (batch, classes, 1, 1) of the substitutes under the recorded pattern.

    Args:
        operations: the backend.
        network: what was run.
        values: of the pictures whose pattern is used: the input, and each junction's pre-activation and output.
        substitute: what runs through it, normalised, in the shape of the input.
    """
    found = {network.input: substitute}
    for junction in network.junctions:
        total: T | None = None
        for branch in junction.branches:
            term = _push(operations, branch, found[branch.source], values[branch.source])
            total = term if total is None else operations.add(total, term)
        if total is None:  # pragma: no cover - every junction has a branch
            raise ValueError(f"{junction.name} adds up nothing")
        found[junction.output] = _activate(operations, junction, total, values[junction.name])
    return _head(operations, network, found[network.head.source])


def _activate(operations: Operations[T], junction: Junction, value: T, recorded: T) -> T:
    """What the activation makes of a value on the piece that the recorded one is on."""
    if not junction.rectified:
        return value
    found = operations.multiply(value, slope(operations, junction, recorded))
    if junction.ceiling is None:
        return found
    below = operations.is_positive(room(operations, junction.ceiling, recorded))
    full = operations.constant(np.full((1, 1, 1, 1), junction.ceiling, np.float32))
    less = operations.constant(np.full((1, 1, 1, 1), -junction.ceiling, np.float32))
    return operations.add(found, operations.add(full, operations.multiply(below, less)))


def _push(operations: Operations[T], branch: Branch, source: T, recorded: T) -> T:
    convolution = branch.convolution
    if convolution is None:
        return source
    if branch.pool is not None:
        source = _pooled_as_recorded(operations, source, recorded, branch.pool, convolution)
    value = operations.convolve(
        source,
        convolution.weight,
        stride=convolution.stride,
        padding=convolution.padding,
        groups=convolution.groups,
    )
    return operations.add(value, operations.constant(convolution.bias[None, :, None, None]))


def _pooled_as_recorded(
    operations: Operations[T], source: T, recorded: T, pool: MaxPool, convolution: Convolution
) -> T:
    """Each window passes on the place that won it in the recorded picture: that is a pattern too."""
    _, won = winners(operations, recorded, pool)
    chosen = operations.multiply(windows_of(operations, source, pool), won)
    return operations.regroup(operations.sum_channels(chosen), convolution.inputs)


def _head(operations: Operations[T], network: Network, features: T) -> T:
    head, (rows, columns) = network.head, network.sizes[network.head.source]
    mean = np.full((1, 1, rows, columns), 1 / (rows * columns), np.float32)
    pooled = operations.regroup(operations.convolve(operations.regroup(features, 1), mean), head.weight.shape[1])
    logits = operations.convolve(pooled, np.ascontiguousarray(head.weight[:, :, None, None]))
    return operations.add(logits, operations.constant(head.bias[None, :, None, None]))
