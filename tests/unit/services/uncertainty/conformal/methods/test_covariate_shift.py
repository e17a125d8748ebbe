from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_expit

from services.uncertainty.conformal.methods.covariate_shift import fit_density_ratio


def test_slopes_of_shifted_normal_inputs_are_the_shift() -> None:
    """log N(x; d, 1) - log N(x; 0, 1) = d x - d^2 / 2."""
    random = np.random.default_rng(0)
    shift = np.array([0.8, -0.5])
    ratio = fit_density_ratio(random.normal(size=(40_000, 2)), random.normal(shift, 1, (20_000, 2)))
    assert ratio.converged
    np.testing.assert_allclose(ratio.slopes, shift, atol=0.04)
    assert ratio.intercept == pytest.approx(-shift @ shift / 2, abs=0.04), "samples of different sizes are allowed for"


def test_fit_is_the_maximum_of_the_likelihood() -> None:
    random = np.random.default_rng(1)
    source, target = (
        random.exponential(size=(90, 3)) * [1, 100, 0.01],
        random.exponential(1.3, (60, 3)) * [1, 100, 0.01],
    )
    ratio = fit_density_ratio(source, target, ridge=0)
    scale = np.array([1, 100, 0.01])

    def loss(coefficients: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        scores = [coefficients[0] + rows / scale @ coefficients[1:] for rows in (source, target)]
        return -float(log_expit(-scores[0]).sum() + log_expit(scores[1]).sum())

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(ratio.slopes * scale, best[1:], atol=1e-4)


def test_separable_samples_have_a_finite_answer() -> None:
    ratio = fit_density_ratio(np.arange(10.0)[:, None], 100 + np.arange(10.0)[:, None])
    weights = ratio.weights([[0.0], [100.0], [1e9]])
    assert np.isfinite(weights).all()
    assert weights[1] > 1e6 * weights[0]


def test_constant_inputs_say_nothing() -> None:
    ratio = fit_density_ratio(np.ones((5, 1)), np.ones((9, 1)))
    assert ratio.converged
    assert ratio.weights([[1.0]])[0] == pytest.approx(1, abs=1e-6)


def test_bad_samples_are_refused() -> None:
    for source, target in ((np.ones((2, 2)), np.ones((2, 3))), (np.empty((0, 2)), np.ones((2, 2))), ([1.0], [2.0])):
        with pytest.raises(ValueError, match=r"shape|points"):
            fit_density_ratio(source, target)
