"""Linear heads, temperatures and areas under curves, beside independent values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from torch import nn

from services.medical.chest_xray.training.heads import binary_logits, fit_head, fit_temperature
from services.medical.chest_xray.training.measures import auc, auc_by_patient
from services.medical.chest_xray.training.stages.final_heads import adjust_priors, choose_threshold


def test_a_head_parts_what_can_be_parted_and_is_the_same_in_torch() -> None:
    random = np.random.default_rng(0)
    labels = random.random(120) < 0.4
    features = random.normal(5, 3, (120, 6)).astype(np.float32)
    features[:, 2] += 6 * labels
    head = fit_head(features, labels, np.arange(120) // 2)
    logits = head.logits(features)
    assert roc_auc_score(labels, logits) > 0.9
    assert np.abs(head.weight).argmax() == 2
    layer = nn.Linear(6, 1)
    head.store(layer)
    assert np.allclose(layer(torch.from_numpy(features)).detach().numpy()[:, 0], logits, atol=1e-4)


def test_a_head_of_noise_is_regularised_strongly() -> None:
    random = np.random.default_rng(1)
    head = fit_head(random.normal(size=(80, 60)).astype(np.float32), random.random(80) < 0.5, np.arange(80))
    assert head.strength < 0.1


def test_a_head_needs_both_labels() -> None:
    with pytest.raises(ValueError, match="both labels"):
        fit_head(np.zeros((4, 2), np.float32), np.ones(4, bool), np.arange(4))


@pytest.mark.parametrize("wanted", [0.5, 1.0, 3.0])
def test_temperature_brings_logits_back_to_what_labels_were_drawn_from(wanted: float) -> None:
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (20000, 3))
    labels = (true + random.gumbel(size=true.shape)).argmax(axis=1)
    assert fit_temperature(true * wanted, labels) == pytest.approx(wanted, rel=0.05)


def test_temperature_of_one_logit_lowers_its_loss() -> None:
    logits, labels = np.array([4.0, -4.0, 4.0, -4.0]), np.array([1, 0, 0, 1])
    found = fit_temperature(binary_logits(logits), labels)
    loss = [-log_softmax(binary_logits(logits) / one, axis=1)[np.arange(4), labels].mean() for one in (1.0, found)]
    assert loss[1] < loss[0]


def test_priors_of_the_training_films_come_back_into_logits() -> None:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    adjust_priors(layer, np.array([0] * 6 + [1] + [2] * 3))
    assert torch.allclose(layer(torch.zeros(1, 2)).softmax(dim=1), torch.tensor([[0.6, 0.1, 0.3]]), atol=1e-6)


def test_the_threshold_lies_between_films_and_others_or_refuses_one_film_in_a_hundred() -> None:
    films = np.linspace(2.0, 6.0, 200, dtype=np.float32)
    apart = choose_threshold(films, np.linspace(-6.0, -1.0, 100, dtype=np.float32))
    assert apart == pytest.approx((films[2] - 1.0) / 2, abs=0.05)
    mixed = choose_threshold(films, np.linspace(-6.0, 4.0, 100, dtype=np.float32))
    assert (films < mixed).sum() == 2


def test_area_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 6, 90).astype(float), random.random(90) < 0.3
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert np.isnan(auc(scores, np.zeros(90, bool)))


def test_interval_is_wider_where_films_are_of_few_patients() -> None:
    random = np.random.default_rng(0)
    positive = random.random(120) < 0.4
    scores = random.normal(size=120) + positive
    many = auc_by_patient(scores, positive, np.arange(120), resamples=300)
    films = np.repeat(np.arange(30), 4)
    few = auc_by_patient(scores[films], positive[films], films, resamples=300)
    assert many.low < many.value < many.high
    assert few.high - few.low > many.high - many.low
