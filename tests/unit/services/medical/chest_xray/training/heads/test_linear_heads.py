"""Logistic regression on features: the folded head, the choice of its penalty, patients kept together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from services.medical.chest_xray.training.heads.linear_heads import fit_head, probabilities

RANDOM = np.random.default_rng(2)
LABELS = np.arange(240) % 3
FEATURES = RANDOM.normal(0, 1, (240, 5)) * [1, 10, 100, 1, 1] + LABELS[:, None] * [0.8, 0, 30, 0, 0] + [0, 50, 0, 0, 7]
FEATURES[:, 4] = 7
PATIENTS = np.arange(240) // 6


def test_the_head_is_scikit_learns_with_the_standardisation_folded_in() -> None:
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    for labels in (LABELS, np.minimum(LABELS, 1)):
        head = fit_head(FEATURES, labels, PATIENTS, inverse_penalties=(0.01,))
        wanted = reference.fit(FEATURES, labels).predict_proba(FEATURES)
        assert probabilities(head(FEATURES)) == pytest.approx(wanted, abs=1e-6)


def test_of_two_classes_the_second_score_is_the_logit() -> None:
    head = fit_head(FEATURES, np.minimum(LABELS, 1), PATIENTS, inverse_penalties=(0.01,))
    assert (head(FEATURES)[:, 0] == 0).all()
    assert head.weight.shape == (5, 2)


def test_a_feature_that_says_nothing_has_no_weight() -> None:
    head = fit_head(FEATURES, LABELS, PATIENTS, inverse_penalties=(0.01,))
    assert head.weight[4] == pytest.approx(0, abs=1e-9)
    assert np.isfinite(head.weight).all()


def test_the_penalty_is_strong_where_features_are_noise_and_weak_where_they_tell() -> None:
    patients = np.arange(240)
    noise = fit_head(RANDOM.normal(size=(240, 60)), LABELS, patients, inverse_penalties=(1e-4, 1.0))
    telling = fit_head(
        np.eye(3)[LABELS] + RANDOM.normal(0, 0.1, (240, 3)), LABELS, patients, inverse_penalties=(1e-4, 1.0)
    )
    assert (noise.inverse_penalty, telling.inverse_penalty) == (1e-4, 1.0)


def test_patients_are_never_in_both_parts_when_the_penalty_is_chosen() -> None:
    """Features name the patient and labels are the patients': a head without penalty would seem right by heart."""
    patients = np.arange(240) // 4
    labels = RANDOM.integers(0, 2, 60)[patients]
    by_heart = np.eye(60)[patients]
    assert fit_head(by_heart, labels, patients, inverse_penalties=(1e-4, 10.0)).inverse_penalty == 1e-4
    assert fit_head(by_heart, labels, np.arange(240), inverse_penalties=(1e-4, 10.0)).inverse_penalty == 10.0


def test_probabilities_are_a_soft_max_of_any_size() -> None:
    scores = np.array([[1000.0, 999.0, 0.0], [-1000.0, -1000.0, -1000.0]])
    assert probabilities(scores) == pytest.approx(softmax(scores, axis=1))
