from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.uncertainty.conformal.methods.online.adaptive_inference import (
    OnlineMethod,
    adaptive_error_bound,
    create_aci,
    step,
)
from services.uncertainty.conformal.methods.online.aggregated_aci import AgACI, create_agaci, create_dtaci
from services.uncertainty.conformal.methods.online.conformal_pid import choose_saturation, create_conformal_pid
from services.uncertainty.conformal.methods.online.states import State
from services.uncertainty.conformal.methods.regression.ensembles import create_sliding_residuals

STARTS: dict[str, OnlineMethod] = {
    "aci": create_aci(0.1, gamma=0.05, capacity=50),
    "agaci": create_agaci(0.1, capacity=50),
    "dtaci": create_dtaci(0.1, capacity=50),
    "quantile tracking": create_conformal_pid(0.1, capacity=50),
    "pid": create_conformal_pid(0.1, gain=1.0, saturation=choose_saturation(2000, 0.1), capacity=50),
    "enbpi": create_sliding_residuals(0.1, [0.1, -0.2, 0.3], capacity=50, narrowest=False),
}


def run(state: OnlineMethod, residuals: list[float]) -> tuple[OnlineMethod, list[bool]]:
    missed = []
    for residual in residuals:
        state, miss = step(state, below=-residual, above=residual)
        missed.append(miss)
    return state, missed


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["miss", "hit", "jump"]), min_size=1, max_size=120),
    st.sampled_from([0.01, 0.1, 0.5]),
    st.sampled_from([0.005, 0.05, 0.9]),
    st.sampled_from([None, 0.0, 1.0]),
)
def test_adaptive_error_stays_within_its_bound_whatever_comes(
    moves: list[str], alpha: float, gamma: float, first: float | None
) -> None:
    """Gibbs and Candès 2021, proposition 4.1, against a label that knows the interval."""
    state = create_aci(alpha, gamma=gamma, first_level=first, capacity=20, scores=[1.0, 2.0])
    for number, move in enumerate(moves):
        bound = state.bounds()[0]
        away = bound + 1 if math.isfinite(bound) else 0.0
        score = {"miss": away, "hit": 0.0, "jump": float(number % 7)}[move]
        state, _ = step(state, below=score, above=score)
        assert abs(state.error - alpha) <= state.error_bound + 1e-9
        assert -gamma <= state.level <= 1 + gamma


def test_adaptive_levels_leave_the_unit_interval() -> None:
    """After enough misses everything is in, after enough hits nothing is: no clamp (TorchCP's defect 8)."""
    state = create_aci(0.1, gamma=0.2, scores=[1.0] * 30)
    scores = iter(float(10**number) for number in range(1, 10))
    while state.level > 0:
        state, missed = step(state, below=(score := next(scores)), above=score)
        assert missed
    assert state.bounds() == (math.inf, math.inf)
    hits = create_aci(0.9, gamma=0.2, scores=[1.0] * 30)
    while hits.level < 1:
        hits, missed = step(hits, below=0.0, above=0.0)
        assert not missed
    assert hits.bounds() == (-math.inf, -math.inf)
    _, missed = step(hits, below=-1e9, above=-1e9)
    assert missed, "the empty set holds nothing"


def test_adaptive_level_by_hand() -> None:
    state = create_aci(0.2, gamma=0.1, scores=[1, 2, 3, 4])
    assert state.bounds()[0] == 4
    state, missed = step(state, below=5, above=-5)
    assert missed
    assert state.level == pytest.approx(0.2 + 0.1 * (0.2 - 1))
    assert list(state.window) == [1, 2, 3, 4, 5]
    assert state.bounds()[0] == math.inf, "rank ceil(6 x 0.88) = 6 of 5"
    assert adaptive_error_bound(0.1, 0.01, 1000) == pytest.approx(0.91 / 10)


@pytest.mark.parametrize("name", STARTS)
def test_error_settles_under_a_shift(name: str) -> None:
    random = np.random.default_rng(0)
    scales = np.repeat([1.0, 4.0, 0.5], 700)
    _, missed = run(STARTS[name], (random.normal(size=2100) * scales).tolist())
    assert 0.07 < np.mean(missed) < 0.13


@pytest.mark.parametrize("name", STARTS)
def test_state_survives_json(name: str) -> None:
    random = np.random.default_rng(1)
    first, _ = run(STARTS[name], random.normal(size=60).tolist())
    back = type(first).from_json(json.loads(json.dumps(first.to_json())))
    assert back == first
    rest = random.standard_cauchy(size=60).tolist()
    assert run(back, rest) == run(first, rest)
    assert first.steps == 60, "a step changes nothing in the state that it is given"


def test_wrong_documents_are_refused() -> None:
    document = STARTS["aci"].to_json()
    for broken in (
        {**document, "kind": "dtaci"},
        {**document, "more": 1},
        {**document, "level": math.nan},
        {**document, "window": [math.inf]},
        {name: value for name, value in document.items() if name != "level"},
    ):
        with pytest.raises(ValueError, match=r"kind|fields|finite"):
            type(STARTS["aci"]).from_json(broken)
    with pytest.raises(ValueError, match="finite"):
        step(STARTS["aci"], below=math.nan, above=0)


def test_aggregation_keeps_a_level_for_each_expert() -> None:
    """TorchCP's defect 8: its AgACI has one weight for all and forgets the experts' levels."""
    random = np.random.default_rng(2)
    residuals = (random.normal(size=400) * np.repeat([1.0, 6.0], 200)).tolist()
    gammas = (0.005, 0.05)
    state: OnlineMethod = create_agaci(0.1, gammas=gammas, capacity=100)
    alone = [create_aci(0.1, gamma=gamma, capacity=100) for gamma in gammas]
    for residual in residuals:
        state, _ = step(state, below=-residual, above=residual)
        alone = [step(one, below=-residual, above=residual)[0] for one in alone]
    assert isinstance(state, AgACI)
    assert state.levels == tuple(one.level for one in alone)
    weights = state.weights()
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.ptp(weights) > 0.1


