"""Large images go through the network in parts that overlap, so that memory does not grow with the image.

Each pixel of an answer depends on the pixels within the network's receptive field. A part that is seen with as much
around it gives the same answer as the whole image, as long as it begins on the grid of the network's downsampling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

Area = tuple[slice, slice]
"""Rows and columns."""

CORE_SIDE: Final = 816
"""Pixels of an answer that one run makes, in each direction. With the 104 around it that a released network depends on,
a run sees 1024x1024 and takes 0.27 GiB; slices of up to that size stay whole."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One part.

    Attributes:
        seen: what of the image the network is given.
        kept: what of the image it answers.
        inner: where that lies in what the network answers.
    """

    seen: Area
    kept: Area
    inner: Area


@dataclass(frozen=True, slots=True)
class _Span:
    seen: slice
    kept: slice
    inner: slice


def tiles(shape: tuple[int, int], *, receptive_field: int | None, grid: int = 1) -> list[Tile]:
    """The parts of an image, one after another; one part where the image is not large.

    Args:
        shape: rows and columns.
        receptive_field: how many pixels away an answer still depends on the image; None where nobody knows, and then
            the image stays whole.
        grid: pixels that the network's coarsest scale is apart.
    """
    margin = None if receptive_field is None else _on_grid(receptive_field, grid)
    spans = [list(_spans(side, _on_grid(CORE_SIDE, grid), margin)) for side in shape]
    return [
        Tile((rows.seen, columns.seen), (rows.kept, columns.kept), (rows.inner, columns.inner))
        for rows, columns in product(*spans)
    ]


def largest_side(receptive_field: int, grid: int) -> int:
    """Rows or columns that the network is given at most."""
    return _on_grid(CORE_SIDE, grid) + 2 * _on_grid(receptive_field, grid)


def _on_grid(pixels: int, grid: int) -> int:
    return math.ceil(pixels / grid) * grid


def _spans(side: int, core: int, margin: int | None) -> Iterator[_Span]:
    """One axis, cut wherever a part begins on the grid; the last part may be shorter."""
    if margin is None or side <= core + 2 * margin:
        core, margin = side, 0
    for start in range(0, side, core):
        stop = min(start + core, side)
        first = max(0, start - margin)
        yield _Span(slice(first, min(stop + margin, side)), slice(start, stop), slice(start - first, stop - first))
