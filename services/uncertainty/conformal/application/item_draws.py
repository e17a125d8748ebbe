"""The random numbers of test items: each item's own, whatever the batch it comes in.

A draw that several items share is not independent between them, and items asked one by one would all get the first
number of a seed: their sets would not have the coverage that is promised. So a draw follows from what the item is, its
row of values or its image, and from the calibration; repeated requests repeat, different items differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.randomness import Purpose, uniforms
from services.uncertainty.conformal.methods.scores import Values

_WORD: Final = 8
"""Bytes of a digest that make one random number, of which 53 bits count."""
_ROWS: Final = 256


@dataclass(frozen=True)
class ItemDraws:
    """Random numbers of N items, in [0, 1).

    Attributes:
        score: (N,), of randomised scores.
        smoothing: (N,), of smoothed p-values; independent of the former.
    """

    score: Values
    smoothing: Values


def draw_by_number(seed: int, first_item: int, count: int) -> ItemDraws:
    """Draw by a seed and the numbers of the items; see `randomness.uniforms`."""
    numbers = first_item + np.arange(count)
    return ItemDraws(uniforms(seed, numbers, Purpose.PREDICTION), uniforms(seed, numbers, Purpose.SMOOTHING))


def draw_by_content(
    rows: NDArray[Any], *, version: str, seed: int | None, contents: Sequence[bytes] | None, by_repetition: bool
) -> ItemDraws:
    """Draw by what each item is: BLAKE2b of its values as float64, keyed by the calibration and the seed.

    Args:
        rows: values of the items, (N, K).
        version: of the calibration, any text.
        seed: for other draws of the same items; None is a seed of its own.
        contents: what the items are, in place of their rows: encoded images, N of them.
        by_repetition: equal items get different draws, by how often each has come before in this batch.
    """
    key = hashlib.blake2b(f"{version} {seed}".encode(), digest_size=32).digest()
    words = np.empty((len(rows), 2), np.uint64)
    times: dict[bytes, int] = {}
    for index, content in enumerate(_contents(rows) if contents is None else contents):
        digest = hashlib.blake2b(content, digest_size=2 * _WORD, key=key).digest()
        if by_repetition and (before := times.get(digest, 0)):
            times[digest] = before + 1
            digest = hashlib.blake2b(digest + str(before).encode(), digest_size=2 * _WORD, key=key).digest()
        elif by_repetition:
            times[digest] = 1
        words[index] = np.frombuffer(digest, "<u8")
    numbers = (words >> np.uint64(11)) / np.float64(2**53)
    return ItemDraws(np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1]))


def count_repeated_rows(rows: NDArray[Any]) -> int:
    """Count the items (N, K) that are equal to an earlier one."""
    return len(rows) - len({hashlib.blake2b(row, digest_size=2 * _WORD).digest() for row in _contents(rows)})


def seed_of_digest(digest: str) -> int:
    """A seed below 2^63 that follows from a digest: the draws of a calibration whose caller gave none."""
    return int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=_WORD).digest(), "little") >> 1


def _contents(rows: NDArray[Any]) -> Iterator[bytes]:
    """Each row's bytes as little-endian float64: the same for a number however it was posted."""
    for start in range(0, len(rows), _ROWS):
        # Adding zero makes negative zeros positive.
        block = rows[start : start + _ROWS].astype("<f8") + 0.0
        for row in block:
            yield row.tobytes()
