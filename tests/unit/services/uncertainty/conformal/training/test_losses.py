"""Losses against closed forms, the NumPy core and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.scores import APS, THR, Transform
from services.uncertainty.conformal.training.size_training import (
    SCPO,
    ConfTr,
    classification_losses,
    size_losses,
    smooth_sets,
)
from services.uncertainty.conformal.training.soft_sorting import soft_permutation, soft_quantile, soft_sort
from services.uncertainty.conformal.training.torch_scores import aps_scores, log_scores, of_labels, thr_scores

SHARP = 1e-9
"""A temperature at which smooth functions are steps to the last digit, for values that lie apart."""


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Logits (12, 4), float64, and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    return 2 * logits, torch.randint(0, 4, (12,), generator=generator)


def test_soft_order_of_two_is_a_sigmoid() -> None:
    values, temperature = torch.tensor([0.7, 0.2], dtype=torch.float64), 0.3
    share = 1 / (1 + math.exp(-0.5 / 0.3))
    expected = torch.tensor([[1 - share, share], [share, 1 - share]], dtype=torch.float64)
    torch.testing.assert_close(soft_permutation(values, temperature), expected, rtol=1e-12, atol=0)


def test_soft_order_is_the_order_when_cold() -> None:
    values = torch.randn(30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(soft_sort(values, SHARP), values.sort().values)
    assert torch.allclose(soft_permutation(values, 0.5).sum(dim=1), torch.ones(30, dtype=torch.float64))
    for alpha in ("0.01", "0.1", "0.7"):
        exact = conformal_quantile(values.numpy(), alpha).value
        assert float(soft_quantile(values, alpha, SHARP)) == pytest.approx(min(exact, float(values.max())))


@pytest.mark.parametrize(("shape", "temperature"), [((0,), 1.0), ((2, 2), 1.0), ((3,), 0.0), ((3,), math.nan)])
def test_soft_order_refuses(shape: tuple[int, ...], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        soft_permutation(torch.zeros(shape), temperature)


def test_scores_are_those_that_serve(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    uniforms = torch.rand(12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    arrays = logits.numpy(), uniforms.numpy()
    np.testing.assert_allclose(thr_scores(logits), THR().of_all(logits.numpy()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(aps_scores(logits, uniforms), APS().of_all(*arrays), rtol=0, atol=1e-12)
    np.testing.assert_allclose(aps_scores(logits), APS(randomised=False).of_all(logits.numpy()), rtol=0, atol=1e-12)
    logarithms = THR(transform=Transform.LOG_SOFTMAX).of_all(logits.numpy()) - 1
    np.testing.assert_allclose(log_scores(logits), logarithms, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(of_labels(logits, labels), logits.numpy()[np.arange(12), labels.numpy()])
    with pytest.raises(ValueError, match="labels"):
        of_labels(logits, labels[:, None])


def test_smooth_sets_by_hand() -> None:
    members = smooth_sets(torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64), 1.0, 0.5)
    expected = [1 / (1 + math.exp(-2)), 0.5, 1 / (1 + math.exp(4))]
    np.testing.assert_allclose(members.numpy(), [expected], rtol=1e-12)
    assert float(size_losses(members)[0]) == pytest.approx(sum(expected) - 1)
    assert float(size_losses(members, target_size=2)[0]) == 0
    label = torch.tensor([1])
    assert float(classification_losses(members, label)[0]) == pytest.approx(0.5)
    penalties = torch.tensor([[1.0, 0, 0], [2, 3, 4], [0, 0, 1]], dtype=torch.float64)
    by_hand = 2 * expected[0] + 3 * 0.5 + 4 * expected[2]
    assert float(classification_losses(members, label, penalties)[0]) == pytest.approx(by_hand)


def test_conftr_is_calibration_and_sets_when_cold(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    loss = ConfTr(alpha="0.3", temperature=SHARP, sorting_temperature=SHARP, weight=0.7)(logits, labels)
    scores = -np.log(1 - THR().of_all(logits.numpy()))
    threshold = conformal_quantile(scores[np.arange(6), labels.numpy()[:6]], "0.3").value
    sets = scores[6:] <= threshold
    missed = ~sets[np.arange(6), labels.numpy()[6:]]
    assert float(loss) == pytest.approx(math.log((missed + 0.7 * np.maximum(sets.sum(axis=1) - 1, 0)).mean()))


def test_conftr_takes_penalties(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    penalties = torch.arange(16, dtype=torch.float64).reshape(4, 4)
    options = {"alpha": "0.3", "temperature": SHARP, "sorting_temperature": SHARP, "weight": 0.0}
    loss = ConfTr(**options, penalties=penalties)(logits, labels)  # type: ignore[arg-type]
    scores = -np.log(1 - THR().of_all(logits.numpy()))
    threshold = conformal_quantile(scores[np.arange(6), labels.numpy()[:6]], "0.3").value
    costs = []
    for item in range(6, 12):
        own = int(labels[item])
        wrong = [(scores[item, label] <= threshold) != (label == own) for label in range(4)]
        costs.append(sum(float(penalties[own, label]) for label in range(4) if wrong[label]))
    assert float(loss) == pytest.approx(math.log(np.mean(costs)))


def test_scpo_by_hand(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    loss = SCPO(alpha="0.2", threshold=1.5, temperature=SHARP, weight=3.0)(logits, labels)
    sets = -np.log(1 - THR().of_all(logits.numpy())) <= 1.5
    covered = sets[np.arange(12), labels.numpy()].mean()
    assert float(loss) == pytest.approx(math.log(sets.sum(axis=1).mean() + 3 * (covered - 0.8) ** 2))


def test_gradients_are_those_of_finite_differences(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch[0].requires_grad_(), batch[1]
    row = torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: soft_sort(values, 0.5), (row,))
    assert torch.autograd.gradcheck(lambda values: soft_quantile(values, "0.3", 0.5), (row,))
    assert torch.autograd.gradcheck(aps_scores, (logits,))
    assert torch.autograd.gradcheck(
        lambda given: ConfTr(alpha="0.3", sorting_temperature=0.5)(given, labels), (logits,)
    )
    assert torch.autograd.gradcheck(lambda given: SCPO()(given, labels), (logits,))
