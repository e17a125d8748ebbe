"""Weights as a weight memory holds them: signed integers of one scale for each tensor.

NeuralFuse, arXiv:2306.16869, appendix H; the rounding and the range are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 8
"""Of a stored weight; two's complement."""


@dataclass(frozen=True, slots=True)
class QuantisedTensor:
    """A tensor in memory.

    Attributes:
        values: int8 in [-127, 127], of the tensor's shape.
        scale: what one step is worth.
    """

    values: NDArray[np.int8]
    scale: float

    def dequantise(self, values: NDArray[np.int8] | None = None) -> NDArray[np.float32]:
        """Float32 weights of these values, or of others that were read out of the same memory."""
        read = self.values if values is None else values
        return read.astype(np.float32) * np.float32(self.scale)


def quantise(weights: NDArray[np.floating], bits: int = BITS) -> QuantisedTensor:
    """Symmetric quantisation with one scale: s = max|w| / (2^(bits - 1) - 1), q = round(w / s).

    Args:
        weights: finite, any shape.
        bits: 2 to 8; the values stay in int8.

    Raises:
        ValueError: another number of bits, or weights that are not finite.
    """
    if not 2 <= bits <= BITS:
        raise ValueError(f"bits is {bits}; a weight has 2 to {BITS}")
    if not np.isfinite(weights).all():
        raise ValueError("weights are NaN or infinite")
    most = 2 ** (bits - 1) - 1
    largest = float(np.abs(weights).max(initial=0.0))
    # Of zeros any scale is right; one below the normal numbers could not be divided by.
    scale = np.float32(max(largest / most, np.finfo(np.float32).tiny) if largest > 0 else 1.0)
    values = np.rint(weights.astype(np.float32) / scale).clip(-most, most).astype(np.int8)
    return QuantisedTensor(values, float(scale))
