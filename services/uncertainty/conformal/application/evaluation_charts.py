"""Charts of evaluations: coverage of classes or of tenths of interval length, and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.schemas.evaluations import EvaluationAnswer, StratumCoverage
from shared.imaging.charts import Bar, Curve, Plot, widen_range

SHOWN_SIZES: Final = 60
"""Bars of a histogram of sizes; more sizes share bars."""


def draw_coverage(answer: EvaluationAnswer) -> Plot:
    """Draw a histogram of the coverage of classes, or of tenths of interval length."""
    measured = answer.classification
    strata: Sequence[StratumCoverage] = (
        measured.by_class if measured else answer.regression.by_length if answer.regression else ()
    )
    shares = [one.coverage for one in strata if one.coverage is not None]
    counts, edges = np.histogram(shares, bins=20, range=(0, 1))
    top = float(counts.max(initial=1)) * 1.1
    target = 1 - answer.alpha
    what = "classes" if measured else "tenths of interval length"
    return Plot(
        title=f"Coverage of {what}: {answer.coverage.coverage:.3f} of all items at alpha {answer.alpha:g}",
        x_label=f"coverage; dashed: 1 - alpha = {target:g}",
        y_label=what,
        x_range=(0, 1),
        y_range=(0, top),
        bars=[Bar(float(edges[index]), float(edges[index + 1]), float(count)) for index, count in enumerate(counts)],
        curves=[Curve([(target, 0), (target, top)], dashed=True)],
    )


def draw_sizes(sizes: NDArray[np.float64], most: int | None, alpha: float) -> Plot:
    """Draw a histogram of set sizes, or of interval lengths.

    Args:
        sizes: of each set or interval, (N,); infinite ones are left out.
        most: number of classes K, the largest possible size; None for lengths.
        alpha: level.
    """
    sizes = sizes[np.isfinite(sizes)]
    if most is not None:
        largest = int(sizes.max(initial=1))
        edges = np.arange(-0.5, largest + 1) if largest < SHOWN_SIZES else np.linspace(-0.5, largest + 0.5, SHOWN_SIZES)
    else:
        low, high = float(sizes.min(initial=0)), float(sizes.max(initial=0))
        edges = np.linspace(*widen_range(low, high), 31)
    counts, _ = np.histogram(sizes, bins=edges)
    what = "sets" if most is not None else "intervals"
    label = "labels in the set" if most is not None else "length"
    mean = f"{sizes.mean():.3g}" if len(sizes) else "none finite"
    return Plot(
        title=f"Size of {what} at alpha {alpha:g}: mean {mean}",
        x_label=label,
        y_label=what,
        x_range=(float(edges[0]), float(edges[-1])),
        y_range=(0, float(counts.max(initial=1)) * 1.1),
        bars=[Bar(float(edges[index]), float(edges[index + 1]), float(count)) for index, count in enumerate(counts)],
    )
