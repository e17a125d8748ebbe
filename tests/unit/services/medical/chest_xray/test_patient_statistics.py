"""Areas, intervals by patient, differences and calibration, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from services.medical.chest_xray.patient_statistics import (
    Ranking,
    brier_score,
    calibration_error,
    mean_by_patient,
    mean_difference,
    patient_weights,
)

RANDOM = np.random.default_rng(11)
LABELS = RANDOM.random(200) < 0.4
SCORES = np.round(RANDOM.normal(LABELS, 1.0), 1)
PATIENTS = RANDOM.integers(0, 90, 200)


def test_areas_are_those_of_scikit_learn_with_ties_and_weights() -> None:
    assert Ranking(LABELS, PATIENTS).auc(SCORES).value == pytest.approx(roc_auc_score(LABELS, SCORES))
    weights = patient_weights(PATIENTS, resamples=5)
    found = Ranking(LABELS, PATIENTS)._areas(SCORES, weights)
    wanted = [roc_auc_score(LABELS, SCORES, sample_weight=one) for one in weights]
    assert found == pytest.approx(wanted)


def test_pairs_are_compared_within_strata_alone() -> None:
    strata = RANDOM.integers(0, 4, 200)
    shifted = SCORES + 100 * strata  # models of folds whose scores cannot be compared
    within = Ranking(LABELS, PATIENTS, strata)
    assert within.auc(shifted).value == pytest.approx(within.auc(SCORES).value)
    pairs = [(LABELS[strata == one].sum() * (~LABELS[strata == one]).sum(), one) for one in range(4)]
    areas = [roc_auc_score(LABELS[strata == one], SCORES[strata == one]) for one in range(4)]
    wanted = sum(count * area for (count, _), area in zip(pairs, areas, strict=True)) / sum(count for count, _ in pairs)
    assert within.auc(SCORES).value == pytest.approx(wanted)


def test_films_of_a_patient_are_drawn_together() -> None:
    weights = patient_weights(PATIENTS, resamples=50)
    for patient in np.unique(PATIENTS):
        assert np.ptp(weights[:, patient == PATIENTS], axis=1).max() == 0
    copies = np.repeat(np.arange(200), 3)
    once = Ranking(LABELS, np.arange(200)).auc(SCORES)
    tripled = Ranking(LABELS[copies], copies).auc(SCORES[copies])
    assert (tripled.low, tripled.high) == pytest.approx((once.low, once.high)), "copies are no further evidence"


def test_an_interval_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = random.random(120) < 0.5
        found = Ranking(labels, np.arange(120)).auc(random.normal(labels, 1.0))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.7602 <= found.high  # of normals one deviation apart
    assert covered >= 34


def test_differences_are_paired() -> None:
    ranking = Ranking(LABELS, PATIENTS)
    same = ranking.difference(SCORES, SCORES)
    assert (same.value, same.low) == (0, None)
    better = ranking.difference(SCORES + LABELS, SCORES)
    assert better.value == pytest.approx(ranking.auc(SCORES + LABELS).value - ranking.auc(SCORES).value)
    assert better.low is not None
    assert better.low > 0


def test_an_area_without_pairs_and_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="a positive and a negative"):
        Ranking(np.ones(4, bool), np.arange(4)).auc(np.arange(4))
    with pytest.raises(ValueError, match="finite"):
        Ranking(LABELS, PATIENTS).auc(np.full(200, np.nan))


def test_means_have_the_interval_of_a_mean() -> None:
    values = RANDOM.normal(3, 2, 400)
    found = mean_by_patient(values, np.arange(400))
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert mean_difference(values, values - 1, np.arange(400)).value == pytest.approx(1)
    assert mean_by_patient(np.ones(5), np.arange(5)).low is None


def test_calibration_error_by_hand() -> None:
    chances = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.35, 0.65]])
    labels = np.array([0, 1, 1, 1])
    assert calibration_error(chances, labels) == pytest.approx((2 * abs(0.5 - 0.95) + 2 * abs(1 - 0.65)) / 4)
    certain = np.eye(2)[labels]
    assert calibration_error(certain, labels) == 0


def test_the_brier_score_of_two_classes_is_twice_scikit_learns() -> None:
    chance = RANDOM.random(200)
    found = brier_score(np.stack([1 - chance, chance], axis=1), LABELS.astype(np.int64))
    assert found == pytest.approx(2 * brier_score_loss(LABELS, chance))
