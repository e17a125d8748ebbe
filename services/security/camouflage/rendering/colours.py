"""Between sRGB as stored in pictures and light (IEC 61966-2-1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def to_linear(encoded: NDArray[np.floating]) -> Floats:
    """Linear light of sRGB values in [0, 1], float32 of the same shape."""
    values = encoded.astype(np.float32)
    return np.asarray(np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4))


def to_srgb(light: NDArray[np.floating]) -> Floats:
    """Values of sRGB in [0, 1] for linear light, float32 of the same shape; what is brighter than white is white."""
    values = np.clip(light, 0, 1).astype(np.float32)
    return np.asarray(
        np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-8) ** (1 / 2.4) - 0.055)
    )
