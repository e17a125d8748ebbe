"""Between sRGB as stored in pictures and light (IEC 61966-2-1)."""

from __future__ import annotations

from typing import Final

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


TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to CIE XYZ (IEC 61966-2-1)."""

WHITE: Final = TO_XYZ.sum(axis=1)
"""XYZ of white, D65."""


def to_lab(encoded: NDArray[np.floating]) -> Floats:
    """CIELAB (CIE 15:2004, D65) of sRGB values (..., 3) in [0, 1], float32: lightness 0 to 100, a and b."""
    ratio = to_linear(encoded) @ TO_XYZ.T / WHITE
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(np.maximum(ratio, 0)), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(bent, -1, 0)
    return np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1).astype(np.float32)


def from_lab(lab: NDArray[np.floating]) -> Floats:
    """The inverse of `to_lab`, float32 (..., 3); what sRGB does not have is cut to [0, 1]."""
    lightness, a, b = np.moveaxis(lab.astype(np.float64), -1, 0)
    middle = (lightness + 16) / 116
    bent = np.stack((middle + a / 500, middle, middle - b / 200), axis=-1)
    ratio = np.where(bent > 6 / 29, bent**3, 3 * (6 / 29) ** 2 * (bent - 4 / 29))
    return to_srgb(ratio * WHITE @ np.linalg.inv(TO_XYZ).T)
