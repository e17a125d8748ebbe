from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uncertainty.conformal.methods.metrics.interval_scores import pinball_losses, winkler_scores


def test_a_perfect_prediction_costs_nothing() -> None:
    """TorchCP's defect 4: targets of the shape (B, 1) are compared all with all, and this costs 5."""
    values = np.arange(16.0)
    assert pinball_losses(values, values, 0.1).sum() == 0
    for left, right in ((values[:, None], values), (values, values[:, None]), (values, values[:1])):
        with pytest.raises(ValueError, match="shape"):
            pinball_losses(left, right, 0.1)


@given(st.floats(-9, 9), st.floats(-9, 9), st.integers(1, 99))
def test_pinball_loss_by_its_cases(quantile: float, value: float, hundredths: int) -> None:
    level = hundredths / 100
    expected = level * (value - quantile) if value >= quantile else (1 - level) * (quantile - value)
    assert pinball_losses([quantile], [value], level)[0] == pytest.approx(expected, abs=1e-12)


def test_quantile_minimises_its_pinball_loss() -> None:
    values = np.random.default_rng(0).exponential(size=4001)
    grid = np.linspace(0, 4, 401)
    losses = [pinball_losses(np.full(4001, one), values, "0.9").mean() for one in grid]
    assert grid[int(np.argmin(losses))] == pytest.approx(np.quantile(values, 0.9), abs=0.011)


@given(st.floats(-9, 9), st.floats(0, 9), st.floats(-20, 20))
def test_winkler_score_is_that_of_its_two_quantiles(lower: float, length: float, value: float) -> None:
    """2 / alpha times the sum of the pinball losses at alpha / 2 and 1 - alpha / 2."""
    ends = pinball_losses([lower], [value], 0.05) + pinball_losses([lower + length], [value], 0.95)
    assert winkler_scores([lower], [lower + length], [value], 0.1)[0] == pytest.approx(20 * ends[0], abs=1e-9)


def test_ends_of_the_winkler_score() -> None:
    assert winkler_scores([-math.inf], [1.0], [0.0], 0.1)[0] == math.inf
    with pytest.raises(ValueError, match="lower at most upper"):
        winkler_scores([1.0], [0.0], [0.0], 0.1)
