"""Ties of calibration scores: where scores can be equal, the laws of coverage hold as lower limits only.

The k-th smallest of n scores with a continuous distribution covers Beta(k, n + 1 - k); with atoms it covers no less
(Vovk 2012), and how much more no finite sample says. Whether a distribution has atoms where a threshold lies is seen
from equal scores among those that the threshold could have been.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.levels import Level, conformal_rank, to_level

_DEVIATIONS = 4.0
"""Standard deviations of the rank of the true quantile that are looked at on either side of the threshold."""


@dataclass(frozen=True, slots=True)
class Ties:
    """Equal scores near a threshold.

    Attributes:
        equal: calibration scores that equal the threshold itself; 0 where it is infinite.
        near: whether any two of the scores that the threshold could have been are equal.
    """

    equal: int
    near: bool


def find_ties(ordered: NDArray[np.float64], alpha: Level) -> Ties:
    """Look for equal scores near the threshold of a level.

    Args:
        ordered: calibration scores (n,), ascending.
        alpha: miscoverage level.
    """
    rank = conformal_rank(len(ordered), alpha)
    if rank > len(ordered):
        return Ties(0, near=False)
    level = float(to_level(alpha))
    reach = math.ceil(_DEVIATIONS * math.sqrt(len(ordered) * level * (1 - level))) + 1
    window = ordered[max(0, rank - 1 - reach) : rank + reach]
    first, last = (
        np.searchsorted(ordered, ordered[rank - 1], "left"),
        np.searchsorted(ordered, ordered[rank - 1], "right"),
    )
    return Ties(int(last - first), near=bool((window[1:] == window[:-1]).any()))


def count_tied(ordered: NDArray[np.float64]) -> int:
    """Count the scores (n,), ascending, that equal another one."""
    same = ordered[1:] == ordered[:-1]
    tied = np.zeros(len(ordered), np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    return int(tied.sum())
