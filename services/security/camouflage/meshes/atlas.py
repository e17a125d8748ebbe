"""Charts laid into one square texture, side by side with a margin and all to one scale."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MARGIN: Final = 1 / 64
"""Least distance between two charts, as a share of the texture's side: four texels of a texture of 256."""

_ROUNDS: Final = 30


def pack_charts(uv: NDArray[np.float64], charts: NDArray[np.int32], *, margin: float = MARGIN) -> NDArray[np.float32]:
    """Move and scale charts into the unit square; none is turned or stretched, and none meets another.

    Args:
        uv: float64 (faces, 3, 2), corners in the coordinates of their chart, all charts to one scale.
        charts: int32 (faces,), the chart of each face, counted from 0 without a gap.
        margin: between charts and at the border.

    Returns:
        float32 (faces, 3, 2) in [0, 1].

    Raises:
        ValueError: there are too many charts for the margin.
    """
    count = int(charts.max()) + 1
    least, greatest = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(least, charts, uv.min(axis=1))
    np.maximum.at(greatest, charts, uv.max(axis=1))
    sizes = greatest - least
    scale = _largest_scale(sizes, margin)
    places = _shelves(sizes * scale, margin)
    if places is None:
        raise ValueError(f"{count} charts do not fit into a texture with a margin of {margin}")
    return np.asarray((uv - least[charts][:, None]) * scale + places[charts][:, None], np.float32)


def _largest_scale(sizes: NDArray[np.float64], margin: float) -> float:
    """The largest scale at which shelves hold all charts, by bisection."""
    low, high = 0.0, 1.0 / max(float(np.sqrt(sizes.prod(axis=1).sum())), float(sizes.max()), 1e-12)
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        low, high = (middle, high) if _shelves(sizes * middle, margin) is not None else (low, middle)
    return low


def _shelves(sizes: NDArray[np.float64], margin: float) -> NDArray[np.float64] | None:
    """Lower left corners of boxes that stand on shelves, the tallest first; None if they do not fit."""
    places = np.zeros_like(sizes)
    left, bottom, height = margin, margin, 0.0
    for index in np.argsort(-sizes[:, 1], kind="stable"):
        wide, tall = sizes[index]
        if left + wide + margin > 1:
            left, bottom, height = margin, bottom + height + margin, 0.0
        if left + wide + margin > 1 or bottom + tall + margin > 1:
            return None
        places[index] = left, bottom
        left, height = left + wide + margin, max(height, tall)
    return places
