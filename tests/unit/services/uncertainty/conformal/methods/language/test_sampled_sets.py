from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.uncertainty.conformal.evaluation import evaluate_language
from services.uncertainty.conformal.evaluation.evaluate_language import prompts
from services.uncertainty.conformal.methods.language.sampled_sets import (
    Bounds,
    Samples,
    TunedBounds,
    pareto_order,
    predict_text_sets,
    select_texts,
    tune,
    validate,
)
from services.uncertainty.conformal.methods.language.set_scores import SetScore, set_scores

BOUNDS = Bounds(similarity=0.6, quality=0.35, confidence=1.4)


def naive_score(qualities: list[float], kept: list[bool], score: SetScore) -> float:
    """Of the first texts drawn, by the definition."""
    of_kept = [quality for quality, is_kept in zip(qualities, kept, strict=True) if is_kept]
    if score is SetScore.FIRST_K_DRAWN:
        return len(qualities)
    if score is SetScore.FIRST_K:
        return len(of_kept)
    if score is SetScore.SUM:
        return sum(of_kept)
    if score is SetScore.MAX:
        return max(of_kept, default=-math.inf)
    if score is SetScore.GEOMETRIC:
        return -math.log(math.prod(1 - quality for quality in of_kept))
    surprises = [
        -math.log(quality * math.prod(1 - before for before in of_kept[:place]))
        for place, quality in enumerate(of_kept)
    ]
    return max(surprises, default=-math.inf)


def naive_set(samples: Samples, item: int, bounds: Bounds, score: SetScore) -> tuple[list[int], int]:
    """The loop of the paper's algorithm."""
    chosen: list[int] = []
    qualities, total = samples.qualities[item].tolist(), samples.qualities.shape[1]
    for place in range(total):
        similar = any(samples.similarities[item, place, other] > bounds.similarity for other in chosen)
        if qualities[place] >= bounds.quality and not similar:
            chosen.append(place)
        kept = [one in chosen for one in range(place + 1)]
        if naive_score(qualities[: place + 1], kept, score) >= bounds.confidence:
            return chosen, place + 1
    return chosen, total


@pytest.mark.parametrize("score", SetScore)
def test_sets_by_the_loop(score: SetScore) -> None:
    samples = prompts(60, np.random.default_rng(0))
    for confidence in (0.5, 1.4, 3.0, math.inf):
        bounds = Bounds(0.6, 0.35, confidence)
        sets = predict_text_sets(samples, bounds, score)
        for item in range(60):
            chosen, drawn = naive_set(samples, item, bounds, score)
            assert np.flatnonzero(sets.kept[item]).tolist() == chosen
            assert sets.drawn[item] == drawn


@pytest.mark.parametrize("score", SetScore)
def test_scores_by_definition_and_never_falling(score: SetScore) -> None:
    samples = prompts(20, np.random.default_rng(1))
    kept = select_texts(samples, similarity=0.6, quality=0.35)
    found = set_scores(samples.qualities, kept, score)
    for item in range(20):
        for end in range(1, found.shape[1] + 1):
            expected = naive_score(samples.qualities[item, :end].tolist(), kept[item, :end].tolist(), score)
            assert found[item, end - 1] == pytest.approx(expected)
    assert (found[:, 1:] >= found[:, :-1]).all()


def test_certain_and_impossible_texts_have_finite_scores() -> None:
    for score in (SetScore.GEOMETRIC, SetScore.MARGINAL):
        assert np.isfinite(set_scores(np.array([[1.0, 0.0, 1.0]]), np.ones((1, 3), dtype=np.bool_), score)).all()


