"""Intervals of accuracies: over seeds, and over pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from shared.intervals import LEVEL


@dataclass(frozen=True, slots=True)
class Spread:
    """Accuracies of several chips.

    Attributes:
        mean: of the chips.
        std: sample standard deviation; None of one chip.
        low, high: 95 % interval of the mean over chips, by Student's t, within [0, 1]; None of one chip.
        least, most: of the chips.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    least: float
    most: float


def spread_of(accuracies: Sequence[float]) -> Spread:
    """Mean and spread over chips, each of which is a seed."""
    values = np.asarray(accuracies, np.float64)
    mean, least, most = float(values.mean()), float(values.min()), float(values.max())
    if len(values) < 2:
        return Spread(mean, None, None, None, least, most)
    std = float(values.std(ddof=1))
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * std / math.sqrt(len(values))
    return Spread(mean, std, max(0.0, mean - half), min(1.0, mean + half), least, most)


def rate_of_loss(rates: Sequence[float], accuracies: Sequence[float], *, baseline: float, lost: float) -> float | None:
    """The lowest rate at which so much accuracy is lost.

    Args:
        rates: ascending, above 0.
        accuracies: means at these rates.
        baseline: accuracy at rate 0.
        lost: share of pictures.

    Returns:
        Interpolated between the two rates around it: on a logarithmic axis, and linearly below the lowest rate; None
        where no rate loses so much.
    """
    wanted = baseline - lost
    below, above = 0.0, baseline
    for rate, accuracy in zip(rates, accuracies, strict=True):
        if accuracy <= wanted:
            share = (above - wanted) / (above - accuracy) if above > accuracy else 1.0
            if below == 0:
                return rate * share
            return float(below * (rate / below) ** share)
        below, above = rate, accuracy
    return None
