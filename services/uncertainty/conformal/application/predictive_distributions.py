"""Predictive distributions of posted points; nothing of them is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.uncertainty.conformal.application.calibration_summaries import finite_or_none
from services.uncertainty.conformal.application.costs import refuse_costly
from services.uncertainty.conformal.application.named_arrays import NamedArrays
from services.uncertainty.conformal.application.validation import LARGEST, check_count, check_test_count, check_values
from services.uncertainty.conformal.interruption import check_interruption
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.regression.predictive_systems import Predictive, fit_predictive_system
from services.uncertainty.conformal.schemas.controls import Distribution, DistributionAnswer, DistributionOptions
from shared.problems import field_problem

DISTRIBUTION_ARRAYS: Final[Mapping[str, str]] = {
    "predictions": "Of calibration points (n,)",
    "targets": "What was observed (n,)",
    "difficulty": "Expected size of the error (n,), positive",
    "groups": "A group of each point (n,)",
    "test_predictions": "Of test points (m,)",
    "test_difficulty": "Of test points (m,), where `difficulty` is given",
    "test_groups": "Of test points (m,), where `groups` are given",
    "test_targets": "What was observed at the test points (m,), for the CRPS",
}

_GUARANTEE: Final = (
    "If calibration and test points are exchangeable, the distribution function at the true value is uniform up to "
    "1/(n + 1): intervals between quantiles cover as often as they say, over the draw of all points{groups}."
)


def predict_distributions(source: NamedArrays, options: DistributionOptions) -> DistributionAnswer:
    """Predict a calibrated distribution for each test point (Vovk et al. 2017).

    Raises:
        UnprocessableContent: arrays are missing or wrong, or there are too many test points.
    """
    source.refuse_others(DISTRIBUTION_ARRAYS)
    points = check_values(source.require_numbers("predictions"), "/body/predictions")
    targets = check_values(source.require_numbers("targets"), "/body/targets", count=len(points))
    test_points = check_values(source.require_numbers("test_predictions"), "/body/test_predictions")
    check_test_count(len(test_points), "/body/test_predictions")
    unit, test_unit = (
        _read_difficulty(source, "difficulty", len(points)),
        _read_difficulty(source, "test_difficulty", len(test_points)),
    )
    groups, test_groups = (
        _read_groups(source, "groups", len(points)),
        _read_groups(source, "test_groups", len(test_points)),
    )
    asked = len(options.quantiles) + len(options.values) + 2
    cells = 1 if groups is None else len(np.unique(groups))
    work = len(test_points) * asked * 1.5e-6 + cells * (asked * 1.5e-5 + 5e-5)
    what = f"{asked} quantiles and probabilities of {len(test_points)} points, in {cells} groups,"
    refuse_costly("/body/test_predictions", what, numbers=len(points) + len(test_points), seconds=work)
    for name, one, other in (("difficulty", unit, test_unit), ("groups", groups, test_groups)):
        if (one is None) != (other is None):
            raise field_problem(f"/body/test_{name}", f"{name} and test_{name} are given together or not at all.")
    system = fit_predictive_system(points, targets, difficulty=unit, groups=groups)
    predictive = system.predict(test_points, difficulty=test_unit, groups=test_groups)
    observed = source.read_numbers("test_targets")
    if observed is not None:
        observed = check_values(observed, "/body/test_targets", count=len(test_points))
    return DistributionAnswer(
        n=len(points),
        quantiles=options.quantiles,
        values=options.values,
        distributions=_list_distributions(predictive, options, observed),
        guarantee=_GUARANTEE.format(groups=", in each group" if groups is not None else ""),
    )


def _list_distributions(
    predictive: Predictive, options: DistributionOptions, observed: FloatArray | None
) -> list[Distribution]:
    count = predictive.points.size
    quantiles, chances = list[FloatArray](), list[FloatArray]()
    for level in options.quantiles:
        check_interruption()
        quantiles.append(predictive.quantiles(level, side="lower" if level < 0.5 else "higher"))
    for value in options.values:
        check_interruption()
        chances.append(predictive.probabilities(value))
    losses = None if observed is None else predictive.crps(observed)
    return [
        Distribution(
            quantiles=[finite_or_none(float(column[index])) for column in quantiles],
            probabilities=[float(column[index]) for column in chances],
            crps=None if losses is None else finite_or_none(float(losses[index])),
        )
        for index in range(count)
    ]


def _read_difficulty(source: NamedArrays, name: str, count: int) -> FloatArray | None:
    numbers = source.read_numbers(name)
    if numbers is None:
        return None
    values = check_values(numbers, f"/body/{name}", count=count)
    if (values < 1 / LARGEST).any():
        raise field_problem(f"/body/{name}", "Difficulties must be positive.")
    return values


def _read_groups(source: NamedArrays, name: str, count: int) -> NDArray[Any] | None:
    labels = source.read_texts(name)
    if labels is None:
        return None
    check_count(np.array(labels), f"/body/{name}", count)
    if "" in labels:
        raise field_problem(f"/body/{name}", "A group's label must not be empty.")
    return np.array(labels, np.str_)
