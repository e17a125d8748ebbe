"""Comparison with MAPIE on the same numbers. Imports mapie and sklearn, in functions only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import expit

from services.uncertainty.conformal.methods.arrays import FloatArray
from services.uncertainty.conformal.methods.online.adaptive_inference import create_aci, step
from services.uncertainty.conformal.methods.online.martingales import Bet, start_monitor, watch
from services.uncertainty.conformal.methods.regression.interval_bands import around_points, around_quantiles
from services.uncertainty.conformal.methods.regression.split_regression import calibrate
from services.uncertainty.conformal.methods.risk.risk_control import (
    Correction,
    control_expected_loss,
    hoeffding_bentkus_p_values,
    learn_then_test,
)
from services.uncertainty.conformal.methods.venn_abers.binary import venn_abers
from services.uncertainty.conformal.methods.venn_abers.multiclass import Decomposition, class_venn_abers

COUNT, TESTS = 503, 200
ALPHAS = (0.05, 0.1, 0.2)
GRID = np.linspace(0, 1, 101)


def _column(index: int) -> Any:
    """A fitted scikit-learn regressor that predicts a column of its input."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        """Predicts what it is given."""

        def __init__(self, index: int = 0) -> None:
            self.index = index
            self.fitted_ = True

        def fit(self, X: FloatArray, y: FloatArray) -> Any:
            """Nothing to learn."""
            return self

        def predict(self, X: FloatArray) -> FloatArray:
            """The column."""
            return np.asarray(X)[:, self.index]

    return Column(index)


def _draw() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Inputs (lower, upper, middle) and labels of calibration and test."""
    random = np.random.default_rng(1)
    middle, spread = random.normal(size=COUNT + TESTS), random.uniform(0.5, 2, COUNT + TESTS)
    values = middle + spread * random.normal(size=middle.size)
    inputs = np.column_stack([middle - spread, middle + 1.2 * spread, middle])
    return inputs[:COUNT], values[:COUNT], inputs[COUNT:], values[COUNT:]


def _absolute() -> FloatArray:
    from mapie.regression import SplitConformalRegressor

    inputs, values, more, _ = _draw()
    differences = []
    for alpha in ALPHAS:
        theirs = SplitConformalRegressor(_column(2), confidence_level=1 - alpha).conformalize(inputs, values)
        expected = theirs.predict_interval(more)[1][:, :, 0]
        ours = calibrate(around_points(inputs[:, 2]), values, score="absolute").intervals(
            around_points(more[:, 2]), alpha
        )
        differences += [expected[:, 0] - ours.lower, expected[:, 1] - ours.upper]
    return np.concatenate(differences)


def _quantiles(*, asymmetric: bool) -> FloatArray:
    from mapie.regression import ConformalizedQuantileRegressor

    inputs, values, more, _ = _draw()
    differences = []
    for alpha in ALPHAS:
        models = [_column(index) for index in range(3)]
        theirs = ConformalizedQuantileRegressor(models, confidence_level=1 - alpha, prefit=True)
        theirs.conformalize(inputs, values)
        expected = theirs.predict_interval(more, symmetric_correction=not asymmetric)[1][:, :, 0]
        band, asked = around_quantiles(inputs[:, 0], inputs[:, 1]), around_quantiles(more[:, 0], more[:, 1])
        ours = calibrate(band, values, score="cqr", asymmetric=asymmetric).intervals(asked, alpha)
        differences += [expected[:, 0] - ours.lower, expected[:, 1] - ours.upper]
    return np.concatenate(differences)


def _losses() -> FloatArray:
    """Losses that fall along the grid, (400, 101), not only 0 and 1."""
    random = np.random.default_rng(2)
    return np.clip(random.random((400, 1)) * 1.02 - GRID, 0, 1)


def _hoeffding_bentkus() -> FloatArray:
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    risks = _losses().mean(axis=0)
    expected = [compute_hoeffding_bentkus_p_value(risks, 400, alpha)[:, 0] for alpha in ALPHAS]
    ours = [hoeffding_bentkus_p_values(risks, alpha, count=400) for alpha in ALPHAS]
    return np.concatenate([np.minimum(one, 1) - other for one, other in zip(expected, ours, strict=True)])


