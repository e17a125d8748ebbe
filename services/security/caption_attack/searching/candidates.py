"""Which pixels are changed: all different, drawn once, from where a captioner looked or did not look.

Attention is a map of each word over a coarse grid, which is laid over the whole picture. Values that are negative or
no numbers count as 0, and each word counts alike. Where no word has any attention left, all pixels are alike; the
positions say so. Equal attention is ordered at random, so that a flat map prefers no corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Guidance = Literal["sentence", "word", "uniform", "lowest", "strict_top", "weighted"]
"""
- `sentence`: drawn evenly from the share of pixels with the most attention, summed over words.
- `word`: drawn from the shares of all words; a pixel that is in the shares of two words is twice as likely.
- `uniform`: drawn evenly from all pixels.
- `lowest`: drawn evenly from the share of pixels with the least attention.
- `strict_top`: the k pixels with the most attention, which often are a blob.
- `weighted`: drawn from all pixels, as likely as their attention.
"""

GUIDANCES: Final[tuple[Guidance, ...]] = get_args(Guidance)
SHARES: Final = (0.05, 0.10, 0.25, 0.50)
"""Shares of pixels that are compared; the last is that of the published attack."""


@dataclass(frozen=True)
class Positions:
    """Different pixels of a picture, in its order.

    Attributes:
        rows, columns: (k,) intp, from 0.
        candidates: how many pixels they were drawn from.
        guided: whether attention said anything.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    candidates: int
    guided: bool

    @property
    def count(self) -> int:
        """K."""
        return len(self.rows)


def choose_positions(
    guidance: Guidance,
    *,
    maps: NDArray[Any] | None,
    size: tuple[int, int],
    count: int,
    seed: int,
    share: float = 0.5,
) -> Positions:
    """Choose exactly `count` pixels, or all where the picture has fewer.

    Args:
        guidance: how.
        maps: (words, rows, columns) attention; None, or without words, for none.
        size: height and width of the picture in pixels.
        count: k. There are never fewer candidates: a share of pixels that is less is raised to it.
        seed: of the draw.
        share: of pixels that are candidates, above 0 and at most 1.

    Raises:
        ValueError: a number is out of its range, or the maps are of another shape.
    """
    if count < 1 or min(size) < 1 or not 0 < share <= 1:
        raise ValueError("positions need a count of 1 at least, a picture, and a share above 0 and at most 1")
    height, width = size
    pixels = height * width
    count = min(count, pixels)
    kept = max(count, round(share * pixels))
    words = None if guidance == "uniform" else upsample_attention(maps, size)
    rng = np.random.default_rng(seed)
    if words is None:
        weights = np.ones(pixels)
    else:
        weights = _weigh(guidance, words.reshape(len(words), pixels), kept=kept, count=count, rng=rng)
    chosen = np.sort(_draw(weights, count, rng))
    return Positions(chosen // width, chosen % width, int(np.count_nonzero(weights)), words is not None)


def upsample_attention(maps: NDArray[Any] | None, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Word maps at the size of the picture, by bilinear interpolation between the centres of cells.

    Args:
        maps: (words, rows, columns).
        size: height and width in pixels.

    Returns:
        (words, h, w), each word with the sum 1; words without attention are left out. None if no word is left.

    Raises:
        ValueError: another shape.
    """
    if maps is None or maps.size == 0:
        return None
    if maps.ndim != 3:
        raise ValueError(f"attention is (words, rows, columns), and this is {maps.shape}")
    grid = np.asarray(maps, np.float64)
    grid = np.where(np.isfinite(grid) & (grid > 0), grid, 0)
    tops = grid.max(axis=(1, 2), keepdims=True)
    grid = np.divide(grid, tops, out=np.zeros_like(grid), where=tops > 0)  # so that no sum overflows
    rows, columns = _interpolation(grid.shape[1], size[0]), _interpolation(grid.shape[2], size[1])
    large: NDArray[np.float64] = rows @ grid @ columns.T
    totals: NDArray[np.float64] = large.sum(axis=(1, 2))
    seen = totals > 0
    shares: NDArray[np.float64] = large[seen] / totals[seen, None, None]
    return shares if len(shares) else None


def _interpolation(cells: int, pixels: int) -> NDArray[np.float64]:
    """(pixels, cells) weights of cells; beyond the outermost centres the outermost cell has all."""
    centres = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    lower = np.minimum(centres.astype(np.intp), max(0, cells - 2))
    weights = np.zeros((pixels, cells))
    weights[np.arange(pixels), lower] = 1 - (centres - lower)
    weights[np.arange(pixels), np.minimum(lower + 1, cells - 1)] += centres - lower
    return weights


def _weigh(
    guidance: Guidance, words: NDArray[np.float64], *, kept: int, count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """How likely each pixel is, (pixels,); 0 for those that are no candidates."""
    total: NDArray[np.float64] = words.sum(axis=0)
    if guidance == "weighted":
        return total
    weights = np.zeros(total.size)
    if guidance == "word":
        for one in words:
            weights[_highest(_level(one), kept, rng)] += 1
        return weights
    size, levels = count if guidance == "strict_top" else kept, _level(total)
    weights[_highest(-levels if guidance == "lowest" else levels, size, rng)] = 1
    return weights


def _level(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values by which pixels are ordered: what differs by rounding alone is equal."""
    levels: NDArray[np.float64] = np.round(values / values.max(), 9)
    return levels


def _highest(values: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of the highest values, in no order; of equal ones, some at random."""
    order = rng.permutation(values.size)
    return order[np.argsort(-values[order], kind="stable")[:count]]


def _draw(weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Different indices, one after another as likely as their weights (Efraimidis and Spirakis 2006).

    Those of weight 0 are drawn, evenly, only after all others.
    """
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=weights.size)
    return _highest(keys, count, rng)
