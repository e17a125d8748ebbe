"""Kernels of convolutions turned into those that the rules need: mirrored, ungrouped, what makes norms."""

from __future__ import annotations

import numpy as np

from services.uncertainty.explanation.networks.graph import Weights


def triangular_blocks(weight: Weights) -> list[tuple[int, Weights]]:
    """The upper triangular factor R of each tap's matrix W = Q R, as bands of rows without their leading zeros.

    |W x| = |R x|, as Q only turns; the bands save up to three eighths of the multiplications.

    Args:
        weight: (outputs, inputs, height, width).

    Returns:
        For each band the first input that it reads, and its rows (taps, rows, inputs - first).
    """
    outputs, inputs, height, width = weight.shape
    matrices = weight.transpose(2, 3, 0, 1).reshape(height * width, outputs, inputs).astype(np.float64)
    factors = np.asarray(np.linalg.qr(matrices, mode="r"), dtype=np.float32)
    bands = np.array_split(np.arange(factors.shape[1]), max(1, min(4, inputs // 16)))
    return [(int(band[0]), np.ascontiguousarray(factors[:, band, band[0] :])) for band in bands if len(band)]


def tap_squares(weight: Weights, groups: int) -> Weights:
    """Of a depthwise kernel (outputs, 1, height, width): a 1x1 kernel that makes |W_uv x|^2 of the squares of x.

    Returns:
        (taps, channels, 1, 1).
    """
    taps = weight.shape[2] * weight.shape[3]
    squares = np.square(weight.astype(np.float64)).reshape(groups, -1, taps).sum(axis=1)
    return np.ascontiguousarray(squares.T[:, :, None, None], dtype=np.float32)


def ungrouped(weight: Weights, groups: int) -> Weights:
    """The same kernel for all channels at once, (outputs, inputs, height, width): zeros between groups."""
    outputs, inputs, height, width = weight.shape
    whole = np.zeros((groups, outputs // groups, groups, inputs, height, width), np.float32)
    each = np.arange(groups)
    whole[each, :, each] = weight.reshape(groups, outputs // groups, inputs, height, width)
    return whole.reshape(outputs, groups * inputs, height, width)


def one_hot(height: int, width: int) -> Weights:
    """A kernel (1, height * width, height, width) whose channel t is 1 at tap t."""
    return np.eye(height * width, dtype=np.float32).reshape(1, height * width, height, width)


def mirrored(weight: Weights, groups: int = 1) -> Weights:
    """The kernel whose convolution, in the same groups, is the transposed one: both axes reversed.

    Args:
        weight: (outputs, inputs of a group, height, width).
        groups: of channels.

    Returns:
        (inputs, outputs of a group, height, width).
    """
    outputs, inputs, height, width = weight.shape
    parts = weight[:, :, ::-1, ::-1].reshape(groups, outputs // groups, inputs, height, width)
    return parts.transpose(0, 2, 1, 3, 4).reshape(groups * inputs, outputs // groups, height, width).copy()
