"""Sharing ratios by the definition: a loop over positions and taps, in double precision, without any of our operations.

Written from the authors' formulas: contributions c_ij with the bias shared out by norms, mu = <c, z> / |z|^2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import Branch, Convolution, MaxPool, Network

Array = NDArray[np.float64]
Place = tuple[int, int]
Vectors = list[tuple[Place, Array]]


def run(network: Network, picture: Array) -> dict[str, Array]:
    """Values by name, each (channels, height, width); logits (classes,)."""
    values = {network.input: picture}
    for junction in network.junctions:
        height, width = network.sizes[junction.output]
        places = [(row, column) for row in range(height) for column in range(width)]
        vectors = [
            sum(sum(c for _, c in contributions(b, values[b.source], p)) for b in junction.branches) for p in places
        ]
        before = np.array(vectors).T.reshape(-1, height, width)
        values[junction.name] = before
        values[junction.output] = np.clip(before, 0, junction.ceiling) if junction.rectified else before
    features = values[network.head.source].reshape(network.head.weight.shape[1], -1)
    values[network.head.logits] = network.head.weight @ features.mean(axis=1) + network.head.bias
    return values


def contributions(branch: Branch, source: Array, place: Place) -> Vectors:
    """What each position of the source adds to the pre-activation at a place, the bias shared out."""
    convolution = branch.convolution
    if convolution is None:
        return [(place, source[:, place[0], place[1]])]
    plain = _plain(convolution, branch.pool, source, place)
    norms = [float(np.linalg.norm(vector)) for _, vector in plain]
    total = sum(norms)
    if total == 0:
        # Nobody owns the bias; it is in z all the same.
        return [*plain, ((-1, -1), np.asarray(convolution.bias, dtype=np.float64))]
    return [(at, c + convolution.bias * norm / total) for (at, c), norm in zip(plain, norms, strict=True)]


def _plain(convolution: Convolution, pool: MaxPool | None, source: Array, place: Place) -> Vectors:
    found: Vectors = []
    rows, columns = convolution.weight.shape[2:]
    height, width = source.shape[1:] if pool is None else _pooled_size(source, pool)
    for tap_row in range(rows):
        for tap_column in range(columns):
            row = place[0] * convolution.stride + tap_row - convolution.padding[0]
            column = place[1] * convolution.stride + tap_column - convolution.padding[1]
            if not (0 <= row < height and 0 <= column < width):
                continue
            weight = np.asarray(convolution.weight[:, :, tap_row, tap_column], dtype=np.float64)
            for at, vector in _winners(source, pool, (row, column)):
                found.append((at, _times(weight, vector, convolution.groups)))
    return found


def _times(weight: Array, vector: Array, groups: int) -> Array:
    """A tap's matrix (outputs, inputs of a group) times the channels, output by output."""
    outputs, inputs = weight.shape
    found = np.zeros(outputs)
    for output in range(outputs):
        first = output // (outputs // groups) * inputs
        found[output] = weight[output] @ vector[first : first + inputs]
    return found


def _pooled_size(source: Array, pool: MaxPool) -> Place:
    height, width = ((extent + 2 * pool.padding - pool.kernel) // pool.stride + 1 for extent in source.shape[1:])
    return height, width


def _winners(source: Array, pool: MaxPool | None, place: Place) -> Vectors:
    if pool is None:
        return [(place, source[:, place[0], place[1]])]
    top, left = (start * pool.stride - pool.padding for start in place)
    window = [
        (row, column)
        for row in range(max(0, top), min(source.shape[1], top + pool.kernel))
        for column in range(max(0, left), min(source.shape[2], left + pool.kernel))
    ]
    values = np.array([source[:, row, column] for row, column in window])
    first = values.argmax(axis=0)
    return [(at, np.where(first == index, values[index], 0)) for index, at in enumerate(window)]


def pass_down(network: Network, values: Mapping[str, Array], relevance: Array) -> dict[str, Array]:
    """Relevance (height, width) of every layer by name, from that of the head's feature map."""
    found: dict[str, Array] = defaultdict(lambda: np.zeros(()))
    found[network.head.source] = relevance
    for junction in reversed(network.junctions):
        above, before = found[junction.output], values[junction.name]
        for branch in junction.branches:
            below = np.zeros(network.sizes[branch.source])
            for place in np.ndindex(above.shape):
                z = before[:, place[0], place[1]]
                for at, vector in contributions(branch, values[branch.source], (place[0], place[1])):
                    if at != (-1, -1):
                        below[at] += vector @ z / max(float(z @ z), 1e-12) * above[place]
            found[branch.source] = found[branch.source] + below
    return dict(found)