def test_kept_texts_are_good_and_unlike() -> None:
    samples = prompts(50, np.random.default_rng(2))
    kept = select_texts(samples, similarity=0.6, quality=0.35)
    for item, row in enumerate(kept):
        places = np.flatnonzero(row)
        assert (samples.qualities[item, places] >= 0.35).all()
        pairs = samples.similarities[item][np.ix_(places, places)]
        assert (pairs[~np.eye(len(places), dtype=np.bool_)] <= 0.6).all()
    assert select_texts(samples, similarity=math.inf, quality=-math.inf).all()


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_pareto_by_all_pairs(pairs: list[tuple[int, int]]) -> None:
    figures = np.array(pairs, dtype=np.float64)
    found = pareto_order(figures)
    best = {pair for pair in pairs if not any(a <= pair[0] and b <= pair[1] and (a, b) != pair for a, b in pairs)}
    chosen = [pairs[index] for index in found]
    assert set(chosen) == best
    assert len(chosen) == len(best)
    assert all(left[0] < right[0] and left[1] > right[1] for left, right in pairwise(chosen))


def test_tuned_bounds_are_on_the_frontier() -> None:
    samples = prompts(100, np.random.default_rng(3))
    tuned = tune(samples, SetScore.SUM, grid=4)
    figures = []
    for bounds, cost in zip(tuned.bounds, tuned.costs, strict=True):
        sets = predict_text_sets(samples, bounds, SetScore.SUM)
        assert sets.cost == pytest.approx(cost)
        figures.append((float(sets.misses(samples.admissible).mean()), cost))
    assert all(left[0] < right[0] and left[1] > right[1] for left, right in pairwise(figures))


def test_tests_stop_at_the_first_failure() -> None:
    """P-values by hand: of k misses of n at alpha 1/2 the sum of binomial coefficients up to k, over 2^n."""
    admissible = np.zeros((8, 3), dtype=np.bool_)
    admissible[:7, 0] = admissible[:2, 1] = True
    samples = Samples.of(np.full((8, 3), 0.5), np.zeros((8, 3, 3)), admissible)
    qualities = [Bounds(math.inf, floor, 1.0) for floor in (-math.inf, 0.9, 0.1)]
    tested = validate(
        samples, TunedBounds(tuple(qualities), np.array([3.0, 2.0, 1.0]), SetScore.FIRST_K_DRAWN), "0.5", delta="0.1"
    )
    np.testing.assert_allclose(tested.p_values, [9 / 256, 1.0, 9 / 256])
    assert tested.valid.tolist() == [True, False, False]
    assert tested.risks.tolist() == [1 / 8, 1.0, 1 / 8]
    assert tested.chosen == qualities[0]


def test_no_bounds_where_the_risk_cannot_be_kept() -> None:
    samples = prompts(200, np.random.default_rng(4))
    tested = validate(samples, tune(samples, SetScore.SUM, grid=4), "0.05", delta="0.1")
    assert tested.chosen is None
    assert not tested.valid.any()


def test_risk_is_controlled_where_the_eye_fails() -> None:
    """Simulated; 80 trials with delta 0.1 have more than 18 violations with a probability of 0.0003 at the worst."""
    record = evaluate_language._trials(SetScore.SUM, prompts(2000, np.random.default_rng(5)), 80)
    assert record["unsolved"] == 0
    assert record["tested"]["above"] <= 18 / 80
    assert record["by eye"]["above"] > 0.3
    assert record["tested"]["drawn"]["mean"] < 12, "of 20: it is not bought by drawing everything"


def test_section_of_the_report() -> None:
    record = evaluate_language.measure(Path(), trials=2)
    assert sum(line.startswith("| geometric |") for line in evaluate_language.render(record)) == 1
    assert evaluate_language.findings(record)


@pytest.mark.parametrize(
    ("qualities", "admissible"),
    [([[0.5, 1.2]], [[True, True]]), ([[0.5, math.nan]], [[True, True]]), ([[0.5, 0.5]], [[True]]), ([[]], [[]])],
)
def test_samples_are_refused(qualities: list[list[float]], admissible: list[list[bool]]) -> None:
    count = len(qualities[0])
    with pytest.raises(ValueError, match=r"qualities|admissible"):
        Samples.of(qualities, np.zeros((1, count, count)), np.array(admissible, dtype=np.bool_))
