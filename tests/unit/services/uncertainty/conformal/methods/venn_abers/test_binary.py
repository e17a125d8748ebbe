from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression as scipy_isotonic_regression
from scipy.special import expit

from services.uncertainty.conformal.methods.venn_abers.binary import isotonic_regression, single_probability, venn_abers
from services.uncertainty.conformal.methods.venn_abers.multiclass import Decomposition, class_venn_abers

points = st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40)


def refitted(calibration: list[tuple[float, bool]], score: float) -> list[float]:
    """The definition: fit with the test point labelled 0 and 1, read the fit at its score."""
    values = []
    for label in (0, 1):
        both = [*calibration, (score, bool(label))]
        different = sorted({one for one, _ in both})
        groups = [[mark for one, mark in both if one == value] for value in different]
        fit = isotonic_regression([np.mean(group) for group in groups], [len(group) for group in groups])
        values.append(float(fit[different.index(score)]))
    return values


@given(points, st.lists(st.integers(-1, 26).map(lambda value: value / 2), min_size=1, max_size=8))
def test_pairs_are_those_of_a_refit(calibration: list[tuple[float, bool]], asked: list[float]) -> None:
    scores, labels = [one for one, _ in calibration], [mark for _, mark in calibration]
    found = venn_abers(scores, labels).probabilities(asked)
    np.testing.assert_allclose(found, [refitted(calibration, score) for score in asked], atol=1e-12)
    assert (found[:, 0] <= found[:, 1]).all()


def test_pairs_of_many_points_are_those_of_a_refit() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=2000).round(2)
    labels = random.random(2000) < expit(scores)
    asked = random.normal(size=40)
    calibration = list(zip(scores.tolist(), labels.tolist(), strict=True))
    expected = [refitted(calibration, score) for score in asked.tolist()]
    np.testing.assert_allclose(venn_abers(scores, labels).probabilities(asked), expected, atol=1e-12)


def slopes_of_all_pairs(labels: list[int], place: int) -> list[float]:
    """The definition without hulls: max over points to the left of min over points to the right of the slope."""
    sums = np.concatenate([[0.0], np.cumsum(labels)])
    widths = np.arange(len(sums))
    found = []
    for label in (0, 1):
        rises = sums[place:][None] + label - sums[: place + 1][:, None]
        runs = widths[place:][None] + 1.0 - widths[: place + 1][:, None]
        found.append(float((rises / runs).min(axis=1).max()))
    return found


def test_pairs_between_hulls_of_many_vertices() -> None:
    """Edges of all slopes that small whole numbers have: a walk over vertices that stops early would be wrong here."""
    edges = {(width, rise) for width in range(1, 13) for rise in range(width + 1) if math.gcd(width, rise) == 1}
    ordered = sorted(edges, key=lambda edge: edge[1] / edge[0])
    convex = [label for width, rise in ordered for label in [0] * (width - rise) + [1] * rise]
    for labels in (convex, convex[::-1], [1 - label for label in convex], convex + convex):
        asked = np.arange(0, len(labels) + 1, 7)
        found = venn_abers(np.arange(len(labels)), labels).probabilities(asked - 0.5)
        np.testing.assert_array_equal(found, [slopes_of_all_pairs(labels, int(place)) for place in asked])


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.1, 4)), min_size=1, max_size=40))
def test_isotonic_regression_is_scipys(pairs: list[tuple[float, float]]) -> None:
    values, weights = zip(*pairs, strict=True)
    expected = scipy_isotonic_regression(values, weights=weights).x
    np.testing.assert_allclose(isotonic_regression(values, weights), expected, atol=1e-9)


def test_probabilities_are_calibrated() -> None:
    """A model that is far too sure, by reliability in ten bins."""
    random = np.random.default_rng(1)
    margin = random.normal(size=20_000)
    labels = random.random(20_000) < expit(margin)
    sure = expit(4 * margin)
    chances = single_probability(venn_abers(sure[:5000], labels[:5000]).probabilities(sure[5000:]))
    for low in np.arange(0, 1, 0.1):
        chosen = (chances >= low) & (chances < low + 0.1)
        if chosen.sum() > 300:
            error = 0.5 / np.sqrt(chosen.sum())
            assert abs(labels[5000:][chosen].mean() - chances[chosen].mean()) < 4 * error + 0.02


def test_one_of_the_pair_is_calibrated_on_the_mean() -> None:
    """E[p0] <= P(label) <= E[p1], up to chance."""
    gaps = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        scores = random.normal(size=80)
        labels = random.random(80) < expit(scores)
        pairs = venn_abers(scores[:40], labels[:40]).probabilities(scores[40:])
        gaps.append([labels[40:].mean() - pairs[:, 0].mean(), pairs[:, 1].mean() - labels[40:].mean()])
    assert (np.mean(gaps, axis=0) > 0).all()


def test_single_probability() -> None:
    np.testing.assert_allclose(single_probability(np.array([[0.2, 0.4], [0, 1], [0.3, 0.3]])), [0.4 / 1.2, 0.5, 0.3])


def test_without_points_nothing_is_known() -> None:
    np.testing.assert_array_equal(venn_abers([], []).probabilities([0.3]), [[0, 1]])


@pytest.mark.parametrize("decomposition", Decomposition)
def test_classes_are_calibrated_better_than_before(decomposition: Decomposition) -> None:
    random = np.random.default_rng(2)
    margins = random.normal(size=(6000, 4))
    chances = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    labels = (random.random((6000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    sure = np.exp(4 * margins) / np.exp(4 * margins).sum(axis=1, keepdims=True)
    after = class_venn_abers(sure[:3000], labels[:3000], decomposition=decomposition).probabilities(sure[3000:])
    np.testing.assert_allclose(after.sum(axis=1), 1)
    truth = np.eye(4)[labels[3000:]]
    brier = [((rows - truth) ** 2).sum(axis=1).mean() for rows in (chances[3000:], after, sure[3000:])]
    assert brier[0] - 0.01 < brier[1] < 1.03 * brier[0] < 0.85 * brier[2], "near the true chances"
    assert np.abs(after.mean(axis=0) - truth.mean(axis=0)).max() < 0.03


def test_two_classes_are_the_binary_predictor() -> None:
    random = np.random.default_rng(3)
    one = random.random(200)
    labels = (random.random(200) > one).astype(np.int64)
    rows = np.column_stack([one, 1 - one])
    expected = single_probability(venn_abers(rows[:, 0], labels == 0).probabilities(rows[:, 0]))
    np.testing.assert_allclose(class_venn_abers(rows, labels).probabilities(rows)[:, 0], expected)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or 1"):
        venn_abers([0.1], [2])
    with pytest.raises(ValueError, match="classes"):
        class_venn_abers([[0.5, 0.5]], [2])
    with pytest.raises(ValueError, match="positive"):
        isotonic_regression([1.0], [0.0])
