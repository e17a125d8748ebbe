"""Saliency metrics: values by hand, what scipy and scikit-learn give, identities, and maps that say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import rel_entr
from scipy.stats import pearsonr, zscore
from sklearn.metrics import roc_auc_score

from services.medical.chest_xray.saliency_metrics import (
    auc_judd,
    correlation,
    energy_inside,
    histogram_similarity,
    kl_divergence,
    normalised_scanpath_saliency,
    pointing_hit,
    ranked_share,
)

RANDOM = np.random.default_rng(3)
TARGET, PREDICTED = RANDOM.gamma(1.0, size=(12, 9)), RANDOM.gamma(2.0, size=(12, 9))
FIXATED = RANDOM.random((12, 9)) < 0.2
UNIFORM = np.ones((12, 9))


def test_values_by_hand() -> None:
    target, predicted = np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]])
    assert kl_divergence(target, predicted) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert histogram_similarity(target, predicted) == pytest.approx(0.75)
    assert correlation(target, np.array([[0.0, 2.0]])) == pytest.approx(-1)
    assert normalised_scanpath_saliency(np.array([[1, 0, 0]]), np.array([[3.0, 0.0, 0.0]])) == pytest.approx(
        (3 - 1) / math.sqrt(2)
    )
    assert auc_judd(np.array([[True, False, False]]), np.array([[2.0, 1.0, 2.0]])) == pytest.approx(0.75)
    assert energy_inside(np.array([[True, False]]), np.array([[1.0, 3.0]])) == pytest.approx(0.25)
    assert pointing_hit(np.array([[True, False]]), np.array([[1.0, 3.0]])) == 0
    assert pointing_hit(np.array([[False, True]]), np.array([[1.0, 3.0]])) == 1


def test_other_implementations_agree() -> None:
    target, predicted = TARGET / TARGET.sum(), PREDICTED / PREDICTED.sum()
    assert kl_divergence(TARGET, PREDICTED) == pytest.approx(rel_entr(target, predicted).sum())
    assert correlation(TARGET, PREDICTED) == pytest.approx(pearsonr(TARGET.ravel(), PREDICTED.ravel()).statistic)
    # Swain and Ballard's intersection is one less half of the distance in L1.
    assert histogram_similarity(TARGET, PREDICTED) == pytest.approx(1 - np.abs(target - predicted).sum() / 2)
    assert auc_judd(FIXATED, PREDICTED) == pytest.approx(roc_auc_score(FIXATED.ravel(), PREDICTED.ravel()))
    assert normalised_scanpath_saliency(FIXATED, PREDICTED) == pytest.approx(
        zscore(PREDICTED, axis=None)[FIXATED].mean()
    )


def test_ties_count_half_as_in_scikit_learn() -> None:
    rounded = np.round(PREDICTED)
    assert auc_judd(FIXATED, rounded) == pytest.approx(roc_auc_score(FIXATED.ravel(), rounded.ravel()))


def test_identities_of_a_map_with_itself() -> None:
    for one in (TARGET, PREDICTED.astype(np.float32), 1e-9 * TARGET):
        assert kl_divergence(one, one) == 0
        assert correlation(one, one) == pytest.approx(1)
        assert histogram_similarity(one, one) == pytest.approx(1)


@pytest.mark.parametrize("constant", [UNIFORM, np.full((12, 9), 0.1, np.float32), np.full((12, 9), 1e-7)])
def test_a_constant_map_earns_nothing_and_is_never_nan(constant: np.ndarray) -> None:
    assert correlation(TARGET, constant) == 0
    assert correlation(constant, constant) == 0
    assert 0 < histogram_similarity(TARGET, constant) < 1
    assert normalised_scanpath_saliency(FIXATED, constant) == 0
    assert auc_judd(FIXATED, constant) == 0.5
    assert pointing_hit(FIXATED, constant) == pytest.approx(FIXATED.mean())
    assert energy_inside(FIXATED, constant) == pytest.approx(FIXATED.mean())


def test_scale_of_a_map_says_nothing() -> None:
    for metric in (kl_divergence, correlation, histogram_similarity):
        assert metric(7 * TARGET, 0.01 * PREDICTED) == pytest.approx(metric(TARGET, PREDICTED))


def test_direction_of_the_divergence_is_target_against_prediction() -> None:
    target, spread = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert kl_divergence(target, spread) == pytest.approx(math.log(2))
    assert kl_divergence(spread, target) > 10, "a prediction of zero where people looked costs much, and is finite"
    assert math.isfinite(kl_divergence(spread, target))


def test_pixels_that_are_all_or_none_fixated_say_nothing() -> None:
    for fixated in (np.zeros((12, 9), bool), np.ones((12, 9), bool)):
        assert auc_judd(fixated, PREDICTED) == 0.5
    assert ranked_share(np.array([1.0]), np.array([])) == 0.5


@pytest.mark.parametrize("metric", [kl_divergence, correlation, histogram_similarity])
@pytest.mark.parametrize("wrong", [np.zeros((12, 9)), -TARGET, np.full((12, 9), np.nan), np.ones((9, 12))])
def test_what_is_no_density_is_refused(metric: Callable[..., float], wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"density|finite|shapes"):
        metric(TARGET, wrong)
    with pytest.raises(ValueError, match=r"density|finite|shapes"):
        metric(wrong, TARGET)


def test_counts_of_fixations_are_checked() -> None:
    with pytest.raises(ValueError, match="above 0"):
        normalised_scanpath_saliency(np.zeros((12, 9)), PREDICTED)
    weighted = normalised_scanpath_saliency(3 * FIXATED.astype(np.int64), PREDICTED)
    assert weighted == pytest.approx(normalised_scanpath_saliency(FIXATED, PREDICTED))
