"""Which triangle is seen at which sample of a grid: rows of spans, and the nearest wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHUNK: Final = 1_000_000
"""About as many pairs of a triangle and a row, or of a triangle and a sample, are held at a time."""

_TINY: Final = 1e-9

_EDGE: Final = 1e-6
"""Barycentric coordinate up to which a sample counts as lying on the edge."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Triangles on a picture, as functions that are linear in its coordinates.

    Attributes:
        gradients: float64 (faces, 3, 3): the barycentric coordinate of corner c at (x, y) is
            `gradients[:, c, 0] * x + gradients[:, c, 1] * y + gradients[:, c, 2]`, linear on the picture.
        visible: bool (faces,), not seen from behind and not from the edge.
    """

    gradients: Floats
    visible: NDArray[np.bool_]

    def at(self, faces: NDArray[np.integer], pixels: Floats) -> Floats:
        """Barycentric coordinates (n, 3), linear on the picture, of pixels (n, 2)."""
        chosen = self.gradients[faces]
        return np.asarray(chosen[..., 0] * pixels[:, :1] + chosen[..., 1] * pixels[:, 1:] + chosen[..., 2])


def make_planes(points: Floats, *, cull: bool) -> Planes:
    """Barycentric functions of triangles.

    Args:
        points: float64 (faces, 3, 2), corners on the picture, y downwards.
        cull: leave out those that are clockwise in space, that is seen from behind.
    """
    x, y = points[..., 0], points[..., 1]
    after, before = [1, 2, 0], [2, 0, 1]
    along = y[:, after] - y[:, before]
    across = x[:, before] - x[:, after]
    constant = x[:, after] * y[:, before] - x[:, before] * y[:, after]
    doubled = constant.sum(axis=1)
    visible = -doubled > _TINY if cull else np.abs(doubled) > _TINY
    gradients = np.stack((along, across, constant), axis=-1) / np.where(visible, doubled, 1.0)[:, None, None]
    return Planes(gradients, visible)


def find_nearest(
    points: Floats, nearness: Floats, planes: Planes, *, width: int, height: int
) -> tuple[NDArray[np.int32], Floats]:
    """The nearest triangle at every sample of a grid; samples lie at (column + 1/2, row + 1/2).

    Args:
        points: float64 (faces, 3, 2), corners in samples.
        nearness: float64 (faces, 3), larger is nearer, linear on the picture: the inverse of the depth in perspective.
        planes: of the same triangles.
        width: samples of a row.
        height: rows.

    Returns:
        Faces int32 (height, width), -1 where there is none, and their nearness float64, minus infinity there.
    """
    slopes = np.einsum("fck,fc->fk", planes.gradients, nearness)
    found = np.full(width * height, -1, dtype=np.int32)
    nearest = np.full(width * height, -np.inf)
    for spans in _span_chunks(points, planes, width=width, height=height, slack=_TINY):
        _draw(found, nearest, spans, slopes, width)
    return found.reshape(height, width), nearest.reshape(height, width)


def find_all(
    points: Floats, *, width: int, height: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of a triangle, seen from either side, and a sample inside of it; those on its edge are left out.

    Args:
        points: float64 (faces, 3, 2), corners in samples.
        width: samples of a row.
        height: rows.

    Yields:
        Faces, rows and columns int64 (n,), about `_CHUNK` at a time.
    """
    for spans in _span_chunks(points, make_planes(points, cull=False), width=width, height=height, slack=-_EDGE):
        index = np.repeat(np.arange(len(spans.face)), spans.count)
        yield spans.face[index], spans.row[index], spans.first[index] + _count_up(spans.count)


@dataclass(frozen=True, slots=True, eq=False)
class _Spans:
    """Rows of triangles: int64 (n,) each."""

    face: NDArray[np.int64]
    row: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]


def _span_chunks(points: Floats, planes: Planes, *, width: int, height: int, slack: float) -> Iterator[_Spans]:
    low = np.clip(np.ceil(points[..., 1].min(axis=1) - 0.5), 0, height).astype(np.int64)
    high = np.clip(np.floor(points[..., 1].max(axis=1) - 0.5), -1, height - 1).astype(np.int64)
    rows = np.where(planes.visible, np.maximum(high - low + 1, 0), 0)
    for start, stop in _chunks(rows):
        face = np.repeat(np.arange(start, stop), rows[start:stop])
        row = low[face] + _count_up(rows[start:stop])
        first, last = _spans(planes, face, row, width, slack)
        keep = last >= first
        face, row, first, count = face[keep], row[keep], first[keep], (last - first + 1)[keep]
        for begin, end in _chunks(count):
            yield _Spans(face[begin:end], row[begin:end], first[begin:end], count[begin:end])


def _spans(
    planes: Planes, face: NDArray[np.int64], row: NDArray[np.int64], width: int, slack: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last column of a triangle in a row; the last is before the first where it covers no sample."""
    slope = planes.gradients[face, :, 0]
    level = planes.gradients[face, :, 1] * (row + 0.5)[:, None] + planes.gradients[face, :, 2] + slack
    flat = np.abs(slope) < 1e-12
    edge = -level / np.where(flat, 1.0, slope)
    low = np.where(~flat & (slope > 0), edge, -np.inf).max(axis=1)
    high = np.where(~flat & (slope < 0), edge, np.inf).min(axis=1)
    high = np.where((flat & (level < 0)).any(axis=1), -np.inf, high)
    first = np.clip(np.ceil(low - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.floor(high - 0.5), -1, width - 1).astype(np.int64)
    return first, last


def _draw(found: NDArray[np.int32], nearest: Floats, spans: _Spans, slopes: Floats, width: int) -> None:
    """Put spans onto the grid where they are nearer than what is there."""
    slope = slopes[spans.face]
    level = slope[:, 1] * (spans.row + 0.5) + slope[:, 2]
    index = np.repeat(np.arange(len(spans.face)), spans.count)
    column = spans.first[index] + _count_up(spans.count)
    near = level[index] + slope[:, 0][index] * (column + 0.5)
    sample = spans.row[index] * width + column
    np.maximum.at(nearest, sample, near)
    won = near == nearest[sample]
    found[sample[won]] = spans.face[index[won]]


def _count_up(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, ... anew for each count."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def _chunks(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of counts, each of about `_CHUNK` in sum."""
    reached = np.cumsum(counts)
    if len(reached) == 0:
        return []
    bounds = np.searchsorted(reached, np.arange(0, reached[-1] + 1, _CHUNK), side="left")
    return list(zip(bounds, [*bounds[1:], len(counts)], strict=True))
