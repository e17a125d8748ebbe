from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.online.martingales import (
    BINS,
    JUMP,
    Bet,
    Monitor,
    OnlinePValues,
    log_power_mixture,
    next_p_values,
    online_p_values,
    start_monitor,
    watch,
)


def watched(p_values: FloatArray, bet: Bet, *, delta: float = 0.01, threshold: float = 1000.0) -> Monitor:
    monitor = start_monitor(bet=bet, delta=delta, threshold=threshold)
    for p_value in p_values.tolist():
        monitor = watch(monitor, p_value)
    return monitor


@pytest.mark.parametrize("bet", Bet)
def test_each_bet_has_the_mean_one(bet: Bet) -> None:
    """Whatever came before, the capital's mean over a uniform p-value is what it was: a martingale."""
    monitor = watched(np.random.default_rng(0).random(30) ** 2, bet)
    # The power mixture grows without bound towards 0: p = u^30 makes it even.
    grid = (np.arange(4000) + 0.5) / 4000
    growths = [
        math.exp(watch(monitor, u**30).capital - monitor.capital) * 30 * u**29 for u in grid.tolist() if u**30 > 1e-300
    ]
    assert sum(growths) / 4000 == pytest.approx(1, abs=2e-3)


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=12))
def test_power_mixture_is_its_integral(p_values: list[float]) -> None:
    total = -sum(math.log(p_value) for p_value in p_values)
    area = quad(lambda e: e ** len(p_values) * math.exp((1 - e) * total), 0, 1)[0]
    assert log_power_mixture(total, len(p_values)) == pytest.approx(math.log(area), abs=1e-6)


def test_power_mixture_of_long_streams_is_finite() -> None:
    for surprise in (0.0, 1.0, 9_000.0, 10_000.0, 10_001.5, 11_000.0, 1e6):
        assert math.isfinite(log_power_mixture(surprise, 10_000))
    below, above = log_power_mixture(10_000.999999, 10_000), log_power_mixture(10_001.000001, 10_000)
    assert below == pytest.approx(above, abs=1e-6), "the two forms meet"


def test_jumper_by_the_published_loop() -> None:
    p_values = np.random.default_rng(1).random(200) ** 1.5
    capitals, total = {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}, 1.0
    for p_value in p_values:
        mixed = {slope: (1 - JUMP) * capital + JUMP / 3 * total for slope, capital in capitals.items()}
        capitals = {slope: capital * (1 + slope * (p_value - 0.5)) for slope, capital in mixed.items()}
        total = sum(capitals.values())
    assert watched(p_values, Bet.JUMPER).capital == pytest.approx(math.log(total))


def test_histogram_by_counting() -> None:
    p_values = np.random.default_rng(2).random(50) ** 3
    capital = 0.0
    for index, p_value in enumerate(p_values):
        same = sum(int(earlier * BINS) == int(p_value * BINS) for earlier in p_values[:index])
        capital += math.log(BINS * (same + 1) / (index + BINS))
    assert watched(p_values, Bet.HISTOGRAM).capital == pytest.approx(capital)


def test_cusum_and_restarts_by_their_definitions() -> None:
    p_values = np.random.default_rng(3).random(40) ** 2
    monitor, capitals = start_monitor(), [0.0]
    for p_value in p_values.tolist():
        monitor = watch(monitor, p_value)
        capitals.append(monitor.capital)
        ratios = np.exp(capitals[-1] - np.array(capitals[:-1]))
        assert monitor.cusum == pytest.approx(math.log(ratios.max()))
        assert monitor.restarts == pytest.approx(math.log(ratios.sum()))
    assert monitor.highest == max(capitals)


@pytest.mark.parametrize("bet", Bet)
def test_false_alarms_are_as_rare_as_ville_says(bet: Bet) -> None:
    """400 exchangeable streams of 300 scores, delta .1: more than 60 alarms have a chance of 1e-3 at a rate of .1."""
    alarms = 0
    for seed in range(400):
        p_values = online_p_values(np.random.default_rng(seed).standard_cauchy(300).round(1), seed=seed)
        alarms += watched(p_values, bet, delta=0.1).alarm_step > 0
    assert alarms <= 60


def test_false_alarms_of_restarts_are_as_far_apart_as_the_threshold() -> None:
    lengths = []
    for seed in range(200):
        random, monitor = np.random.default_rng(seed), start_monitor(threshold=50)
        while not monitor.restarts_alarm_step:
            monitor = watch(monitor, 1 - random.random())
        lengths.append(monitor.restarts_alarm_step)
    assert np.mean(lengths) > 50 - 3 * np.std(lengths) / math.sqrt(200)


@pytest.mark.parametrize("bet", Bet)
def test_a_change_raises_the_alarms(bet: Bet) -> None:
    random = np.random.default_rng(4)
    scores = np.concatenate([random.normal(size=500), random.normal(2, 1, size=300)])
    monitor = watched(online_p_values(scores, seed=0), bet, threshold=1e5)
    assert monitor.cusum_alarm_step > 500
    assert monitor.restarts_alarm_step > 500
    assert monitor.alarm_step == 0 or monitor.alarm_step > 500
    assert monitor.cusum_alarm_step < 700


def test_p_values_are_uniform_and_independent_of_ties() -> None:
    scores = np.random.default_rng(5).integers(0, 4, 3000).astype(np.float64)
    p_values = online_p_values(scores, seed=1)
    assert kstest(p_values, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(p_values[1:], p_values[:-1])[0, 1]) < 0.06


def test_step_by_step_is_the_same_as_at_once() -> None:
    scores = np.random.default_rng(6).normal(size=40).round(1)
    state, found = OnlinePValues((), 7), list[float]()
    for score in scores.tolist():
        state, p_values = next_p_values(OnlinePValues.from_json(json.loads(json.dumps(state.to_json()))), [score])
        found += p_values.tolist()
    np.testing.assert_array_equal(found, online_p_values(scores, seed=7))
    assert not np.array_equal(found, online_p_values(scores, seed=8))


@pytest.mark.parametrize("bet", Bet)
def test_monitor_survives_json(bet: Bet) -> None:
    monitor = watched(np.random.default_rng(7).random(30), bet)
    back = Monitor.from_json(json.loads(json.dumps(monitor.to_json())))
    assert back == monitor
    assert watch(back, 0.3) == watch(monitor, 0.3)


def test_bad_arguments_are_refused() -> None:
    for p_value in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="p-value"):
            watch(start_monitor(), p_value)
    with pytest.raises(ValueError, match="threshold"):
        start_monitor(threshold=1.0)
    with pytest.raises(ValueError, match="alpha"):
        start_monitor(delta=0)
