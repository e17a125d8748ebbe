"""Weighted conformal prediction under covariate shift, by the recipe of Tibshirani et al. 2019, section 2.

Half of the rows fit a linear model and calibrate (half each); the other half tests. For the shift, test rows are drawn
with chances in proportion to exp(-x1 + x5) until more than a quarter of them is there. Logistic weights come from the
fitting half against the shifted inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from services.uncertainty.conformal.evaluation.published_tables import Table
from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.covariate_shift import fit_density_ratio
from services.uncertainty.conformal.methods.coverage_distribution import effective_sample_size
from services.uncertainty.conformal.methods.regression.interval_bands import around_points
from services.uncertainty.conformal.methods.regression.split_regression import Intervals, calibrate

ALPHA = "0.1"
TILT = np.array([-1.0, 0, 0, 0, 1])
SHARE = 0.25
PUBLISHED = {
    "no shift": {"coverage": 0.902, "length": 16.1},
    "shifted, no weights": {"coverage": 0.822, "length": 16.1},
    "shifted, oracle weights": {"coverage": 0.909, "length": 21.2},
    "shifted, logistic weights": {"coverage": 0.910, "length": 21.3},
}
"""Means over 5,000 repeats; coverage under oracle weights is .909, under logistic weights .910."""


def measure(table: Table, *, repeats: int, seed: int = 0) -> dict[str, Any]:
    """Coverage and median length of each way, as means over repeats with standard errors.

    Repeats split the same rows, so the errors say how well the means over splits are known, not more.
    """
    runs = [_repeat(table, np.random.default_rng([seed, number])) for number in range(repeats)]
    ways = {
        way: {figure: summary(np.array([run[way][figure] for run in runs])) for figure in runs[0][way]}
        for way in PUBLISHED
    }
    for way, published in PUBLISHED.items():
        ways[way]["published"] = published
    return {"repeats": repeats, "ways": ways, "effective": summary(np.array([run["effective"] for run in runs]))}


def _repeat(table: Table, random: np.random.Generator) -> dict[str, Any]:
    order = random.permutation(len(table.targets))
    half = len(order) // 2
    fitting, calibrating, testing = order[: half // 2], order[half // 2 : half], order[half:]
    coefficients = fit_line(table.inputs[fitting], table.targets[fitting])
    shifted = testing[_draw_tilted(table.inputs[testing], random)]
    learned = fit_density_ratio(table.inputs[order[:half]], table.inputs[shifted])

    def intervals(rows: np.ndarray[Any, Any], weigh: Any = None) -> tuple[Intervals, FloatArray]:
        weights = [None if weigh is None else weigh(table.inputs[part]) for part in (calibrating, rows)]
        bands = [around_points(predict_line(coefficients, table.inputs[part])) for part in (calibrating, rows)]
        calibration = calibrate(bands[0], table.targets[calibrating], score="absolute", weights=weights[0])
        return calibration.intervals(bands[1], ALPHA, weights=weights[1]), table.targets[rows]

    return {
        "no shift": _figures(*intervals(testing)),
        "shifted, no weights": _figures(*intervals(shifted)),
        "shifted, oracle weights": _figures(*intervals(shifted, _oracle)),
        "shifted, logistic weights": _figures(*intervals(shifted, learned.weights)),
        "effective": effective_sample_size(_oracle(table.inputs[calibrating])),
    }


def _figures(intervals: Intervals, targets: FloatArray) -> dict[str, float]:
    return {
        "coverage": float(intervals.contain(targets).mean()),
        "length": float(np.median(intervals.lengths)),
        "unbounded": float(intervals.unbounded.mean()),
    }


def _oracle(inputs: FloatArray) -> FloatArray:
    return np.asarray(np.exp(inputs @ TILT), dtype=np.float64)


def _draw_tilted(inputs: FloatArray, random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows drawn with chances in proportion to the oracle weights, sweep by sweep."""
    weights = _oracle(inputs)
    chosen: list[int] = []
    while len(chosen) <= SHARE * len(inputs):
        chosen += np.flatnonzero(random.random(len(inputs)) <= weights / weights.max()).tolist()
    return np.array(chosen)


def fit_line(inputs: FloatArray, targets: FloatArray) -> FloatArray:
    """Coefficients of least squares, intercept first."""
    design = np.column_stack([np.ones(len(inputs)), inputs])
    return np.asarray(np.linalg.lstsq(design, targets, rcond=None)[0], dtype=np.float64)


def predict_line(coefficients: FloatArray, inputs: FloatArray) -> FloatArray:
    """Predictions of `fitted_line`, (n,)."""
    return np.asarray(coefficients[0] + inputs @ coefficients[1:], dtype=np.float64)


def summary(figures: FloatArray) -> dict[str, float]:
    """Mean with its standard error and 95 % interval."""
    mean, error = float(figures.mean()), float(figures.std(ddof=1) / np.sqrt(figures.size))
    return {"mean": mean, "error": error, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
