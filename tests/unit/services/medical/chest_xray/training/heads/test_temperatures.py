"""Priors and temperatures, beside independent values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from services.medical.chest_xray.training.heads.temperatures import fit_temperature
from services.medical.chest_xray.training.stages.final_heads import adjust_priors


@pytest.mark.parametrize("wanted", [0.5, 1.0, 3.0])
def test_temperature_brings_logits_back_to_what_labels_were_drawn_from(wanted: float) -> None:
    random = np.random.default_rng(0)
    true = random.normal(0, 2, (20000, 3))
    labels = (true + random.gumbel(size=true.shape)).argmax(axis=1)
    assert fit_temperature(true * wanted, labels) == pytest.approx(wanted, rel=0.05)


def test_temperature_of_yes_against_no_lowers_its_loss() -> None:
    logits, labels = np.array([4.0, -4.0, 4.0, -4.0]), np.array([1, 0, 0, 1])
    scores = np.stack((np.zeros(4), logits), axis=1)
    found = fit_temperature(scores, labels)
    loss = [-log_softmax(scores / one, axis=1)[np.arange(4), labels].mean() for one in (1.0, found)]
    assert loss[1] < loss[0]


def test_priors_of_the_training_films_come_back_into_logits() -> None:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    adjust_priors(layer, np.array([0] * 6 + [1] + [2] * 3))
    assert torch.allclose(layer(torch.zeros(1, 2)).softmax(dim=1), torch.tensor([[0.6, 0.1, 0.3]]), atol=1e-6)
