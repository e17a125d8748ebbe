"""Summaries of a calibration: thresholds, coverage laws and sizes, for each cell and each level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.class_labels import ClassLabels, name_class
from services.uncertainty.conformal.methods.classification.rank_calibration import RankCalibration
from services.uncertainty.conformal.methods.classification.taxonomies import ByCluster, ByGroup, ByLabel, Taxonomy
from services.uncertainty.conformal.methods.classification.weighted_calibration import WeightedCalibration
from services.uncertainty.conformal.methods.coverage_distribution import coverage_band, expected_coverage
from services.uncertainty.conformal.methods.levels import needed_count, to_level
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration
from services.uncertainty.conformal.methods.sorted_scores import EVERYTHING, SortedScores
from services.uncertainty.conformal.methods.ties import find_ties
from services.uncertainty.conformal.schemas.calibrations import (
    CellSummary,
    CellThreshold,
    ClassificationOptions,
    LevelSummary,
    RegressionOptions,
)
from services.uncertainty.conformal.storage.serialization import AnyCalibration, ClassifierCalibration

_SIDES: tuple[Literal["below", "above"], ...] = ("below", "above")


def finite_or_none(value: float) -> float | None:
    """Convert to what JSON can hold: None for infinite numbers and NaN."""
    return float(value) if math.isfinite(value) else None


def summarize_cells(
    calibration: ClassifierCalibration, options: ClassificationOptions, called: ClassLabels | None
) -> list[CellSummary]:
    """Summarize the cells of a classifier's calibration, whose classes are called so."""
    if isinstance(calibration, WeightedCalibration):
        return [_weighted_cell(calibration, options.alpha)]
    if isinstance(calibration, RankCalibration):
        return _ranked_cells(calibration, options.alpha, called)
    columns = [(alpha, calibration.thresholds(alpha)) for alpha in options.alpha]
    # The null cell of clusters holds the scores of all classes, and is for the rare ones: theirs is another law.
    null_cell = len(calibration.cells) - 1 if isinstance(calibration.taxonomy, ByCluster) else None
    alone = calibration.taxonomy.cells == 1
    return [
        CellSummary(
            cell=name,
            n=int(calibration.cells.cell(index).size),
            effective_n=int(calibration.cells.cell(index).size),
            thresholds=[
                _threshold(
                    alpha, float(values[index]), calibration.cells.cell(index), lawful=alone or index != null_cell
                )
                for alpha, values in columns
            ],
        )
        for index, name in enumerate(_names(calibration.taxonomy, called))
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
                alone = SortedScores((replace(cell, label=EVERYTHING),))
                mean = None if cell.weights is None else np.array([cell.weights.mean()])
                q = float(alone.quantiles(level, 1, weights=mean)[0])
                one = _threshold(level, q, cell.scores, lawful=not weighted)
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


def summarize_all_cells(
    calibration: AnyCalibration, options: ClassificationOptions | RegressionOptions, called: ClassLabels | None
) -> list[CellSummary]:
    """Summarize the cells of a calibration of either kind, whose classes are called so."""
    if isinstance(calibration, RegressionCalibration):
        if not isinstance(options, RegressionOptions):
            raise TypeError("options of a regression are expected")
        return summarize_regression_cells(calibration, options)
    if not isinstance(options, ClassificationOptions):
        raise TypeError("options of a classification are expected")
    return summarize_cells(calibration, options, called)


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
            n_required=needed_count(to_level(alpha) / (1 if all(cell.tail == "both" for cell in cells) else 2)),
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
            named = ", ".join(_name_small(cell) for cell in small[:5]) + (", ..." if len(small) > 5 else "")
            required = sorted({cell.thresholds[index].n_required for cell in small})
            span = f"{required[0]}" if len(required) == 1 else f"{required[0]} to {required[-1]}"
            limited = any(cell.thresholds[index].rank_limit is not None for cell in small)
            cut = " up to its rank limit" if limited else ""
            warnings.append(
                f"At alpha {first.alpha:g} a finite threshold needs {span} scores in a cell; too few are in "
                f"{len(small)} of {len(cells)}: {named}. There the threshold is infinite and everything is in{cut}."
            )
    return warnings


def _name_small(cell: CellSummary) -> str:
    side = "" if cell.tail == "both" else f" {cell.tail}"
    return f"{cell.cell}{side} ({cell.n})"


def _threshold(
    alpha: float,
    value: float,
    ordered: NDArray[np.float64],
    *,
    lawful: bool = True,
    rank_limit: int | None = None,
    required: int | None = None,
) -> CellThreshold:
    """Summarize a threshold of a cell with scores (n,), ascending."""
    ties = find_ties(ordered, alpha) if lawful else None
    band, mean = _law(len(ordered), alpha, ties.near) if ties is not None else (None, None)
    return CellThreshold(
        alpha=alpha,
        q=finite_or_none(value),
        n_required=required or needed_count(alpha),
        rank_limit=rank_limit,
        tied=ties.equal or None if ties is not None else None,
        one_sided=ties is not None and ties.near,
        coverage_band=band,
        expected_coverage=mean,
    )


@lru_cache(maxsize=4096)
def _law(count: int, alpha: float, tied: bool) -> tuple[tuple[float, float], float]:
    return coverage_band(count, alpha, tied=tied), expected_coverage(count, alpha)


def _weighted_cell(calibration: WeightedCalibration, alphas: Sequence[float]) -> CellSummary:
    """For a test item of the mean weight; a heavier one has a larger threshold."""
    weights = calibration.scores.weights
    mean = np.array([weights.mean()])
    return CellSummary(
        cell="all",
        n=len(weights),
        effective_n=calibration.effective_size,
        thresholds=[
            _threshold(
                alpha, float(calibration.scores.quantiles(mean, alpha)[0]), calibration.scores.scores, lawful=False
            )
            for alpha in alphas
        ],
    )


def _ranked_cells(
    calibration: RankCalibration, alphas: Sequence[float], called: ClassLabels | None
) -> list[CellSummary]:
    columns = [(alpha, *calibration.limits(alpha)) for alpha in alphas]
    return [
        CellSummary(
            cell=name_class(called, label),
            n=int(count),
            effective_n=int(count),
            thresholds=[
                _threshold(
                    alpha,
                    float(values[label]),
                    calibration.scores.cell(label),
                    lawful=False,
                    rank_limit=int(limits[label]),
                    required=_required_by_rank(calibration, label, alpha, int(limits[label])),
                )
                for alpha, values, limits in columns
            ],
        )
        for label, count in enumerate(calibration.scores.counts)
    ]


def _required_by_rank(calibration: RankCalibration, label: int, alpha: float, limit: int) -> int:
    """Scores that a finite threshold needs at alpha less the share of examples that the rank limit gives up."""
    ranks = calibration.ranks.cell(label)
    if not len(ranks):
        return needed_count(alpha)
    return needed_count(to_level(alpha) - Fraction(int((ranks > limit).sum()), len(ranks)))


def warn_of_ties(cells: Sequence[CellSummary]) -> list[str]:
    """Write a warning for each level at which scores tie near thresholds: upper limits are then not stated."""
    warnings = []
    for index, first in enumerate(cells[0].thresholds):
        tied = [cell for cell in cells if cell.thresholds[index].one_sided]
        if tied:
            equal = sum(cell.thresholds[index].tied or 0 for cell in tied)
            warnings.append(
                f"At alpha {first.alpha:g} scores tie near the threshold in {len(tied)} of {len(cells)} cells ({equal} "
                "are equal to it): coverage may be higher than 1 - alpha, and only lower limits of it are stated. "
                "`smoothed` predictions, or a randomised score, break ties by a draw."
            )
    return warnings


def warn_of_weights(cells: Sequence[CellSummary]) -> list[str]:
    """Write a warning where weights leave too little data: fewer equal weights than a finite threshold needs."""
    poor = [cell for cell in cells if cell.effective_n < cell.n and cell.thresholds]
    needed = [(cell, max(one.n_required for one in cell.thresholds)) for cell in poor]
    return [
        f"The weights of cell {cell.cell} say no more than {cell.effective_n:.3g} equal ones, and its levels need "
        f"{most}: a few items decide the threshold, and another draw of them would give another one."
        for cell, most in needed
        if cell.effective_n < most
    ]


def _names(taxonomy: Taxonomy, called: ClassLabels | None) -> list[str]:
    if isinstance(taxonomy, ByLabel):
        return [name_class(called, label) for label in range(taxonomy.classes)]
    if isinstance(taxonomy, ByCluster):
        return [*(f"cluster {index}" for index in range(taxonomy.count)), "other classes"]
    if isinstance(taxonomy, ByGroup):
        if not taxonomy.with_labels:
            return [f"group {group}" for group in taxonomy.known]
        classes = [name_class(called, label) for label in range(taxonomy.classes)]
        return [f"group {group}, {one}" for group in taxonomy.known for one in classes]
    return ["all"]
