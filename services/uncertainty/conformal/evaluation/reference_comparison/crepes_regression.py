"""Comparison with crepes on the same numbers. Imports crepes, in functions only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import conformal_rank
from services.uncertainty.conformal.methods.regression.interval_bands import (
    Band,
    around_points,
    around_points_normalised,
)
from services.uncertainty.conformal.methods.regression.predictive_systems import fit_predictive_system
from services.uncertainty.conformal.methods.regression.split_regression import calibrate

COUNT, TESTS = 503, 200
ALPHAS = (0.01, 0.05, 0.1, 0.2)
KINDS = ("standard", "normalised", "Mondrian", "normalised Mondrian")


class _Data:
    """Points, labels, difficulties and groups of calibration and test, the same for every check."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        size = COUNT + TESTS
        points, difficulty = random.normal(size=size), random.uniform(0.3, 3, size)
        values = points + difficulty * random.normal(size=size)
        groups = np.array(["a", "b", "c"])[random.integers(0, 3, size)]
        self.points, self.more_points = points[:COUNT], points[COUNT:]
        self.difficulty, self.more_difficulty = difficulty[:COUNT], difficulty[COUNT:]
        self.values, self.more_values = values[:COUNT], values[COUNT:]
        self.groups, self.more_groups = groups[:COUNT], groups[COUNT:]

    def options(self, kind: str, *, more: bool) -> dict[str, Any]:
        """Difficulty and groups as ours takes them."""
        chosen: dict[str, Any] = {}
        if "normalised" in kind:
            chosen["difficulty"] = self.more_difficulty if more else self.difficulty
        if "Mondrian" in kind:
            chosen["groups"] = self.more_groups if more else self.groups
        return chosen


def _theirs(options: dict[str, Any]) -> dict[str, Any]:
    names = {"difficulty": "sigmas", "groups": "bins"}
    return {names[name]: value for name, value in options.items()}


def _band(points: FloatArray, options: dict[str, Any]) -> Band:
    return around_points_normalised(points, options["difficulty"]) if "difficulty" in options else around_points(points)


def _intervals(kind: str) -> FloatArray:
    from crepes import ConformalRegressor

    data, differences = _Data(), []
    known, asked = data.options(kind, more=False), data.options(kind, more=True)
    theirs = ConformalRegressor().fit(data.values - data.points, **_theirs(known))
    ours = calibrate(_band(data.points, known), data.values, score=kind, groups=known.get("groups"))
    for alpha in ALPHAS[1:]:
        expected = theirs.predict_int(data.more_points, confidence=1 - alpha, **_theirs(asked))
        found = ours.intervals(_band(data.more_points, asked), alpha, groups=asked.get("groups"))
        differences += [expected[:, 0] - found.lower, expected[:, 1] - found.upper]
    return np.concatenate(differences)


def _systems(kind: str) -> tuple[Any, Any, dict[str, Any], _Data]:
    from crepes import ConformalPredictiveSystem

    data = _Data()
    known, asked = data.options(kind, more=False), data.options(kind, more=True)
    theirs = ConformalPredictiveSystem().fit(data.values - data.points, **_theirs(known))
    ours = fit_predictive_system(data.points, data.values, **known).predict(data.more_points, **asked)
    return theirs, ours, _theirs(asked), data


def _percentiles(kind: str) -> FloatArray:
    theirs, ours, asked, data = _systems(kind)
    differences = []
    for percent in (5, 25, 50, 90):
        low = theirs.predict_percentiles(data.more_points, lower_percentiles=percent, **asked)
        high = theirs.predict_percentiles(data.more_points, higher_percentiles=percent, **asked)
        differences += [
            low.ravel() - ours.quantiles(str(percent / 100), side="lower"),
            high.ravel() - ours.quantiles(str(percent / 100), side="higher"),
        ]
    return np.concatenate(differences)


def _probabilities(kind: str) -> FloatArray:
    theirs, ours, asked, data = _systems(kind)
    np.random.seed(7)  # noqa: NPY002 - crepes draws from the global generator
    draws = np.random.rand(TESTS)  # noqa: NPY002
    smoothed = theirs.predict_p(data.more_points, data.more_values, seed=7, **asked)
    plain = theirs.predict_p(data.more_points, data.more_values, smoothing=False, **asked)
    return np.concatenate(
        [
            np.ravel(smoothed) - ours.probabilities(data.more_values, tau=draws),
            np.ravel(plain) - ours.probabilities(data.more_values, tau=1.0),
        ]
    )


def _crps(kind: str) -> FloatArray:
    theirs, ours, asked, data = _systems(kind)
    expected = theirs.evaluate(data.more_points, data.more_values, metrics=["CRPS"], **asked)["CRPS"]
    return np.array([expected - ours.crps(data.more_values).mean()])


def _rank_departure() -> dict[str, Any]:
    """Sample sizes up to 2,000 at which the floor of a float differs from the exact rank."""
    wrong = {
        str(alpha): [n for n in range(1, 2001) if n - int((1 - (1 - alpha)) * (n + 1)) + 1 != conformal_rank(n, alpha)]
        for alpha in (*ALPHAS, 0.3)
    }
    from crepes import ConformalRegressor

    nine = ConformalRegressor().fit(np.arange(1.0, 10)).predict_int(np.zeros(1), confidence=0.9)
    ours = calibrate(around_points(np.zeros(9)), np.arange(1.0, 10), score="absolute")
    return {
        "what": "ranks from int((1 - confidence) (n + 1)) in floats are one too high where the product should be whole",
        "sizes_of_2000_at_alpha": {alpha: len(sizes) for alpha, sizes in wrong.items()},
        "nine_residuals_at_90_percent": {
            "crepes": [str(end) for end in nine[0].tolist()],
            "ours": [float(end[0]) for end in _ends(ours.intervals(around_points([0.0]), "0.1"))],
        },
    }


def _ends(intervals: Any) -> tuple[FloatArray, FloatArray]:
    return intervals.lower, intervals.upper


def _crps_departure() -> dict[str, Any]:
    """One point with difficulty 2 on two residuals: the integral is done by hand."""
    from crepes import ConformalPredictiveSystem

    residuals, unit, value = np.array([0.0, 1.0]), np.array([2.0]), np.array([0.5])
    theirs = ConformalPredictiveSystem().fit(residuals, sigmas=np.ones(2))
    expected = theirs.evaluate(np.zeros(1), value, sigmas=unit, metrics=["CRPS"])["CRPS"]
    ours = fit_predictive_system(np.zeros(2), residuals).predict([0.0], difficulty=unit).crps(value)[0]
    return {
        "what": "in the step that holds y, CRPS multiplies by the difficulty what is in the unit of y already",
        "residuals": [0, 1],
        "difficulty": 2,
        "y": 0.5,
        "by_hand": 0.25 * 0.5 + 0.25 * 1.5,
        "crepes": float(expected),
        "ours": float(ours),
    }


CHECKS: dict[str, Callable[[], FloatArray]] = {
    **{f"crepes, {kind} intervals": partial(_intervals, kind) for kind in KINDS},
    **{f"crepes, {kind} percentiles": partial(_percentiles, kind) for kind in KINDS},
    **{f"crepes, {kind} probabilities": partial(_probabilities, kind) for kind in KINDS},
    **{f"crepes, {kind} CRPS": partial(_crps, kind) for kind in KINDS if "normalised" not in kind},
}
DEPARTURES: dict[str, Callable[[], dict[str, Any]]] = {
    "crepes, rank in floats": _rank_departure,
    "crepes, CRPS with difficulties": _crps_departure,
}
