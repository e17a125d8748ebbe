"""The inner loop of projector and back-projector: linear interpolation at equally spaced positions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.medical.low_dose_ct.compilation import compiled


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
