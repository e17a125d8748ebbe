"""Summaries of a calibration: thresholds, coverage laws and sizes, for each cell and each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from services.uncertainty.conformal.methods.coverage_distribution import coverage_band, expected_coverage
from services.uncertainty.conformal.methods.levels import needed_count
from services.uncertainty.conformal.methods.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.regression import RegressionCalibration
from services.uncertainty.conformal.methods.taxonomies import ByCluster, ByGroup, ByLabel, Taxonomy
from services.uncertainty.conformal.methods.weighted_calibration import WeightedCalibration
from services.uncertainty.conformal.schemas.calibrations import (
    CellSummary,
    CellThreshold,
    ClassificationOptions,
    LevelSummary,
    RegressionOptions,
)
from services.uncertainty.conformal.storage.serialization import ClassifierCalibration

_SIDES: tuple[Literal["below", "above"], ...] = ("below", "above")


def finite_or_none(value: float) -> float | None:
    """Convert to what JSON can hold: None for infinite numbers and NaN."""
    return float(value) if math.isfinite(value) else None


def summarize_cells(calibration: ClassifierCalibration, options: ClassificationOptions) -> list[CellSummary]:
    """Summarize the cells of a classifier's calibration."""
    if isinstance(calibration, WeightedCalibration):
        return [_weighted_cell(calibration, options.alpha)]
    if isinstance(calibration, RankCalibration):
        return _ranked_cells(calibration, options.alpha)
    counts = [int(one) for one in calibration.cells.counts]
    columns = [(alpha, calibration.thresholds(alpha)) for alpha in options.alpha]
    # Clusters' null cell holds all items, those of the clusters too; the law is known for each.
    return [
        CellSummary(
            cell=name,
            n=count,
            effective_n=count,
            thresholds=[_threshold(alpha, float(values[index]), count) for alpha, values in columns],
        )
        for index, (name, count) in enumerate(zip(_names(calibration.taxonomy), counts, strict=True))
    ]


def summarize_regression_cells(calibration: RegressionCalibration, options: RegressionOptions) -> list[CellSummary]:
    """Summarize the cells of a regression's calibration; those of each side if it is asymmetric."""
    summaries = []
    sides = _SIDES if calibration.asymmetric else ("both",)
    for side, tail in zip(sides, calibration.tails, strict=True):
        for cell in tail.cells:
            weighted = cell.weights is not None
            thresholds = []
            for alpha in options.alpha:
                level = alpha / len(calibration.tails)
                mean = None if cell.weights is None else np.array([cell.weights.mean()])
                groups = None if cell.label == "" else [cell.label]
                q = float(tail.quantiles(level, 1, groups=groups, weights=mean)[0])
                one = _threshold(level, q, cell.scores.size, lawful=not weighted)
                thresholds.append(one.model_copy(update={"alpha": alpha}))
            summaries.append(
                CellSummary(
                    cell=cell.label or "all",
                    tail=side,
                    n=cell.scores.size,
                    effective_n=cell.effective_count,
                    thresholds=thresholds,
                )
            )
    return summaries


def summarize_levels(
    alphas: Sequence[float], cells: Sequence[CellSummary], sizes: Sequence[float | None]
) -> list[LevelSummary]:
    """Summarize each level over all cells.

    Args:
        alphas: miscoverage levels.
        cells: with a threshold for each level.
        sizes: expected set size or interval length at each level, None where infinite.
    """
    return [
        LevelSummary(
            alpha=alpha,
            n_required=needed_count(alpha),
            unbounded_cells=sum(cell.thresholds[index].q is None for cell in cells),
            expected_size=size,
        )
        for index, (alpha, size) in enumerate(zip(alphas, sizes, strict=True))
    ]


def warn_of_small_cells(cells: Sequence[CellSummary]) -> list[str]:
    """Write a warning for each level at which cells have too few scores for a finite threshold."""
    warnings = []
    for index, first in enumerate(cells[0].thresholds):
        small = [cell for cell in cells if cell.n < cell.thresholds[index].n_required]
        if small:
            named = ", ".join(f"{cell.cell} ({cell.n})" for cell in small[:5]) + (", ..." if len(small) > 5 else "")
            warnings.append(
                f"At alpha {first.alpha:g} a finite threshold needs {first.n_required} scores in a cell; too few are "
                f"in {len(small)} of {len(cells)}: {named}. There the threshold is infinite and everything is in."
            )
    return warnings


def _threshold(
    alpha: float, value: float, count: int, *, lawful: bool = True, rank_limit: int | None = None
) -> CellThreshold:
    band, mean = _law(count, alpha) if lawful else (None, None)
    return CellThreshold(
        alpha=alpha,
        q=finite_or_none(value),
        n_required=needed_count(alpha),
        rank_limit=rank_limit,
        coverage_band=band,
        expected_coverage=mean,
    )


@lru_cache(maxsize=4096)
def _law(count: int, alpha: float) -> tuple[tuple[float, float], float]:
    return coverage_band(count, alpha), expected_coverage(count, alpha)


def _weighted_cell(calibration: WeightedCalibration, alphas: Sequence[float]) -> CellSummary:
    """For a test item of the mean weight; a heavier one has a larger threshold."""
    weights = calibration.scores.weights
    mean = np.array([weights.mean()])
    return CellSummary(
        cell="all",
        n=len(weights),
        effective_n=calibration.effective_size,
        thresholds=[
            _threshold(alpha, float(calibration.scores.quantiles(mean, alpha)[0]), len(weights), lawful=False)
            for alpha in alphas
        ],
    )


def _ranked_cells(calibration: RankCalibration, alphas: Sequence[float]) -> list[CellSummary]:
    columns = [(alpha, *calibration.limits(alpha)) for alpha in alphas]
    return [
        CellSummary(
            cell=f"class {label}",
            n=int(count),
            effective_n=int(count),
            thresholds=[
                _threshold(alpha, float(values[label]), int(count), lawful=False, rank_limit=int(limits[label]))
                for alpha, values, limits in columns
            ],
        )
        for label, count in enumerate(calibration.scores.counts)
    ]


def _names(taxonomy: Taxonomy) -> list[str]:
    if isinstance(taxonomy, ByLabel):
        return [f"class {label}" for label in range(taxonomy.classes)]
    if isinstance(taxonomy, ByCluster):
        return [*(f"cluster {index}" for index in range(taxonomy.count)), "other classes"]
    if isinstance(taxonomy, ByGroup):
        if not taxonomy.with_labels:
            return [f"group {group}" for group in taxonomy.known]
        return [f"group {group}, class {label}" for group in taxonomy.known for label in range(taxonomy.classes)]
    return ["all"]
