"""Hounsfield units and normalised attenuation, with the constants of LoDoPaB-CT.

`mu = HU * (mu_water - mu_air) / 1000 + mu_water`, and an image of the pipeline is `x = mu / mu_max`: 0 is vacuum, 1 is
the largest value that 12-bit CT can state (3071 HU). Source: Leuschner et al. 2021, doi 10.1038/s41597-021-00893-z.
"""

from __future__ import annotations

from collections.abc import Callable

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


_PART = 2**18
"""Elements that are converted at a time."""


def hu_to_attenuation(hu: ArrayLike, *, clip: bool = True) -> NDArray[np.float32]:
    """Convert Hounsfield units to normalised attenuation.

    Args:
        hu: Hounsfield units, any shape.
        clip: limit the result to [0, 1], as LoDoPaB-CT does (below -1001 HU and above 3071 HU something is lost).

    Returns:
        x = mu / mu_max, float32, same shape.
    """
    lowest, highest = (0.0, 1.0) if clip else (-np.inf, np.inf)
    return _in_parts(hu, lambda part: np.clip((part * MU_PER_HU + MU_WATER) / MU_MAX, lowest, highest))


def attenuation_to_hu(x: ArrayLike) -> NDArray[np.float32]:
    """Convert normalised attenuation back to Hounsfield units, float32, same shape; values outside [0, 1] are kept."""
    return _in_parts(x, lambda part: (part * MU_MAX - MU_WATER) / MU_PER_HU)


def _in_parts(values: ArrayLike, convert: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float32]:
    """Convert in double precision and return single, without either of a large image as a whole."""
    given = np.asarray(values)
    converted = np.empty(given.shape, dtype=np.float32)
    flat, out = given.reshape(-1), converted.reshape(-1)
    for start in range(0, flat.size, _PART):
        part = slice(start, start + _PART)
        out[part] = convert(flat[part].astype(np.float64))
    return converted
