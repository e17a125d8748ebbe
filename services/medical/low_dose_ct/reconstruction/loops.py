"""The compiled loops of projector and back-projector: linear interpolation at equally spaced positions.

They share one file because numba's cache notices changes of a function's own file only: a loop cached elsewhere would
go on using the former version of the loops that it calls.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.reconstruction.compilation import compiled

ROWS_PER_BLOCK = 16
"""Image rows that stay in the first-level cache while all angles pass over them."""


@compiled
def first_inside(first: float, step: float, count: int, end: float) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return the range [lower, upper) of k in range(count) whose positions first + k * step lie in [0, end)."""
    lower, upper = 0, count
    if step > 1e-12:
        lower = max(0, math.ceil(max(-first / step, 0.0)))
        upper = min(count, math.ceil(max((end - first) / step, 0.0)))
    elif step < -1e-12:
        lower = max(0, math.floor(max((end - first) / step, -1.0)) + 1)
        upper = min(count, math.floor(max(-first / step, -1.0)) + 1)
    while lower < upper and not 0.0 <= first + lower * step < end:
        lower += 1
    while upper > lower and not 0.0 <= first + (upper - 1) * step < end:
        upper -= 1
    return lower, upper


@compiled
def add_interpolated(
    target: NDArray[np.float32], samples: NDArray[np.float32], first: float, step: float
) -> None:  # pragma: no cover - compiled
    """Add to target[k] the linear interpolation of `samples` at position first + k * step; nothing outside of them."""
    lower, upper = first_inside(first, step, target.shape[0], samples.shape[0] - 1.0)
    for k in range(lower, upper):
        position = first + k * step
        index = np.int32(position)
        weight = np.float32(position - index)
        target[k] += samples[index] + weight * (samples[index + 1] - samples[index])


@compiled
def add_projections(
    image: NDArray[np.float32],
    projections: NDArray[np.float32],
    steps: NDArray[np.float64],
    corners: NDArray[np.float64],
    begin: int,
    end: int,
) -> None:  # pragma: no cover - compiled
    """Add all projections to the image rows [begin, end).

    Args:
        image: (rows, columns), changed in place.
        projections: (angles, bins + 2), a zero at both ends.
        steps: (angles, 2), detector bins per row and per column of the image.
        corners: (angles,), position of pixel (0, 0) in `projections`.
        begin: first row.
        end: row after the last.
    """
    for top in range(begin, end, ROWS_PER_BLOCK):
        for k in range(projections.shape[0]):
            for row in range(top, min(top + ROWS_PER_BLOCK, end)):
                add_interpolated(image[row], projections[k], corners[k] + row * steps[k, 0], steps[k, 1])


@compiled
def project_angles(
    sinogram: NDArray[np.float32],
    by_row: NDArray[np.float32],
    by_column: NDArray[np.float32],
    directions: NDArray[np.float64],
    pixels_per_bin: float,
    begin: int,
    end: int,
) -> None:  # pragma: no cover - compiled
    """Add up the rays of the angles [begin, end), in pixels.

    Args:
        sinogram: (angles, detectors), changed in place.
        by_row: image with a zero column at both sides, (rows, columns + 2).
        by_column: transposed image with a zero column at both sides, (columns, rows + 2).
        directions: (angles, 2), cosine and sine.
        pixels_per_bin: detector pitch in pixels.
        begin: first angle.
        end: angle after the last.
    """
    bins = sinogram.shape[1]
    for k in range(begin, end):
        cosine, sine = directions[k, 0], directions[k, 1]
        # A ray x * cosine + y * sine = s is nearly parallel to the y axis where |cosine| is large: step along y.
        lines, along, across = (by_column, sine, cosine) if abs(cosine) >= abs(sine) else (by_row, cosine, sine)
        step = pixels_per_bin / across
        origin = (lines.shape[1] - 3) / 2 + 1 - step * (bins - 1) / 2
        for line in range(lines.shape[0]):
            offset = (line - (lines.shape[0] - 1) / 2) * along / across
            add_interpolated(sinogram[k], lines[line], origin - offset, step)
        for detector in range(bins):
            sinogram[k, detector] /= abs(across)
