"""Losses that outgrow others are scaled down, and a run that goes nowhere ends with a reason."""

from __future__ import annotations

import pytest
import torch

from services.optimisation.divergence import Diverged
from services.perception.detection.optimisation.guards import Guard, GuardOptions


def test_other_losses_are_no_larger_than_the_labelled_one() -> None:
    guard = Guard(GuardOptions(largest_ratio=0.5))
    weight = torch.tensor(40.0, requires_grad=True)
    total = guard.combine(torch.tensor(2.0), weight)
    assert float(total.detach()) == pytest.approx(3.0)
    total.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert float(weight.grad) == pytest.approx(1 / 40)
    assert guard.capped == 1
    assert float(guard.combine(torch.tensor(2.0), torch.tensor(0.5))) == 2.5
    assert guard.capped == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    with pytest.raises(Diverged, match="not finite"):
        Guard().check(loss, aligning=False)


def test_a_loss_that_grows_after_burn_in_ends_the_run() -> None:
    guard = Guard()
    for _ in range(60):
        guard.check(1.0, aligning=False)
    for _ in range(33):
        guard.check(4.0, aligning=True)  # of the last fifty, seventeen are of burn-in still
    with pytest.raises(Diverged, match=r"grown from 1\.00 to 3\.06"):
        guard.check(4.0 + 50 * 0.02, aligning=True)


def test_a_loss_that_was_large_from_the_start_does_not() -> None:
    guard = Guard()
    for step in range(200):
        guard.check(5.0, aligning=step > 100)


def test_no_labels_for_long_end_the_run() -> None:
    guard = Guard(GuardOptions(patience=5))
    for labels in (0, 0, 0, 0, 1, 0, 0, 0, 0):
        guard.count(labels, 2)
    with pytest.raises(Diverged, match="For 5 steps no object"):
        guard.count(0, 2)


def test_far_too_many_labels_end_the_run() -> None:
    guard = Guard(GuardOptions(most_labels=100))
    for _ in range(49):
        guard.count(300, 2)
    with pytest.raises(Diverged, match="150 objects"):
        guard.count(300, 2)


def test_its_state_goes_through_a_checkpoint() -> None:
    guard, other = Guard(), Guard()
    for step in range(70):
        guard.check(float(step), aligning=step > 50)
        guard.count(step % 3, 2)
    other.restore(guard.state())
    assert other.state() == guard.state()
    assert other.labels_per_picture == guard.labels_per_picture > 0
