"""Pictures out of genes: the integers that a search chooses, applied to a clean picture.

Sums are taken in int32 and clipped to [0, 255] before they become uint8, so that nothing wraps around.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.security.caption_attack.searching.candidates import Positions

Genes = NDArray[np.int32]
Picture = NDArray[np.uint8]

CHANNELS: Final = 3
WHITE: Final = 255


class GeneSpace(ABC):
    """What genes a picture may be given, and what it looks like then.

    Args:
        picture: (h, w, 3) uint8, the clean one.
        lower, upper: (genes,) int32, the least and the greatest value of each gene.
    """

    sparse: bool = True
    """Whether at most so many pixels change."""

    def __init__(self, picture: Picture, lower: Genes, upper: Genes) -> None:
        require_picture(picture)
        self.picture, self.lower, self.upper = picture, lower, upper

    @abstractmethod
    def render(self, genes: Genes) -> Picture:
        """Pictures, (n, h, w, 3) uint8, of (n, genes) int32."""


class PixelDeltas(GeneSpace):
    """RGB deltas of fixed pixels: 3k genes, red, green and blue of the first pixel, then of the second.

    Args:
        picture: (h, w, 3) uint8.
        positions: k different pixels.
        bound: most that a channel may change by, 1 to 255.
    """

    def __init__(self, picture: Picture, positions: Positions, *, bound: int) -> None:
        limit = np.full(CHANNELS * positions.count, require_bound(bound), np.int32)
        super().__init__(picture, -limit, limit)
        self.positions = positions

    def render(self, genes: Genes) -> Picture:
        """Clean pictures with k pixels changed."""
        pictures = np.repeat(self.picture[None], len(genes), axis=0)
        rows, columns = self.positions.rows, self.positions.columns
        deltas = genes.reshape(len(genes), -1, CHANNELS)
        pictures[:, rows, columns] = _clip(self.picture[rows, columns] + deltas)
        return pictures


class MovingPixels(GeneSpace):
    """RGB deltas of pixels that are genes too: 4k genes, the number of a candidate, then red, green and blue.

    Args:
        picture: (h, w, 3) uint8.
        candidates: where pixels may be; at least `count`.
        count: k. A search that gives two of them the same candidate changes fewer pixels.
        bound: most that a channel may change by, 1 to 255.
    """

    def __init__(self, picture: Picture, candidates: Positions, *, count: int, bound: int) -> None:
        limit = require_bound(bound)
        lower, upper = [0, -limit, -limit, -limit], [candidates.count - 1, limit, limit, limit]
        super().__init__(picture, np.array(lower * count, np.int32), np.array(upper * count, np.int32))
        self.candidates, self.count = candidates, count

    def render(self, genes: Genes) -> Picture:
        """Clean pictures with at most k pixels changed."""
        pictures = np.repeat(self.picture[None], len(genes), axis=0)
        pixels = genes.reshape(len(genes), self.count, 1 + CHANNELS)
        rows, columns = self.candidates.rows[pixels[..., 0]], self.candidates.columns[pixels[..., 0]]
        numbers = np.arange(len(genes))[:, None]
        pictures[numbers, rows, columns] = _clip(self.picture[rows, columns] + pixels[..., 1:])
        return pictures


class OnePixel(GeneSpace):
    """One pixel of any colour anywhere (Su et al. 2019): five genes, row, column, red, green and blue."""

    def __init__(self, picture: Picture) -> None:
        height, width = picture.shape[:2]
        upper = np.array([height - 1, width - 1, WHITE, WHITE, WHITE], np.int32)
        super().__init__(picture, np.zeros(5, np.int32), upper)

    def render(self, genes: Genes) -> Picture:
        """Clean pictures with one pixel painted over."""
        pictures = np.repeat(self.picture[None], len(genes), axis=0)
        pictures[np.arange(len(genes)), genes[:, 0], genes[:, 1]] = _clip(genes[:, 2:])
        return pictures


class WholePicture(GeneSpace):
    """A delta of each channel of each pixel: 3hw genes in the order of the picture. Not sparse.

    Args:
        picture: (h, w, 3) uint8.
        bound: most that a channel may change by, 1 to 255.
    """

    sparse = False

    def __init__(self, picture: Picture, *, bound: int) -> None:
        limit = np.full(picture.size, require_bound(bound), np.int32)
        super().__init__(picture, -limit, limit)

    def render(self, genes: Genes) -> Picture:
        """Clean pictures with all pixels changed."""
        return _clip(self.picture + genes.reshape(len(genes), *self.picture.shape))


def require_picture(picture: Picture) -> None:
    """Raise ValueError unless it is (h, w, 3) uint8 with a pixel at least."""
    if picture.ndim != 3 or picture.shape[2] != CHANNELS or picture.dtype != np.uint8 or picture.size == 0:
        raise ValueError(f"a picture is (h, w, 3) uint8, and this is {picture.shape} {picture.dtype}")


def require_bound(bound: int) -> int:
    """The bound; raises ValueError unless it is from 1 to 255."""
    if not 1 <= bound <= WHITE:
        raise ValueError(f"a bound is from 1 to {WHITE}, and this is {bound}")
    return bound


def _clip(values: NDArray[np.int32]) -> Picture:
    return np.clip(values, 0, WHITE).astype(np.uint8)
