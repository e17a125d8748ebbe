"""Random numbers that belong to an item, not to a moment: the same seed and item give the same number in any batch.

Philox 4x32 with ten rounds (Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3) is a function of key and
counter. The key is the seed; the counter is the item and the purpose.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_LIMIT = 2**64

Words = NDArray[np.uint64]


class Purpose(IntEnum):
    """Purpose of a random number: calibration and test items with the same index must not share one."""

    CALIBRATION = 0
    PREDICTION = 1
    SMOOTHING = 2
    CLUSTERING = 3


def uniforms(seed: int, items: ArrayLike, purpose: Purpose) -> NDArray[np.float64]:
    """One number of [0, 1) for each item, with 53 random bits.

    Args:
        seed: 0 to 2^64 - 1.
        items: indices of the items, integers >= 0, any shape.
        purpose: what they are for.

    Raises:
        ValueError: seed or item out of range.
    """
    if not 0 <= seed < _LIMIT:
        raise ValueError(f"seed must lie in 0 to 2^64 - 1, not {seed}")
    index = np.asarray(items)
    if index.dtype.kind not in "iu" or (index.size and index.min() < 0):
        raise ValueError("items must be integers and not negative")
    index = index.astype(np.uint64)
    zeros = np.zeros_like(index)
    words = philox((index & _LOW, index >> _HALF, zeros + np.uint64(purpose), zeros), (seed & 0xFFFFFFFF, seed >> 32))
    high, low = words[0] >> np.uint64(5), words[1] >> np.uint64(6)
    return (high * np.float64(2**26) + low) / np.float64(2**53)


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Four words of 32 bits for each counter; words are kept in uint64."""
    first, second, third, fourth = counter
    for turn in range(_ROUNDS):
        keys = [np.uint64((word + turn * weyl) & 0xFFFFFFFF) for word, weyl in zip(key, _WEYL, strict=True)]
        left, right = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]
        first, second, third, fourth = (
            (right >> _HALF) ^ second ^ keys[0],
            right & _LOW,
            (left >> _HALF) ^ fourth ^ keys[1],
            left & _LOW,
        )
    return first, second, third, fourth
