"""Conversion of array-like arguments to checked float64 arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def require_finite(values: object, name: str, *, shape: tuple[int | None, ...] = (None,)) -> FloatArray:
    """Convert values to a float64 array, and refuse another shape, NaN and infinite numbers.

    Args:
        values: anything array-like.
        name: what they are, for the message.
        shape: expected; None stands for any length.

    Raises:
        ValueError: not numeric, another shape, or not all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    fits = array.ndim == len(shape) and all(want in {None, have} for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have the shape ({expected}), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    return array
