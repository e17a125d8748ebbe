"""Weights as the decomposition holds them: finite, in single precision, of the shape that is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.explanation.networks.graph import Convolution, UnsupportedNode


def finite(value: NDArray[Any]) -> NDArray[np.float32]:
    """Weights in single precision.

    Raises:
        UnsupportedNode: some are no finite numbers in it.
    """
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(value, dtype=np.float32)
    if not np.isfinite(weights).all():
        raise UnsupportedNode("weights that are no finite numbers")
    return weights


def per_channel(value: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """One number for each channel, as it is.

    Raises:
        UnsupportedNode: it has another shape.
    """
    if value.shape != (length,):
        raise UnsupportedNode(f"an input of shape {value.shape} where {length} numbers are needed")
    return value


def row(constant: NDArray[Any], length: int) -> NDArray[Any]:
    """A constant that is added to each row of (batch, length), broadcast by ONNX's rules.

    Raises:
        UnsupportedNode: it does not fit.
    """
    shape = constant.shape
    if any(side != 1 for side in shape[:-1]) or (shape and shape[-1] not in {1, length}) or constant.ndim > 2:
        raise UnsupportedNode(f"a bias of shape {shape} where {length} numbers are needed")
    return np.broadcast_to(constant.reshape(-1), (length,))


def alike(channels: int, kernel: Sequence[int], share: float) -> Convolution:
    """A convolution that does the same to each channel by itself: `share` of every tap."""
    weight = np.zeros((channels, channels, *kernel), np.float32)
    weight[np.arange(channels), np.arange(channels)] = share
    return Convolution(weight, np.zeros(channels, np.float32))


def is_identity(convolution: Convolution | None) -> bool:
    """Whether it changes nothing."""
    if convolution is None or convolution.weight.shape[2:] != (1, 1) or convolution.bias.any():
        return False
    matrix = convolution.weight[:, :, 0, 0]
    return matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix))).all())
