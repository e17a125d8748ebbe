from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.levels import ordered_quantile
from services.uncertainty.conformal.methods.risk.mask_losses import (
    false_discovery_losses,
    false_negative_losses,
    set_shares,
)
from services.uncertainty.conformal.methods.risk.risk_control import (
    Correction,
    control_expected_loss,
    hoeffding_bentkus_p_values,
    learn_then_test,
    risk_controlling_set,
    upper_risk_bound,
)

GRID = np.linspace(0, 1, 101)


def drawn_masks(count: int, seed: int) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Probabilities that know something of the masks, (count, 6, 6)."""
    random = np.random.default_rng(seed)
    truth = random.random((count, 6, 6)) < 0.3
    return np.clip(random.normal(np.where(truth, 0.65, 0.35), 0.2), 0, 1), truth


def test_expected_false_negatives_are_controlled() -> None:
    losses, larger = [], []
    for seed in range(200):
        chances, truth = drawn_masks(30 + 100, seed)
        table = false_negative_losses(chances, truth, GRID)
        found = control_expected_loss(table[:30], GRID, 0.1)
        assert found.index is not None
        losses.append(table[30:, found.index].mean())
        larger.append(table[30:, max(found.index - 6, 0)].mean())
    assert np.mean(losses) <= 0.1 + 3 * np.std(losses) / math.sqrt(200)
    assert np.mean(losses) > 0.06
    assert np.mean(larger) > 0.1, "not much smaller a lambda would do"


def test_control_of_miscoverage_is_the_conformal_quantile() -> None:
    """With the loss 1{score > lambda}, conformal risk control is split conformal prediction."""
    random = np.random.default_rng(0)
    for count in range(1, 60):
        scores = np.sort(random.random(count))
        losses = (scores[:, None] > scores[None]).astype(np.float64)
        found = control_expected_loss(losses, scores, 0.1)
        expected = ordered_quantile(scores, 0.1)
        assert (math.inf if found.lambda_ is None else found.lambda_) == expected
        assert found.required == 9


def test_rising_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="rise"):
        control_expected_loss([[0.1, 0.2]], [0.0, 1.0], 0.3)
    for bad in ([[1.2, 0.1]], [[-0.1, -0.2]]):
        with pytest.raises(ValueError, match="losses must lie"):
            control_expected_loss(bad, [0.0, 1.0], 0.3)
    with pytest.raises(ValueError, match="alpha"):
        control_expected_loss([[0.5, 0.2]], [0.0, 1.0], 1.0)
    with pytest.raises(ValueError, match="ascending"):
        control_expected_loss([[0.5, 0.2]], [1.0, 0.0], 0.5)


def test_larger_losses_need_a_larger_bound() -> None:
    table = np.array([[4.0, 2.0, 0.0]] * 30)
    assert control_expected_loss(table, [0, 1, 2], 2.06, bound=4).lambda_ == 2
    assert control_expected_loss(table, [0, 1, 2], 2.07, bound=4).lambda_ == 1
    assert control_expected_loss(np.empty((0, 3)), [0, 1, 2], 2.2, bound=4).lambda_ is None


@pytest.mark.parametrize("count", [10, 100, 1000])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_p_values_are_valid(count: int, alpha: float) -> None:
    """For coins, whose law is known: P(p <= u) <= u at the edge of the hypothesis."""
    hits = np.arange(count + 1)
    p_values = hoeffding_bentkus_p_values(hits / count, alpha, count=count)
    chances = binom.pmf(hits, count, alpha)
    for limit in (0.001, 0.01, 0.05, 0.1, 0.5):
        assert chances[p_values <= limit].sum() <= limit
    assert (np.diff(p_values) >= -1e-15).all()
    assert p_values[-1] == 1


def test_p_values_by_the_formulas() -> None:
    risk, alpha, count = 0.04, 0.1, 200
    entropy = risk * math.log(risk / alpha) + (1 - risk) * math.log((1 - risk) / (1 - alpha))
    bentkus = math.e * sum(math.comb(count, k) * alpha**k * (1 - alpha) ** (count - k) for k in range(9))
    found = hoeffding_bentkus_p_values(np.array([risk]), alpha, count=count)[0]
    assert found == pytest.approx(min(math.exp(-count * entropy), bentkus))
    assert hoeffding_bentkus_p_values(np.array([0.1 + 0.2]), 0.5, count=10)[0] == pytest.approx(
        hoeffding_bentkus_p_values(np.array([0.3]), 0.5, count=10)[0]
    ), "a rounding error is no further loss"


@pytest.mark.parametrize("correction", Correction)
def test_learn_then_test_fails_as_rarely_as_it_says(correction: Correction) -> None:
    """False discoveries, a loss that rises and falls; the true risk by 40,000 items."""
    chances, truth = drawn_masks(4000, 999)
    risks = false_discovery_losses(chances, truth, GRID).mean(axis=0)
    order = np.arange(GRID.size)
    failures, found = 0, 0
    for seed in range(150):
        table = false_discovery_losses(*drawn_masks(150, seed), GRID)
        valid = learn_then_test(table, GRID, 0.3, delta=0.1, correction=correction, order=order).valid
        failures += bool((risks[valid] > 0.3).any())
        found += bool(valid.any())
    assert failures <= 26, "150 trials at .1: 27 or more have a chance of 1e-3"
    assert found > 100


def test_fixed_sequence_stops_at_the_first_failure() -> None:
    losses = np.zeros((200, 4))
    losses[:, 1] = 1
    tested = learn_then_test(losses, [0, 1, 2, 3], 0.1, delta=0.1)
    assert tested.valid.tolist() == [False, False, True, True]
    backwards = learn_then_test(losses, [0, 1, 2, 3], 0.1, delta=0.1, order=np.arange(4))
    assert backwards.valid.tolist() == [True, False, False, False]
    separate = learn_then_test(losses, [0, 1, 2, 3], 0.1, delta=0.1, correction=Correction.BONFERRONI)
    assert separate.valid.tolist() == [True, False, True, True]
    with pytest.raises(ValueError, match="order"):
        learn_then_test(losses, [0, 1, 2, 3], 0.1, delta=0.1, order=np.array([0, 0, 1, 2]))


@pytest.mark.parametrize("alpha", [0.08, 0.2])
def test_risk_controlling_sets_are_the_fixed_sequence(alpha: float) -> None:
    """The bound lies below alpha exactly where the p-value at alpha is at most delta."""
    table = false_negative_losses(*drawn_masks(120, 5), GRID)
    valid = learn_then_test(table, GRID, alpha, delta=0.05).valid
    found = risk_controlling_set(table, GRID, alpha, delta=0.05)
    assert found == int(np.flatnonzero(valid)[0])
    assert risk_controlling_set(table[:3], GRID, 0.01, delta=0.05) is None


def test_upper_bound_inverts_the_p_value() -> None:
    bound = upper_risk_bound(0.04, count=200, delta=0.05)
    assert hoeffding_bentkus_p_values(np.array([0.04]), bound - 1e-6, count=200)[0] > 0.05
    assert hoeffding_bentkus_p_values(np.array([0.04]), bound + 1e-6, count=200)[0] <= 0.05
    assert upper_risk_bound(1.0, count=5, delta=0.1) == 1


@given(st.integers(0, 1000))
def test_mask_losses_by_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    chances, truth = random.integers(0, 11, (3, 2, 4)) / 10, random.random((3, 2, 4)) < 0.4
    grid = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    missed, false = false_negative_losses(chances, truth, grid), false_discovery_losses(chances, truth, grid)
    for item in range(3):
        for column, value in enumerate(grid):
            chosen = chances[item] >= 1 - value
            right = (chosen & truth[item]).sum()
            assert missed[item, column] == pytest.approx(1 - right / truth[item].sum() if truth[item].any() else 0)
            assert false[item, column] == pytest.approx(1 - right / chosen.sum() if chosen.any() else 0)
    assert set_shares(chances, grid)[2] == pytest.approx((chances >= 0.5).mean())
    assert set_shares(chances, grid)[-1] == 1


def test_bad_masks_are_refused() -> None:
    for chances, truth in (([[0.5]], [[1]]), ([[1.5]], [[True]]), ([0.5], [True]), ([[0.5]], [[True, False]])):
        with pytest.raises(ValueError, match="probabilities"):
            false_negative_losses(chances, np.array(truth), [0.5])