def _family(correction: Correction) -> FloatArray:
    """Which hypotheses are rejected: 0 where the same."""
    from mapie.risk_control import control_fwer

    differences = []
    for alpha in ALPHAS:
        order = np.arange(GRID.size)[::-1]
        tested = learn_then_test(_losses(), GRID, alpha, delta=0.1, correction=correction)
        name = {Correction.BONFERRONI: "bonferroni", Correction.FIXED_SEQUENCE: "fixed_sequence"}[correction]
        found = control_fwer(tested.p_values[order], 0.1, name)
        expected = np.zeros(GRID.size)
        expected[order[found]] = 1
        differences.append(expected - tested.valid)
    return np.concatenate(differences)


def _risk_control() -> FloatArray:
    from mapie.risk_control.methods import find_best_predict_param, get_r_hat_plus

    differences = []
    for alpha in ALPHAS:
        _, bounds = get_r_hat_plus(_losses(), GRID, "crc", None, None, None)
        expected = find_best_predict_param(GRID, bounds, np.array([alpha]))[0]
        ours = control_expected_loss(_losses(), GRID, alpha)
        differences += [np.array([expected - (ours.lambda_ or np.inf)]), bounds - ours.bounds]
    return np.concatenate(differences)


def _binary() -> tuple[FloatArray, FloatArray, FloatArray]:
    random = np.random.default_rng(3)
    margins = random.normal(size=COUNT + TESTS).round(2)
    labels = (random.random(COUNT + TESTS) < expit(margins)).astype(np.float64)
    scores = expit(2 * margins)
    return scores[:COUNT], labels[:COUNT], scores[COUNT:]


def _venn_abers() -> FloatArray:
    scores, labels, asked = _binary()
    return np.ravel(_their_pairs(scores, labels, asked) - venn_abers(scores, labels).probabilities(asked))


def _their_pairs(scores: FloatArray, labels: FloatArray, asked: FloatArray) -> FloatArray:
    from mapie._venn_abers import VennAbers

    theirs = VennAbers()
    theirs.fit(np.column_stack([1 - scores, scores]), labels)
    return np.asarray(theirs.predict_proba(np.column_stack([1 - asked, asked]))[1], dtype=np.float64)


def _class_venn_abers(decomposition: Decomposition) -> FloatArray:
    from mapie._venn_abers import predict_proba_prefitted_va

    random = np.random.default_rng(4)
    margins = random.normal(size=(COUNT + TESTS, 4))
    chances = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    labels = (random.random((len(margins), 1)) > chances.cumsum(axis=1)).sum(axis=1)
    known, asked = chances[:COUNT] ** 2, chances[COUNT:] ** 2
    known, asked = known / known.sum(axis=1, keepdims=True), asked / asked.sum(axis=1, keepdims=True)
    name = {Decomposition.ONE_AGAINST_ONE: "one_vs_one", Decomposition.ONE_AGAINST_ALL: "one_vs_all"}[decomposition]
    expected = predict_proba_prefitted_va(known, labels[:COUNT], asked, va_tpe=name)[0]
    ours = class_venn_abers(known, labels[:COUNT], decomposition=decomposition).probabilities(asked)
    return np.ravel(expected - ours)


def _jumper() -> FloatArray:
    from mapie.exchangeability_testing import OnlineMartingaleTest

    theirs, monitor, differences = OnlineMartingaleTest(), start_monitor(bet=Bet.JUMPER), []
    for p_value in (np.random.default_rng(5).random(300) ** 1.3).tolist():
        monitor = watch(monitor, p_value)
        differences.append(np.log(theirs.update_simple_jumper_martingale(p_value)) - monitor.capital)
    return np.array(differences)


