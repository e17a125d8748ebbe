from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.online.adaptive_inference import step
from services.uncertainty.conformal.methods.regression.ensembles import (
    Average,
    create_sliding_residuals,
    jackknife_after_bootstrap,
    out_of_bag,
)


@pytest.mark.parametrize("average", ["mean", "median"])
def test_out_of_bag_predictions_by_loops(average: Average) -> None:
    random = np.random.default_rng(0)
    in_bag = random.random((7, 30)) < 0.6
    in_bag[:, 4] = True
    predictions, new = random.normal(size=(7, 30)), random.normal(size=(7, 5))
    bag = out_of_bag(in_bag, average=average)
    assert not bag.usable[4]
    put_together = np.mean if average == "mean" else np.median
    points = [i for i in range(30) if not in_bag[:, i].all()]
    expected = [put_together([predictions[b, i] for b in range(7) if not in_bag[b, i]]) for i in points]
    np.testing.assert_allclose(bag.of_training(predictions), expected)
    for row, i in zip(bag.of_new(new), points, strict=True):
        np.testing.assert_allclose(row, put_together(new[~in_bag[:, i]], axis=0))


def test_every_point_seen_by_all_is_refused() -> None:
    for bad in (np.ones((3, 4), dtype=np.bool_), np.ones((3, 4)), np.zeros(3, dtype=np.bool_)):
        with pytest.raises(ValueError, match="in_bag"):
            out_of_bag(bad)


def bootstrap_fits(inputs: FloatArray, values: FloatArray, seed: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Coefficients of 20 bootstrap least-squares fits, and what each has seen."""
    random = np.random.default_rng(seed)
    seen, fits = np.zeros((20, len(values)), dtype=np.bool_), []
    for model in range(20):
        chosen = random.integers(0, len(values), len(values))
        seen[model, chosen] = True
        fits.append(np.linalg.lstsq(inputs[chosen], values[chosen], rcond=None)[0])
    return np.stack(fits).astype(np.float64), seen


def test_jackknife_after_bootstrap_covers() -> None:
    shares = []
    for seed in range(40):
        random = np.random.default_rng(seed)
        inputs, noise = random.normal(size=(160, 5)), random.standard_t(4, size=160)
        values = inputs @ np.arange(5) + noise
        fits, seen = bootstrap_fits(inputs[:60], values[:60], seed)
        bag = out_of_bag(seen)
        residuals = np.abs(values[:60][bag.usable] - bag.of_training(fits @ inputs[:60].T))
        lower, upper = jackknife_after_bootstrap(bag.of_new(fits @ inputs[60:].T), residuals, 0.1)
        shares.append(np.mean((lower <= values[60:]) & (values[60:] <= upper)))
    assert 0.88 < np.mean(shares) < 0.95


def test_jackknife_ends_are_order_statistics() -> None:
    random = np.random.default_rng(3)
    fits, residuals = random.normal(size=(19, 2)), random.random(19)
    lower, upper = jackknife_after_bootstrap(fits, residuals, 0.1)
    for column in range(2):
        assert upper[column] == sorted(fits[:, column] + residuals)[17], "ceil(0.9 x 20) = 18th smallest"
        assert lower[column] == sorted(fits[:, column] - residuals)[1], "floor(0.1 x 20) = 2nd smallest"
    few = jackknife_after_bootstrap(fits[:8], residuals[:8], 0.1)
    assert few[0][0] == -math.inf
    assert few[1][0] == math.inf


def test_narrowest_window_by_loops() -> None:
    residuals = np.random.default_rng(4).exponential(size=99)
    state = create_sliding_residuals(0.1, residuals)
    below, above = state.bounds()
    ordered = sorted(residuals)
    spans = [(ordered[i + 89] - ordered[i], i) for i in range(10)]
    first = min(spans)[1]
    assert (-below, above) == (ordered[first], ordered[first + 89])
    symmetric = create_sliding_residuals(0.1, residuals, narrowest=False).bounds()
    assert symmetric == (ordered[89], ordered[89])
    assert above + below < sum(symmetric)


def test_choosing_the_narrowest_costs_coverage_in_short_windows() -> None:
    """As the docstring says: the sides are chosen on the residuals that bound them."""
    values = np.random.default_rng(5).normal(size=6000).tolist()
    errors = {}
    for narrowest in (True, False):
        state = create_sliding_residuals(0.1, values[:50], narrowest=narrowest)
        for value in values[50:]:
            state, _ = step(state, below=-value, above=value)
        errors[narrowest] = state.error
    assert errors[False] == pytest.approx(0.1, abs=0.012)
    assert 0.13 < errors[True] < 0.17


def test_the_window_slides() -> None:
    state = create_sliding_residuals(0.5, [1.0, 2.0, 3.0])
    state, _ = step(state, below=9.0, above=-9.0)
    assert state.window == (2.0, 3.0, -9.0)
    with pytest.raises(ValueError, match="signed residuals"):
        step(state, below=1.0, above=1.0)
    assert create_sliding_residuals(0.1, [1.0] * 8).bounds() == (math.inf, math.inf)
