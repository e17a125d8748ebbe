"""Intervals of shares, as reports of several capabilities give them."""

from __future__ import annotations

import math
from typing import Final

LEVEL: Final = 0.95
"""Of all intervals."""


def wilson_interval(share: float, count: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), without a correction for continuity.

    Args:
        share: 0 to 1; of trials, some of which may belong together.
        count: independent trials, above 0.
    """
    from scipy.stats import norm

    z = float(norm.ppf((1 + LEVEL) / 2))
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
