"""Density ratios of inputs, by telling two samples apart (Tibshirani et al. 2019, section 2.3).

A logistic regression that tells target from source inputs has odds proportional to the ratio of their densities; the
factor does not matter to weighted conformal prediction. It needs inputs of both samples, and labels of neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from services.uncertainty.conformal.methods.arrays import FloatArray, require_finite

ITERATIONS = 100
TOLERANCE = 1e-10
"""Of the gradient's largest part, per point: where Newton's steps stop."""
HALVINGS = 30
RIDGE = 1e-8
"""Penalty per point on standardised slopes: far below sampling noise, yet separable samples have a finite answer."""


@dataclass(frozen=True)
class DensityRatio:
    """Odds of the target, exp(intercept + slopes x).

    Attributes:
        intercept: logarithm of the ratio at x = 0, up to a constant.
        slopes: (d,), per unit of each input.
        converged: whether Newton's steps came to an end.
    """

    intercept: float
    slopes: FloatArray
    converged: bool

    def weights(self, inputs: object) -> FloatArray:
        """Ratio of the target to the source density, up to a factor, (n,).

        Args:
            inputs: (n, d).
        """
        logarithms = self.intercept + require_finite(inputs, "inputs", shape=(None, self.slopes.size)) @ self.slopes
        # Past e^300 all mass lies on one point anyway; squares of weights stay finite.
        return np.exp(np.clip(logarithms, -300.0, 300.0))


def fit_density_ratio(source: object, target: object, *, ridge: float = RIDGE) -> DensityRatio:
    """Fit by Newton's method (iteratively reweighted least squares) with step halving.

    Args:
        source: (n, d), inputs as at calibration.
        target: (m, d), inputs as at test.
        ridge: penalty per point on the squared slopes of standardised inputs, 0 or more.

    Raises:
        ValueError: a sample is empty, not finite, or the two differ in d.
    """
    before = require_finite(source, "source", shape=(None, None))
    after = require_finite(target, "target", shape=(None, before.shape[1]))
    if not len(before) or not len(after):
        raise ValueError("both samples must hold points")
    inputs = np.concatenate([before, after])
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    design = np.column_stack([np.ones(len(inputs)), (inputs - centre) / spread])
    labels = np.concatenate([np.zeros(len(before)), np.ones(len(after))])
    penalty = np.append(0.0, np.full(design.shape[1] - 1, ridge)) * len(labels)
    coefficients, converged = _newton(design, labels, penalty)
    slopes = coefficients[1:] / spread
    prior = np.log(len(before) / len(after))
    return DensityRatio(float(coefficients[0] - centre @ slopes + prior), slopes, converged)


def _newton(design: FloatArray, labels: FloatArray, penalty: FloatArray) -> tuple[FloatArray, bool]:
    coefficients = np.zeros(design.shape[1])
    for _ in range(ITERATIONS):
        chances = scipy.special.expit(design @ coefficients)
        gradient = design.T @ (labels - chances) - penalty * coefficients
        if np.abs(gradient).max() < TOLERANCE * len(labels):
            return coefficients, True
        curvature = (design.T * (chances * (1 - chances))) @ design + np.diag(penalty)
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        coefficients = _halved(design, labels, penalty, coefficients, step)
    return coefficients, False


def _halved(
    design: FloatArray, labels: FloatArray, penalty: FloatArray, start: FloatArray, step: FloatArray
) -> FloatArray:
    """The step, or the first of its halves that does not lower the likelihood."""
    before = _log_likelihood(design, labels, penalty, start)
    for _ in range(HALVINGS):
        if _log_likelihood(design, labels, penalty, start + step) >= before:
            return start + step
        step = step / 2
    return start


def _log_likelihood(design: FloatArray, labels: FloatArray, penalty: FloatArray, coefficients: FloatArray) -> float:
    scores = design @ coefficients
    fit = scipy.special.log_expit(np.where(labels == 1, scores, -scores)).sum()
    return float(fit - penalty @ np.square(coefficients) / 2)
