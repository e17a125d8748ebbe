"""Boxes around COCO's segmentations, for annotations that state no box: polygons and run lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.perception.detection.annotations.box_recording import Edges

_MOST_RUNS: Final = 1_000_000
_BITS: Final = 5
_CONTINUES: Final = 0x20
_SIGN: Final = 0x10
_MOST_SHIFT: Final = 60
_FIRST_CHARACTER: Final = 48


def outline_edges(segmentation: Any, *, width: int, height: int) -> Edges | None:
    """The box around a segmentation.

    Args:
        segmentation: a list of polygons [x1, y1, x2, y2, ...], or an object with `size` [height, width] and `counts`, a
            list or COCO's compressed text.
        width: of the picture, in pixels.
        height: of the picture.

    Returns:
        Edges in pixels; None where nothing is outlined or the segmentation cannot be read.
    """
    if isinstance(segmentation, dict):
        return _edges_of_runs(segmentation, width=width, height=height)
    if not isinstance(segmentation, list):
        return None
    polygons = segmentation if all(isinstance(one, list) for one in segmentation) else [segmentation]
    return edges_of_points([number for polygon in polygons for number in polygon])


def edges_of_points(numbers: Sequence[Any]) -> Edges | None:
    """The box around points.

    Args:
        numbers: x1, y1, x2, y2, ...

    Returns:
        None if they are no finite numbers, or not in pairs.
    """
    if not numbers or len(numbers) % 2 or not all(isinstance(one, int | float) for one in numbers):
        return None
    try:
        points = np.array(numbers, np.float64).reshape(-1, 2)
    except OverflowError:
        return None
    if not np.isfinite(points).all():
        return None
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, top, right, bottom


def _edges_of_runs(segmentation: dict[str, Any], *, width: int, height: int) -> Edges | None:
    """Runs go down the columns, one after the other, and are by turns outside and inside of the object."""
    counts = segmentation.get("counts")
    runs = _decompress(counts) if isinstance(counts, str) else _listed(counts)
    if runs is None or segmentation.get("size") != [height, width] or int(runs.sum()) != height * width:
        return None
    ends = np.cumsum(runs)
    first, last = (ends - runs)[1::2], ends[1::2] - 1
    first, last = first[first <= last], last[first <= last]
    if not len(first):
        return None
    columns = first // height, last // height
    # A run over the border of two columns touches the lower edge of one and the upper edge of the next.
    within = columns[0] == columns[1]
    top = np.where(within, first % height, 0).min()
    bottom = np.where(within, last % height, height - 1).max() + 1
    return float(columns[0].min()), float(top), float(columns[1].max() + 1), float(bottom)


def _listed(counts: Any) -> NDArray[np.int64] | None:
    if not isinstance(counts, list) or not 0 < len(counts) <= _MOST_RUNS:
        return None
    if not all(isinstance(one, int) and 0 <= one < math.inf and one < 2**40 for one in counts):
        return None
    return np.array(counts, np.int64)


def _decompress(text: str) -> NDArray[np.int64] | None:
    """COCO's text: five bits a character, and from the third run on the difference to the run before the last."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST_CHARACTER
        if not 0 <= bits < 2 * _CONTINUES or shift > _MOST_SHIFT or len(runs) >= _MOST_RUNS:
            return None
        value |= (bits & (_CONTINUES - 1)) << shift
        shift += _BITS
        if bits & _CONTINUES:
            continue
        if bits & _SIGN:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
        if not 0 <= runs[-1] < 2**40:
            return None
    return np.array(runs, np.int64) if runs and not shift else None
