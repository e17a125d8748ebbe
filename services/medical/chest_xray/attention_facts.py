"""What a map of attention says in figures: where its peak is, how it is shared out, how small a region holds most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.medical.chest_xray.films import Pixels


@dataclass(frozen=True, slots=True)
class Region:
    """The smallest set of pixels that holds a share of the attention.

    Attributes:
        mask: bool (rows, columns) of the film.
        share: of the attention within it, at least the share that was asked for.
        area: of the film, in [0, 1].
        box: left, top, right and bottom edge in pixels.
    """

    mask: NDArray[np.bool_]
    share: float
    area: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class AttentionFigures:
    """Figures of a density over a film.

    Attributes:
        peak: row and column of its highest value, from 0.
        peak_density: that value, as a multiple of what an even density would have.
        left: share in the left half of the picture, where the patient's right side is as films are hung.
        right: the rest.
        thirds: shares of the upper, middle and lower third.
        spread: entropy over that of an even density: 1 for an even one, 0 for a single pixel.
    """

    peak: tuple[int, int]
    peak_density: float
    left: float
    right: float
    thirds: tuple[float, float, float]
    spread: float


def figures_of(density: Pixels) -> AttentionFigures:
    """Figures of a density (rows, columns), which is at least 0 and 1 in sum."""
    rows, columns = density.shape
    row, column = divmod(int(density.argmax()), columns)
    by_column, by_row = density.sum(axis=0, dtype=np.float64), density.sum(axis=1, dtype=np.float64)
    left = _before(by_column, columns / 2)
    upper, two_thirds = _before(by_row, rows / 3), _before(by_row, 2 * rows / 3)
    total = float(by_row.sum())
    return AttentionFigures(
        peak=(row, column),
        peak_density=float(density[row, column]) * density.size,
        left=left / total,
        right=1 - left / total,
        thirds=(upper / total, (two_thirds - upper) / total, 1 - two_thirds / total),
        spread=_entropy(density) / float(np.log(density.size)),
    )


def region_of(density: Pixels, share: float) -> Region:
    """The smallest set of pixels that holds a share of a density; pixels of equal value go together.

    Args:
        density: (rows, columns), at least 0 and 1 in sum.
        share: above 0, below 1.
    """
    falling = np.sort(density, axis=None)[::-1]
    sums = np.cumsum(falling, dtype=np.float64)
    least = falling[min(int(np.searchsorted(sums, share * sums[-1])), falling.size - 1)]
    mask = density >= least
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    held = float(density[mask].sum(dtype=np.float64)) / float(sums[-1])
    return Region(mask, held, float(mask.mean()), box)


def _before(sums: NDArray[np.float64], place: float) -> float:
    """The sum up to a place, of whose pixel the part before it counts."""
    whole = int(place)
    part = (place - whole) * float(sums[whole]) if whole < len(sums) else 0.0
    return float(sums[:whole].sum()) + part


def _entropy(density: Pixels) -> float:
    """In nats; pixels of zero have none."""
    positive = density[density > 0]
    return float(-(positive * np.log(positive)).sum(dtype=np.float64))
