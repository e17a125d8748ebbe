"""Sharing ratios: how much each position contributes to the pre-activations above it, and relevance by them.

A pre-activation vector z_j is an exact sum of contributions c_ij of the positions i below. The sharing ratio

    mu_ij = <c_ij, z_j> / |z_j|^2,        sum over i of mu_ij = 1,

passes the relevance R_j of a position down: R_i = sum over j of mu_ij R_j. The bias of a convolution has no position of
its own; it is shared out in proportion to the norms of the contributions, as the authors' code does.

Since <W_uv x, z> = <x, W_uv^T z>, a convolution's rule takes one transposed convolution for its weights, and for its
bias the norms of what each tap contributes: no loop over positions, no autograd. What is passed down from a position is
linear in R z / |z|^2, its aim. A convolution with a stride is first taken apart into those of its phases.

The definition says nothing of how channels are connected nor of what follows z, and this is all that is used to take in
two more kinds of layers, which the authors' code does not have:

Groups of channels. W_uv is block diagonal: the output's group g reads the input's group g alone. It is still linear,
so c_uv = W_uv x is still an exact summand of z and <W_uv x, z> = <x, W_uv^T z>, where W_uv^T is a transposed
convolution in the same groups. The norm is over all outputs, |W_uv x|^2 = sum over g of |W_uv,g x_g|^2; in a depthwise
convolution with m outputs for each channel that is the sum over channels k of x_k^2 (sum over m of w_uv,km^2): one
1x1 convolution of the squares.

Ceilings (ReLU6 = min(max(z, 0), 6)). Relevance of a position is shared out by what makes up z, the vector *before* the
activation; the ratio compares c_ij with z_j and never with what the activation makes of it. So min(., 6) passes R_j on
as max(0, .) does, with z_j in place: channels that are cut off count by the z_k that they reached, as channels that are
switched off count by theirs. Contributions of the layer above are those of the clipped vector, which is what it reads.
Both leave the sum over i of mu_ij at 1, so relevance is conserved as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from services.uncertainty.explanation.networks.graph import Branch, Convolution, Junction, MaxPool, Network, Size
from services.uncertainty.explanation.relevance.kernels import mirrored, one_hot
from services.uncertainty.explanation.relevance.operations import Operations
from services.uncertainty.explanation.relevance.phases import Phase, phases

T = TypeVar("T")

NORM_FLOOR = 1e-12
"""Added to |z|^2: a vector that is zero shares nothing instead of dividing by zero."""

BIAS_FLOOR = 1e-14
"""Added to the sum of norms: where every contribution is zero, the bias belongs to nobody and its share is lost."""


def class_relevance(operations: Operations[T], features: T, weight: T, bias: T, *, positions: int) -> T:
    """Relevance of the last feature map for a class: the summands of its logit (a class activation map).

    Args:
        operations: the backend.
        features: what the head pools, (batch, channels, height, width).
        weight: the class's row of the head, (batch or 1, channels, 1, 1).
        bias: its bias, (batch or 1, 1, 1, 1).
        positions: height times width.

    Returns:
        (batch, 1, height, width), whose sum is the logit.
    """
    evidence = operations.add(operations.sum_channels(operations.multiply(features, weight)), bias)
    return operations.divide(evidence, _number(operations, positions))


def contrasted(operations: Operations[T], relevance: T, amount: T, *, size: Size) -> T:
    """Take `amount` times its mean from a map, so that what speaks for a class no more than the rest counts against it.

    Args:
        operations: the backend.
        relevance: (batch, 1, height, width).
        amount: 0 leaves the map as it is, 1 makes its sum zero.
        size: height and width of the map.
    """
    mean = operations.convolve(relevance, np.full((1, 1, *size), 1 / (size[0] * size[1]), np.float32))
    share = operations.multiply(operations.multiply(mean, amount), _number(operations, -1))
    return operations.add(relevance, share)


def backward(
    operations: Operations[T],
    network: Network,
    *,
    values: Mapping[str, T],
    relevance: T,
    layer: str | None = None,
    lost: list[T] | None = None,
) -> dict[str, T]:
    """Pass relevance down to the input.

    Args:
        operations: the backend.
        network: what was run.
        values: the input, and each junction's pre-activation and output, by name.
        relevance: of the positions of `layer`, (batch, 1, height, width). A one-hot one gives the effective receptive
            field of one position.
        layer: a name of `network.layers()`; the head's feature map where not given.
        lost: gets maps (batch, 1, ...) of the relevance that is passed to nobody: of vectors that are zero, and of
            biases where every contribution is.

    Returns:
        Relevance of the positions of the input and of each junction's output that is reached, by name.
    """
    found = {layer or network.head.source: relevance}
    for junction in reversed(network.junctions):
        if junction.output not in found:
            continue
        before = values[junction.name]
        norm = operations.add(operations.squared_norm(before), _number(operations, NORM_FLOOR))
        if lost is not None:
            floor = operations.divide(_number(operations, NORM_FLOOR), norm)
            lost.append(operations.multiply(found[junction.output], floor))
        aim = operations.scale(before, operations.divide(found[junction.output], norm))
        for branch in junction.branches:
            share = _share(operations, branch, values[branch.source], aim, size=network.sizes[branch.source], lost=lost)
            known = found.get(branch.source)
            found[branch.source] = share if known is None else operations.add(known, share)
    return found


def pooled(operations: Operations[T], source: T, pool: MaxPool, *, channels: int) -> T:
    """Maximum pooling, (batch, channels, height, width)."""
    return operations.regroup(operations.sum_channels(_won(operations, source, pool)), channels)


def _share(operations: Operations[T], branch: Branch, source: T, aim: T, *, size: Size, lost: list[T] | None) -> T:
    """Relevance that a branch passes to the positions it reads."""
    if branch.convolution is None:
        return operations.inner(source, aim)
    if branch.pool is None:
        return convolution_shares(operations, branch.convolution, [source], aim, size=size, lost=lost)[0]
    return _pooled_share(operations, branch.convolution, branch.pool, source, aim, size=size, lost=lost)


def convolution_shares(
    operations: Operations[T],
    convolution: Convolution,
    parts: Sequence[T],
    aim: T,
    *,
    size: Size,
    lost: list[T] | None = None,
) -> list[T]:
    """Relevance of the positions of each part of a convolution's input.

    Args:
        operations: the backend.
        convolution: whose rule.
        parts: tensors that add up to the input; more than one only behind a maximum pooling.
        aim: z R / |z|^2 of the output, (batch, outputs, height, width).
        size: height and width of the input.
        lost: see `backward`.
    """
    stride, groups, views = convolution.stride, convolution.groups, phases(convolution, size)
    channels = convolution.inputs
    seen = [
        [
            operations.phase(part, view.offset, stride=stride, size=view.size, below=size, channels=channels)
            for view in views
        ]
        for part in parts
    ]
    backs = [
        operations.convolve(aim, mirrored(view.weight, groups), padding=view.reversed_padding, groups=groups)
        for view in views
    ]
    shares = [[operations.inner(value, back) for value, back in zip(part, backs, strict=True)] for part in seen]
    if convolution.bias.any():
        shares = _with_bias(operations, convolution, views, seen, shares, aim, lost)
    offsets = [view.offset for view in views]
    return [operations.interleave(part, offsets, stride=stride, size=size) for part in shares]


def _with_bias(
    operations: Operations[T],
    convolution: Convolution,
    views: Sequence[Phase],
    seen: Sequence[Sequence[T]],
    shares: Sequence[Sequence[T]],
    aim: T,
    lost: list[T] | None,
) -> list[list[T]]:
    """Shares of phases, and what the bias owes to them: <b, aim> |c_ij| / (sum over i of |c_ij|)."""
    taps = [one_hot(*view.weight.shape[2:]) for view in views]
    norms = [
        [
            operations.norms(value, view.weight, size=view.size, groups=convolution.groups)
            for value, view in zip(part, views, strict=True)
        ]
        for part in seen
    ]
    total = _number(operations, BIAS_FLOOR)
    for part in norms:
        for norm, each, view in zip(part, taps, views, strict=True):
            total = operations.add(operations.convolve(norm, each, padding=view.padding), total)
    along = operations.convolve(aim, np.ascontiguousarray(convolution.bias[None, :, None, None]))
    owed = operations.divide(along, total)
    if lost is not None:
        lost.append(operations.multiply(owed, _number(operations, BIAS_FLOOR)))
    spread = [
        operations.convolve(owed, mirrored(each), padding=view.reversed_padding)
        for each, view in zip(taps, views, strict=True)
    ]
    return [
        [
            operations.add(share, operations.inner(norm, each))
            for share, norm, each in zip(part, known, spread, strict=True)
        ]
        for part, known in zip(shares, norms, strict=True)
    ]


def _pooled_share(
    operations: Operations[T],
    convolution: Convolution,
    pool: MaxPool,
    source: T,
    aim: T,
    *,
    size: Size,
    lost: list[T] | None,
) -> T:
    """The block of pooling and convolution: a position contributes in those channels in which it won."""
    channels, count = convolution.inputs, pool.kernel**2
    won = _won(operations, source, pool)
    one_of = np.eye(count, dtype=np.float32)[:, None, :, None, None]
    parts = [operations.regroup(operations.convolve(won, choice), channels) for choice in one_of]
    shares = convolution_shares(operations, convolution, parts, aim, size=pool.size(size), lost=lost)
    taps, padding = one_hot(pool.kernel, pool.kernel), (pool.padding, pool.padding)
    scattered = [
        operations.spread(share, taps[:, [tap]], stride=pool.stride, padding=padding, size=size)
        for tap, share in enumerate(shares)
    ]
    total = scattered[0]
    for further in scattered[1:]:
        total = operations.add(total, further)
    return total


def winners(operations: Operations[T], source: T, pool: MaxPool) -> tuple[T, T]:
    """Values of each window, and 1 where a value is its window's first maximum: (batch * channels, taps, ...) each."""
    windows = windows_of(operations, source, pool)
    return windows, operations.first_maximum(windows, channels=pool.kernel**2)


