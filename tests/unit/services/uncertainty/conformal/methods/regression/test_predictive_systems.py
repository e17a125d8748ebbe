from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from services.uncertainty.conformal.methods.regression.interval_bands import around_points
from services.uncertainty.conformal.methods.regression.predictive_systems import PredictiveSystem, fit_predictive_system
from services.uncertainty.conformal.methods.regression.split_regression import calibrate

coarse = st.integers(-6, 6).map(lambda value: value / 2)


@given(st.lists(coarse, max_size=12), coarse, st.floats(0, 1))
def test_probability_by_counting(residuals: list[float], value: float, tau: float) -> None:
    system = fit_predictive_system(np.zeros(len(residuals)), residuals)
    found = system.predict([1.0], difficulty=[2.0]).probabilities([value], tau=tau)[0]
    places = [1 + 2 * residual for residual in residuals]
    below, ties = sum(place < value for place in places), sum(place == value for place in places)
    assert found == pytest.approx((below + tau * (ties + 1)) / (len(places) + 1))


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(-8, 8), st.floats(0.5, 3))
def test_crps_is_its_integral(residuals: list[float], value: float, unit: float) -> None:
    predictive = fit_predictive_system(np.zeros(len(residuals)), residuals).predict([1.0], difficulty=[unit])
    places = sorted(1 + unit * residual for residual in residuals)

    def integrand(at: float) -> float:
        share = sum(place <= at for place in places) / len(places)
        return (share - (value <= at)) ** 2

    corners = sorted({*places, value})
    area = sum((high - low) * integrand((low + high) / 2) for low, high in pairwise(corners))
    assert predictive.crps([value])[0] == pytest.approx(area, abs=1e-9)


def test_crps_of_a_normal_distribution() -> None:
    """Closed form for N(0, 1) at y: y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi)."""
    ordered = norm.ppf((np.arange(20000) + 0.5) / 20000)
    predictive = fit_predictive_system(np.zeros(20000), ordered).predict([0.0, 0.0])
    values = np.array([0.0, 1.3])
    expected = values * (2 * norm.cdf(values) - 1) + 2 * norm.pdf(values) - 1 / math.sqrt(math.pi)
    np.testing.assert_allclose(predictive.crps(values), expected, atol=1e-4)


def test_probabilities_of_the_truth_are_uniform_in_each_group() -> None:
    random = np.random.default_rng(0)
    groups = np.where(random.random(6000) < 0.4, "a", "b")
    values = random.normal(size=6000) * np.where(groups == "a", 1, 5) + np.where(groups == "a", 0, 3)
    system = fit_predictive_system(np.zeros(3000), values[:3000], groups=groups[:3000])
    predictive = system.predict(np.zeros(3000), groups=groups[3000:])
    chances = predictive.probabilities(values[3000:], tau=random.random(3000))
    for label in ("a", "b"):
        assert kstest(chances[groups[3000:] == label], "uniform").pvalue > 1e-3


def test_quantiles_by_rank() -> None:
    system = fit_predictive_system(np.zeros(9), np.arange(1.0, 10))
    predictive = system.predict([100.0], difficulty=[2.0])
    asked = {level: [float(predictive.quantiles(level, side=side)[0]) for side in ("lower", "higher")]
             for level in (0.05, 0.5, 0.55, 0.95)}  # fmt: skip
    assert asked == {
        0.05: [-math.inf, 102.0],
        0.5: [110.0, 110.0],
        0.55: [110.0, 112.0],
        0.95: [118.0, math.inf],
    }
    np.testing.assert_array_equal(predictive.intervals(0.2), [[102.0], [118.0]])
    assert np.isinf(predictive.intervals(0.1)).all()


def test_intervals_agree_with_asymmetric_regression() -> None:
    random = np.random.default_rng(1)
    points, values = random.normal(size=50), random.normal(size=50)
    lower, upper = fit_predictive_system(points, values).predict([3.0]).intervals(0.1)
    intervals = calibrate(around_points(points), values, score="absolute", asymmetric=True).intervals(
        around_points([3.0]), 0.1
    )
    np.testing.assert_allclose(lower, intervals.lower)
    np.testing.assert_allclose(upper, intervals.upper)


def test_unknown_groups_know_nothing() -> None:
    system = fit_predictive_system([0.0, 0.0], [1.0, 2.0], groups=["a", "a"])
    predictive = system.predict([0.0], groups=["b"])
    assert predictive.probabilities(3.0, tau=0.25)[0] == 0.25
    assert predictive.quantiles(0.5, side="lower")[0] == -math.inf
    assert np.isnan(predictive.crps([0.0])[0])


def test_a_stored_system_is_the_same() -> None:
    random = np.random.default_rng(2)
    points, values = random.normal(size=(2, 40))
    system = fit_predictive_system(points, values, groups=np.where(points > 0, "up", "down"))
    back = PredictiveSystem.from_arrays(system.to_arrays(), json.loads(json.dumps(system.metadata())))
    for one, other in zip(system.residuals.cells, back.residuals.cells, strict=True):
        assert one.label == other.label
        np.testing.assert_array_equal(one.scores, other.scores)
    with pytest.raises(ValueError, match="format"):
        PredictiveSystem.from_arrays(system.to_arrays(), {**system.metadata(), "format": 9})


def test_bad_arguments_are_refused() -> None:
    predictive = fit_predictive_system([0.0], [1.0]).predict([0.0])
    with pytest.raises(ValueError, match="tau"):
        predictive.probabilities(0.0, tau=1.5)
    with pytest.raises(ValueError, match="level"):
        predictive.quantiles(1.5, side="lower")
    with pytest.raises(ValueError, match="positive"):
        fit_predictive_system([0.0], [1.0], difficulty=[0.0])
