"""Captioners that are small enough to know what they do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WORDS = ["a", "brown", "dog", "jumps", "over", "green", "grass", "near", "tall", "trees"]
OTHERS = ["the", "white", "cat", "sleeps", "under", "blue", "water", "behind", "small", "houses"]


class RegionCaptioner:
    """Sees one 8 x 8 region: the more it differs from the clean picture, the more words are others.

    It counts the pictures that it has seen, which is what a budget is held against.
    """

    def __init__(self, clean: NDArray[np.uint8], top: int = 4, left: int = 20) -> None:
        self._region = slice(top, top + 8), slice(left, left + 8)
        self._clean = clean[self._region].astype(np.int64)
        self.seen = 0
        self.batches: list[int] = []

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        self.seen += len(pictures)
        self.batches.append(len(pictures))
        return [self._describe(picture) for picture in pictures]

    def _describe(self, picture: NDArray[np.uint8]) -> str:
        moved = int(np.abs(picture[self._region] - self._clean).sum())
        changed = min(len(WORDS), moved // 120)
        return " ".join(OTHERS[:changed] + WORDS[changed:])


class SamplingCaptioner:
    """Says something else each time, of two."""

    def __init__(self) -> None:
        self.seen = 0

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        captions = ["a dog runs" if (self.seen + index) % 2 else "a brown dog runs" for index in range(len(pictures))]
        self.seen += len(pictures)
        return captions


class ConstantCaptioner:
    """Says the same of all pictures."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.seen = 0

    def caption(self, pictures: Sequence[NDArray[np.uint8]]) -> list[str]:
        self.seen += len(pictures)
        return [self._text] * len(pictures)


def noise_picture(height: int = 24, width: int = 40, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def attention_on_region(rows: int = 6, columns: int = 10) -> NDArray[np.float32]:
    """Two words that look at the region of `RegionCaptioner` in a picture of 24 x 40 pixels."""
    maps = np.full((2, rows, columns), 0.001, np.float32)
    maps[:, 1:3, 5:7] = 1.0
    return maps