def windows_of(operations: Operations[T], source: T, pool: MaxPool) -> T:
    """The values under each window, (batch * channels, taps, height, width) of what is behind the pooling."""
    taps = np.ascontiguousarray(one_hot(pool.kernel, pool.kernel).transpose(1, 0, 2, 3))
    padding = (pool.padding, pool.padding)
    return operations.convolve(operations.regroup(source, 1), taps, stride=pool.stride, padding=padding)


def _won(operations: Operations[T], source: T, pool: MaxPool) -> T:
    """Values that won their window, zero elsewhere."""
    return operations.multiply(*winners(operations, source, pool))


def slope(operations: Operations[T], junction: Junction, before: T) -> T:
    """1 where the activation of a junction has the slope one, else 0; only where it is rectified."""
    on = operations.is_positive(before)
    if junction.ceiling is None:
        return on
    return operations.multiply(on, operations.is_positive(room(operations, junction.ceiling, before)))


def room(operations: Operations[T], ceiling: float, before: T) -> T:
    """How far values are below a ceiling."""
    return operations.add(_number(operations, ceiling), operations.multiply(before, _number(operations, -1)))


def _number(operations: Operations[T], value: float) -> T:
    return operations.constant(np.full((1, 1, 1, 1), value, dtype=np.float32))
