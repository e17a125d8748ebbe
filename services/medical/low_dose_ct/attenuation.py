"""Hounsfield units and normalised attenuation, with the constants of LoDoPaB-CT.

`mu = HU * (mu_water - mu_air) / 1000 + mu_water`, and an image of the pipeline is `x = mu / mu_max`: 0 is vacuum, 1 is
the largest value that 12-bit CT can state (3071 HU). Source: Leuschner et al. 2021, doi 10.1038/s41597-021-00893-z.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

MU_WATER = 20.0
"""Attenuation of water, 1/m."""

MU_AIR = 0.02
"""Attenuation of air, 1/m."""

HU_MAX = 3071.0
"""Hounsfield units that become 1."""

MU_PER_HU = (MU_WATER - MU_AIR) / 1000
"""Attenuation per Hounsfield unit, 1/m."""

MU_MAX = HU_MAX * MU_PER_HU + MU_WATER
"""Attenuation that becomes 1: 81.35858 1/m."""


def hu_to_attenuation(hu: ArrayLike, *, clip: bool = True) -> NDArray[np.float32]:
    """Convert Hounsfield units to normalised attenuation.

    Args:
        hu: Hounsfield units, any shape.
        clip: limit the result to [0, 1], as LoDoPaB-CT does (below -1001 HU and above 3071 HU something is lost).

    Returns:
        x = mu / mu_max, float32, same shape.
    """
    x = (np.asarray(hu, dtype=np.float64) * MU_PER_HU + MU_WATER) / MU_MAX
    if clip:
        x = np.clip(x, 0.0, 1.0)
    return x.astype(np.float32)


def attenuation_to_hu(x: ArrayLike) -> NDArray[np.float32]:
    """Convert normalised attenuation back to Hounsfield units, float32, same shape; values outside [0, 1] are kept."""
    return ((np.asarray(x, dtype=np.float64) * MU_MAX - MU_WATER) / MU_PER_HU).astype(np.float32)