def test_aggregation_follows_the_better_expert() -> None:
    """Bernstein online aggregation by hand for two steps (Wintenberger 2017; the loops of the opera package)."""
    state = create_agaci(0.2, gammas=(0.01, 0.9), scores=[float(one) for one in range(1, 21)])
    regrets, variances, ranges = np.zeros(2), np.zeros(2), np.full(2, 2.0**-20)
    for score in (30.0, 3.0, 8.0):
        bounds = np.clip(state.expert_bounds(), min(state.window), max(state.window))
        rates = np.minimum(2.0 ** -np.ceil(np.log2(ranges)), np.sqrt(np.log(2) / np.maximum(variances, 1e-300)))
        shares = rates * np.exp(rates * regrets)
        mean = shares @ bounds / shares.sum()
        assert state.bounds()[1] == pytest.approx(mean)
        slope = (1.0 if score < mean else 0.0) - 0.9
        regret = slope * mean - slope * bounds
        ranges, variances = np.maximum(ranges, np.abs(regret)), variances + regret**2
        twos = 2.0 ** np.ceil(np.log2(ranges))
        rates = np.minimum(1 / twos, np.sqrt(np.log(2) / np.maximum(variances, 1e-300)))
        regrets = regrets + (regret - rates * regret**2 + twos * (rates * regret > 0.5)) / 2
        state, _ = step(state, below=-score, above=score)


def test_tuned_weights_by_hand() -> None:
    state = create_dtaci(0.1, gammas=(0.01, 0.1), scores=[1.0, 2.0, 3.0, 4.0], interval=50)
    assert state.rate == pytest.approx(math.sqrt(3 / 50) * math.sqrt((math.log(100) + 2) / (0.9**2 * 0.1**2)))
    state, _ = step(state, below=2.5, above=2.5)
    state, _ = step(state, below=9.0, above=9.0)
    beta, levels = 1 / 6, np.array([0.1 + 0.01 * 0.1, 0.1 + 0.1 * 0.1])
    losses = 0.1 * (beta - levels) - np.minimum(0, beta - levels)
    shares = 0.5 * np.exp(-state.rate * losses)
    np.testing.assert_allclose(state.weights, 0.99 * shares / shares.sum() + 0.01 / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.floats(0.01, 2))
def test_tracked_quantile_stays_within_its_bound(scores: list[float], size: float) -> None:
    """Angelopoulos, Candès, Tibshirani 2023, proposition 1, for scores in [0, 1]."""
    state: OnlineMethod = create_conformal_pid(0.1, step_size=size, relative=False, first_bound=0.5)
    for score in scores:
        state, _ = step(state, below=score, above=score)
    assert abs(state.error - 0.1) <= (1 + size) / (size * len(scores)) + 1e-9


@pytest.mark.parametrize("earlier", [[], [5.0] * 30])
@pytest.mark.parametrize("bias", [5.0, 1e-6, 1e6])
def test_tracking_learns_a_constant_residual(earlier: list[float], bias: float) -> None:
    """Fails where a relative step is a share of the scores' own range, which is nothing: all 300 labels were missed."""
    state = create_conformal_pid(0.1, scores=[bias / 5 * one for one in earlier])
    after, missed = run(state, [bias] * 300)
    assert sum(missed[:15]) <= 12, "steps of 0.1 x 0.9 of the score reach it after twelve"
    assert 0.08 <= np.mean(missed[50:]) <= 0.12
    assert after.bounds()[1] == pytest.approx(bias, rel=0.1)


def test_tracking_learns_scores_far_from_its_first_bound() -> None:
    scores = np.random.default_rng(0).uniform(5, 6, 400)
    _, missed = run(create_conformal_pid(0.1), scores.tolist())
    assert 0.06 < np.mean(missed[:200]) < 0.17
    assert 0.05 < np.mean(missed[200:]) < 0.13


def test_relative_steps_scale_with_the_scores() -> None:
    """In other units the same labels are missed, and with a sign too, as of quantile regression."""
    scores = np.random.default_rng(1).normal(-3, 1, 300)
    expected = run(create_conformal_pid(0.1), scores.tolist())[1]
    assert run(create_conformal_pid(0.1), (1024 * scores).tolist())[1] == expected


def test_integrator_pushes_to_infinity() -> None:
    state = create_conformal_pid(0.1, gain=1.0, saturation=0.05, step_size=0.01, relative=False)
    for score in range(1, 8):
        if math.isinf(state.bounds()[0]):
            break
        state, missed = step(state, below=1e6 * score, above=1e6 * score)
        assert missed
    assert state.bounds()[0] == math.inf


def test_forecast_is_added_once() -> None:
    state = create_conformal_pid(0.1, first_bound=1.0).with_forecast(5.0)
    assert state.bounds() == (6.0, 6.0)
    after, _ = step(state, below=2.0, above=2.0)
    assert after.forecast == 0


@pytest.mark.parametrize("options", [{"gamma": 0}, {"gamma": 0.1, "capacity": 0}, {"gamma": 0.1, "first_level": 2}])
def test_bad_arguments_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"step sizes|capacity|first_level"):
        create_aci(0.1, **options)  # type: ignore[arg-type]


def test_states_have_kinds_of_their_own() -> None:
    kinds = [kind.KIND for kind in {type(state) for state in STARTS.values()}]
    assert len(set(kinds)) == len(kinds)
    assert all(isinstance(state, State) for state in STARTS.values())
