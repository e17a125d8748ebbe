"""Unimodal heads and losses of intervals: against closed forms, brute force and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from services.uncertainty.conformal.evaluation.synthetic_experiments import with_holes
from services.uncertainty.conformal.training.interval_losses import pinball_loss, r2ccp_loss
from services.uncertainty.conformal.training.ordinal import Activation, UnimodalHead


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("distance", [torch.abs, torch.square])
def test_heads_are_unimodal(distance: Activation) -> None:
    logits = UnimodalHead(distance=distance)(3 * normal(200, 9)).numpy()
    steps = np.sign(np.diff(logits, axis=1))
    assert (np.diff(steps, axis=1) <= 0).all(), "never rises again after it has fallen"
    sets = logits[:, None, :] >= np.sort(logits, axis=1)[:, :, None]
    assert not with_holes(sets.reshape(-1, 9)).any()
    assert with_holes(normal(200, 9).numpy() > 0).any()


def test_head_by_hand_with_two_functions_of_its_own() -> None:
    """The reference reads the second function from the first argument; here they differ and both count."""
    head = UnimodalHead(positive=torch.exp, distance=torch.square)
    found = head(torch.tensor([[-2.0, math.log(3), 0.0]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[-4.0, -1.0, -4.0]], dtype=torch.float64))


def test_holes_by_hand() -> None:
    sets = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1]], dtype=np.bool_)
    assert with_holes(sets).tolist() == [True, False, False, False, False]


def test_pinball_by_hand() -> None:
    predictions = torch.tensor([[1.0, 4.0], [0.0, 2.0]])
    levels = torch.tensor([0.1, 0.9])
    # Item 0: 0.1 * 2 and 0.1 * 1; item 1: 0.9 * 1 and 0.1 * 3.
    found = pinball_loss(predictions, torch.tensor([3.0, -1.0]), levels)
    assert float(found) == pytest.approx((0.2 + 0.1 + 0.9 + 0.3) / 2)


def test_perfect_predictions_cost_nothing_and_columns_are_refused() -> None:
    """In the reference targets (B, 1) are compared with every prediction: perfect ones cost 5."""
    targets, levels = torch.arange(5.0), torch.tensor([0.05, 0.95])
    assert float(pinball_loss(torch.stack([targets, targets], dim=1), targets, levels)) == 0
    for predictions, given in ((targets[:, None], targets), (targets[:, None].repeat(1, 2), targets[:, None])):
        with pytest.raises(ValueError, match="expected"):
            pinball_loss(predictions, given, levels)
    with pytest.raises(ValueError, match="expected"):
        r2ccp_loss(torch.zeros(5, 3), targets[:, None], torch.arange(3.0))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.85])
def test_pinball_is_smallest_at_the_quantile(level: float) -> None:
    targets = normal(101)
    grid = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    levels = torch.tensor([level], dtype=torch.float64)
    costs = [float(pinball_loss(one.expand(101, 1), targets, levels)) for one in grid]
    assert float(grid[int(np.argmin(costs))]) == pytest.approx(float(targets.quantile(level)), abs=0.08)


def test_r2ccp_by_loops() -> None:
    logits, targets, middles = normal(6, 4), normal(6, seed=1), torch.linspace(-1, 1, 4, dtype=torch.float64)
    total = 0.0
    for item in range(6):
        shares = np.exp(logits[item].numpy()) / np.exp(logits[item].numpy()).sum()
        total += sum(
            share * abs(float(targets[item]) - float(middle)) ** 0.7 + 0.3 * share * math.log(share)
            for share, middle in zip(shares, middles, strict=True)
        )
    assert float(r2ccp_loss(logits, targets, middles, power=0.7, entropy=0.3)) == pytest.approx(total / 6)


def test_gradients_are_those_of_finite_differences() -> None:
    outputs, targets = normal(5, 4).requires_grad_(), normal(5, seed=1)
    levels = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(UnimodalHead(), (outputs,))
    assert torch.autograd.gradcheck(lambda given: pinball_loss(given, targets, levels), (outputs,))
    assert torch.autograd.gradcheck(lambda given: r2ccp_loss(given, targets, 3 * levels), (outputs,))