def _adaptive_departure() -> dict[str, Any]:
    """A label far outside, then one inside: the level where each stands."""
    from mapie.regression import TimeSeriesRegressor

    inputs, values = np.zeros((50, 1)), np.linspace(-1, 1, 50)
    theirs = TimeSeriesRegressor(_column(0), method="aci", cv="prefit").fit(inputs, values)
    state, levels = create_aci(0.1, gamma=0.5, scores=np.abs(values)), []
    for label in (99.0, 0.0):
        theirs.adapt_conformal_inference(np.zeros((1, 1)), np.array([label]), gamma=0.5, confidence_level=0.9)
        state, _ = step(state, below=-label, above=label)
        levels.append((float(next(iter(theirs.current_alpha.values()))), state.level))
    return {
        "what": "ACI's level is clipped to [0, 1]: after a miss it forgets how far below 0 it went",
        "labels": "99, then 0, after 50 residuals in [-1, 1]; gamma 0.5, alpha 0.1",
        "MAPIE_levels": [their for their, _ in levels],
        "our_levels": [our for _, our in levels],
    }


def _few_departure() -> dict[str, Any]:
    """Eight residuals at 90 %, for which no finite interval is valid; nine and ten, for which one is."""
    from mapie.regression import SplitConformalRegressor

    answers = {}
    for count in (8, 9, 10):
        inputs, values = np.zeros((count, 1)), np.arange(1.0, count + 1)
        theirs = SplitConformalRegressor(_column(0), confidence_level=0.9).conformalize(inputs, values)
        try:
            answers[str(count)] = str(theirs.predict_interval(inputs[:1])[1].ravel().tolist())
        except ValueError as error:
            answers[str(count)] = f"ValueError: {str(error).splitlines()[0]}"
    return {
        "what": "too few residuals raise, where ours is infinite and says that 9 are needed; 9 raise, which would do",
        **answers,
    }


def _tie_departure() -> dict[str, Any]:
    """19 losses, all 0 from lambda 0.5 on, alpha .05: the bound is (0 + 1) / 20, which is alpha."""
    from mapie.risk_control.methods import find_best_predict_param, get_r_hat_plus

    grid = np.array([0.0, 0.5, 1.0])
    losses = np.tile([1.0, 0.0, 0.0], (19, 1))
    _, bounds = get_r_hat_plus(losses, grid, "crc", None, None, None)
    return {
        "what": "a bound of exactly alpha is refused, though the method asks for at most alpha",
        "MAPIE": float(find_best_predict_param(grid, bounds, np.array([0.05]))[0]),
        "ours": control_expected_loss(losses, grid, "0.05").lambda_,
    }


def _uncontrolled_departure() -> dict[str, Any]:
    """Losses of 1 whatever lambda: nothing is controlled."""
    from mapie.risk_control.methods import find_best_predict_param, get_r_hat_plus

    grid, losses = np.array([0.0, 0.5, 1.0]), np.ones((50, 3))
    _, bounds = get_r_hat_plus(losses, grid, "crc", None, None, None)
    return {
        "what": "where no lambda controls the risk, one comes back all the same, with a warning",
        "MAPIE": float(find_best_predict_param(grid, bounds, np.array([0.1]))[0]),
        "ours": control_expected_loss(losses, grid, "0.1").lambda_,
    }


CHECKS: dict[str, Callable[[], FloatArray]] = {
    "MAPIE, absolute residual": _absolute,
    "MAPIE, CQR": partial(_quantiles, asymmetric=False),
    "MAPIE, CQR asymmetric": partial(_quantiles, asymmetric=True),
    "MAPIE, Hoeffding-Bentkus": _hoeffding_bentkus,
    "MAPIE, Bonferroni": partial(_family, Correction.BONFERRONI),
    "MAPIE, fixed sequence": partial(_family, Correction.FIXED_SEQUENCE),
    "MAPIE, conformal risk control": _risk_control,
    "MAPIE, Venn-Abers": _venn_abers,
    "MAPIE, Venn-Abers one against one": partial(_class_venn_abers, Decomposition.ONE_AGAINST_ONE),
    "MAPIE, Venn-Abers one against all": partial(_class_venn_abers, Decomposition.ONE_AGAINST_ALL),
    "MAPIE, simple jumper": _jumper,
}
DEPARTURES: dict[str, Callable[[], dict[str, Any]]] = {
    "MAPIE, adaptive level": _adaptive_departure,
    "MAPIE, few residuals": _few_departure,
    "MAPIE, risk control on the edge": _tie_departure,
    "MAPIE, risk out of reach": _uncontrolled_departure,
}
