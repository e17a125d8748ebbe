"""Relevance maps: enlarging coarse ones, the two that know nothing, and figures that describe a map."""

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

Map = NDArray[np.float32]

CENTRE_WIDTH = 0.25
"""Standard deviation of the centre prior, as a share of the picture's height and width."""


def enlarged(maps: Map, *, height: int, width: int) -> Map:
    """Maps (count, rows, columns) scaled bilinearly to (count, height, width), all methods alike."""
    if maps.shape[1:] == (height, width):
        return maps
    scaled = [Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR) for one in maps]
    return np.stack([np.asarray(one, dtype=np.float32) for one in scaled])


def random_maps(count: int, *, height: int, width: int, seed: int) -> Map:
    """Uniform noise in [0, 1), (count, height, width); the same for the same seed."""
    return np.random.default_rng(seed).random((count, height, width), dtype=np.float32)


def centre_maps(count: int, *, height: int, width: int) -> Map:
    """A Gaussian around the middle, (count, height, width)."""
    rows, columns = (
        np.exp(-0.5 * (((np.arange(size) + 0.5) / size - 0.5) / CENTRE_WIDTH) ** 2) for size in (height, width)
    )
    return np.repeat((rows[:, None] * columns)[None].astype(np.float32), count, axis=0)


def gini(relevance: NDArray[np.floating]) -> float:
    """How unequally |relevance| is spread: 0 evenly, towards 1 on one pixel; 0 for a map of zeros."""
    ordered = np.sort(np.abs(relevance).astype(np.float64), axis=None)
    total, count = ordered.sum(), ordered.size
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, count + 1) - count - 1) * ordered).sum() / (count * total))


def rank_correlation(left: NDArray[np.floating], right: NDArray[np.floating]) -> float | None:
    """Spearman's coefficient of two maps; None where one of them is constant."""
    ranks = [scipy.stats.rankdata(one, axis=None) for one in (left, right)]
    first, second = (rank - rank.mean() for rank in ranks)
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norm if norm else None


def peak(relevance: NDArray[np.floating]) -> tuple[int, int]:
    """Row and column of the most relevant pixel, the first of equals."""
    row, column = np.unravel_index(int(relevance.argmax()), relevance.shape)
    return int(row), int(column)
