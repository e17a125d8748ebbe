"""Means with bootstrap intervals, resampled by patient: slices of one patient are no independent evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], groups: Sequence[str], *, seed: int = 0) -> Interval:
    """Mean over all values, with the percentile interval from resampling whole groups with replacement.

    Args:
        values: one number per image.
        groups: the patient of each image (or another name per image, if images are independent).
        seed: of the resampling.
    """
    names = sorted(set(groups))
    sums = np.array([sum(v for v, group in zip(values, groups, strict=True) if group == name) for name in names])
    counts = np.array([list(groups).count(name) for name in names])
    drawn = np.random.default_rng(seed).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean=float(np.mean(values)), low=float(low), high=float(high))
