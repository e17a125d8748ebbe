"""The fit of a regression's calibration: which arrays a score reads, and the band that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application import guarantees
from services.uncertainty.conformal.application.calibration_summaries import (
    finite_or_none,
    summarize_levels,
    summarize_regression_cells,
    warn_of_small_cells,
    warn_of_ties,
    warn_of_weights,
)
from services.uncertainty.conformal.application.costs import refuse_thresholds
from services.uncertainty.conformal.application.fitted_calibration import (
    SIZED_ITEMS,
    FittedCalibration,
    digest_of_arrays,
)
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import LARGEST, check_count, check_values, check_weights
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.regression.interval_bands import (
    Band,
    around_median,
    around_points,
    around_points_normalised,
    around_quantiles,
    around_quantiles_by_median,
    around_quantiles_relative,
)
from services.uncertainty.conformal.methods.regression.split_regression import RegressionCalibration, calibrate
from services.uncertainty.conformal.methods.ties import count_tied
from services.uncertainty.conformal.schemas.calibrations import RegressionOptions, RegressionScore
from shared.problems import field_problem

REGRESSION_ARRAYS: Final[Mapping[str, str]] = {
    "predictions": "absolute, normalised: predictions (N,)",
    "difficulty": "normalised: expected size of the error (N,), positive",
    "lower": "cqr and its kin: predicted lower quantiles (N,)",
    "median": "cqr-m, cqr-fm: predicted medians (N,)",
    "upper": "cqr and its kin: predicted upper quantiles (N,)",
    "targets": "What was observed, (N,)",
    "groups": "A group of each item (N,), whole numbers or texts: the guarantee holds in each; of classes with the "
    "method group",
    "weights": "A weight of each item (N,), 0 or more: under covariate shift",
}

_BANDS: Final[Mapping[RegressionScore, tuple[Callable[..., Band], tuple[str, ...]]]] = {
    RegressionScore.ABSOLUTE: (around_points, ("predictions",)),
    RegressionScore.NORMALISED: (around_points_normalised, ("predictions", "difficulty")),
    RegressionScore.CQR: (around_quantiles, ("lower", "upper")),
    RegressionScore.CQR_R: (around_quantiles_relative, ("lower", "upper")),
    RegressionScore.CQR_M: (around_quantiles_by_median, ("lower", "median", "upper")),
    RegressionScore.CQR_FM: (around_median, ("lower", "median", "upper")),
}


@dataclass(frozen=True, kw_only=True)
class Points:
    """Checked arrays of a regression's points.

    Attributes:
        band: of the points.
        arrays: as posted, by name.
        targets: (N,), None where they are not known.
        groups: (N,), None where there are none.
        weights: (N,), None where there are none.
    """

    band: Band
    arrays: Mapping[str, NDArray[Any]]
    targets: FloatArray | None
    groups: NDArray[np.str_] | None
    weights: FloatArray | None

    @property
    def count(self) -> int:
        """N."""
        return int(self.band.lower.size)


def band_arrays(score: RegressionScore) -> tuple[str, ...]:
    """Name the arrays that a score reads."""
    return _BANDS[score][1]


def make_band(score: RegressionScore, arrays: Mapping[str, object]) -> Band:
    """Make the band of a score of its arrays (m,).

    Raises:
        ValueError: values that do not fit.
    """
    make, names = _BANDS[score]
    return make(*(arrays[name] for name in names))


def read_points(source: NamedArrays, score: RegressionScore, *, labelled: bool) -> Points:
    """Read and check the arrays of a regression's points.

    Args:
        source: of the arrays.
        score: says which arrays are needed.
        labelled: targets have to be there.

    Raises:
        UnprocessableContent: arrays are missing, superfluous or wrong; the pointers say where.
    """
    names = band_arrays(score)
    source.refuse_others((*names, *(["targets"] if labelled else []), "groups", "weights"))
    arrays: dict[str, NDArray[Any]] = {}
    count: int | None = None
    for name in names:
        arrays[name] = check_values(source.require_numbers(name), f"/body/{name}", count=count)
        count = len(arrays[name])
    if "difficulty" in arrays and (arrays["difficulty"] < 1 / LARGEST).any():
        index = int(np.argmax(arrays["difficulty"] < 1 / LARGEST))
        raise field_problem("/body/difficulty", f"Difficulties must be positive; that of item {index} is not.")
    targets = source.require_numbers("targets") if labelled else None
    weights, groups = source.read_numbers("weights"), source.read_texts("groups")
    size = count or 0
    if targets is not None:
        targets = check_values(targets, "/body/targets", count=size)
    if groups is not None:
        check_count(np.array(groups), "/body/groups", size)
        if "" in groups:
            raise field_problem("/body/groups", "A group's label must not be empty.")
    return Points(
        band=make_band(score, arrays),
        arrays=arrays,
        targets=targets,
        groups=None if groups is None else np.array(groups, np.str_),
        weights=None if weights is None else check_weights(weights, "/body/weights", count=size),
    )


def fit_regression(source: NamedArrays, options: RegressionOptions) -> FittedCalibration:
    """Read the arrays and calibrate on them; problems as of `read_points`."""
    points = read_points(source, options.score, labelled=True)
    _check_method(points, options)
    if points.groups is not None:
        sides = 2 if options.asymmetric else 1
        refuse_thresholds("/body/groups", len(np.unique(points.groups)) * sides, len(options.alpha))
    targets = points.targets if points.targets is not None else np.empty(0)
    calibration = calibrate(
        points.band,
        targets,
        score=options.score,
        asymmetric=options.asymmetric,
        groups=points.groups,
        weights=points.weights,
    )
    cells = summarize_regression_cells(calibration, options)
    return FittedCalibration(
        calibration=calibration,
        inputs=",".join(band_arrays(options.score)),
        count=points.count,
        classes=None,
        cells=cells,
        levels=summarize_levels(options.alpha, cells, _lengths(calibration, points, options)),
        data_digest=digest_of_arrays(_all_arrays(points)),
        guarantee=guarantees.describe_regression(
            weighted=points.weights is not None,
            grouped=points.groups is not None,
            asymmetric=options.asymmetric,
            tied=sum(count_tied(cell.scores) for tail in calibration.tails for cell in tail.cells),
        ),
        warnings=[
            *crossed_warnings(points.band),
            *warn_of_small_cells(cells),
            *warn_of_ties(cells),
            *warn_of_weights(cells),
        ],
    )


def _check_method(points: Points, options: RegressionOptions) -> None:
    """Refuse groups or weights that the stated method does not use, and a method without what it uses."""
    if options.method is None:
        return
    # Weighted quantiles can be taken in each group.
    groups_fit = points.groups is None or options.method in {"group", "weighted"}
    if not groups_fit or (options.method == "group" and points.groups is None):
        detail = "The method group needs them." if groups_fit else "These are used by the method group."
        raise field_problem("/body/groups", detail)
    if (points.weights is not None) != (options.method == "weighted"):
        detail = (
            "The method weighted needs them." if points.weights is None else "These are used by the method weighted."
        )
        raise field_problem("/body/weights", detail)


def crossed_warnings(band: Band) -> list[str]:
    """Write a warning if quantiles were out of order."""
    if not band.crossed:
        return []
    return [f"Quantiles of {band.crossed} of {band.lower.size} items were out of order and have been sorted."]


def _lengths(calibration: RegressionCalibration, points: Points, options: RegressionOptions) -> list[float | None]:
    chosen = np.unique(np.linspace(0, points.count - 1, min(SIZED_ITEMS, points.count)).astype(np.int64))
    band = make_band(options.score, {name: array[chosen] for name, array in points.arrays.items()})
    groups = None if points.groups is None else points.groups[chosen]
    weights = None if points.weights is None else points.weights[chosen]
    results = (calibration.intervals(band, alpha, groups=groups, weights=weights) for alpha in options.alpha)
    return [finite_or_none(float(intervals.lengths.mean())) for intervals in results]


def _all_arrays(points: Points) -> dict[str, NDArray[Any]]:
    results = {**points.arrays, "targets": points.targets, "groups": points.groups, "weights": points.weights}
    return {name: array for name, array in results.items() if array is not None}
