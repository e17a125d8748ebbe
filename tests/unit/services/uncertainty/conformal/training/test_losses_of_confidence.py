"""The discriminative loss, its adapter, temperatures, uniformity: loops, closed forms, finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from services.uncertainty.conformal.methods.levels import conformal_quantile
from services.uncertainty.conformal.methods.scores import APS
from services.uncertainty.conformal.training.discriminative import OrderPreservingAdapter, discriminative_loss
from services.uncertainty.conformal.training.temperature_scaling import (
    LOWEST,
    efficiency_gap,
    fit_conformal_temperature,
    fit_temperature,
)
from services.uncertainty.conformal.training.torch_scores import aps_scores, of_labels, thr_scores
from services.uncertainty.conformal.training.uniformity import UncertaintyAware, uniformity_loss

SHARP = 1e-9


def drawn(count: int, classes: int, *, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits, float64, and labels that are drawn by their probabilities."""
    random = np.random.default_rng(seed)
    logits = scale * random.normal(size=(count, classes))
    return torch.from_numpy(logits), torch.from_numpy((logits + random.gumbel(size=logits.shape)).argmax(axis=1))


def test_discriminative_loss_is_the_mean_size_over_all_levels() -> None:
    logits, labels = drawn(20, 5)
    scores = thr_scores(logits).numpy()
    sizes = [
        int((scores[item] <= scores[other, labels[other]]).sum())
        for item in range(20)
        for other in range(20)
        if item != other
    ]
    assert float(discriminative_loss(thr_scores(logits), labels, SHARP)) == pytest.approx(np.mean(sizes))


def test_discriminative_loss_has_the_right_sign() -> None:
    """The reference's is larger for the classifier that is confident and right."""
    labels = torch.tensor([0, 1, 2, 0])
    right = 5.0 * functional.one_hot(labels, 3).double()
    wrong = 5.0 * functional.one_hot((labels + 1) % 3, 3).double()
    ours = [float(discriminative_loss(thr_scores(logits), labels, 0.1)) for logits in (right, wrong)]
    assert ours[0] < 1 < 1.9 < ours[1]
    turned = []
    for logits in (right, wrong):
        scores = thr_scores(logits)
        turned.append(float(torch.sigmoid((scores - of_labels(scores, labels)[:, None]) / 0.1).mean()))
    assert turned[0] > turned[1]


def test_discriminative_loss_needs_others() -> None:
    with pytest.raises(ValueError, match="two"):
        discriminative_loss(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), 0.1)


def test_adapter_begins_as_nothing_and_keeps_the_order() -> None:
    logits, _ = drawn(50, 6)
    adapter = OrderPreservingAdapter(6).double()
    torch.testing.assert_close(adapter(logits), logits)
    with torch.no_grad():
        adapter.weights.weight.normal_(generator=torch.Generator().manual_seed(4))
    adapted = adapter(logits).detach()
    assert not torch.allclose(adapted, logits)
    assert torch.equal(adapted.argsort(dim=1), logits.argsort(dim=1))
    assert torch.equal(adapted.min(dim=1).values, logits.min(dim=1).values)


def test_likelihood_finds_the_temperature() -> None:
    logits, labels = drawn(4000, 10)
    assert fit_temperature(2.5 * logits, labels) == pytest.approx(2.5, rel=0.05)


def test_likelihood_has_no_slope_at_the_temperature() -> None:
    logits, labels = drawn(300, 10)
    temperature = torch.tensor(fit_temperature(3 * logits, labels), dtype=torch.float64, requires_grad=True)
    torch.autograd.backward(functional.cross_entropy(3 * logits / temperature, labels))
    assert temperature.grad is not None
    assert abs(float(temperature.grad)) < 2e-3


def test_efficiency_gap_by_hand() -> None:
    logits, labels = drawn(40, 5)
    own = APS(randomised=False).of_labels(logits.numpy(), labels.numpy())
    threshold = conformal_quantile(own[:20], "0.2").value
    gap = efficiency_gap(logits, labels, "0.2", sorting_temperature=SHARP)
    assert float(gap) == pytest.approx(np.square(threshold - own[20:]).mean())


def test_efficiency_gap_vanishes_towards_zero() -> None:
    """Why the descent has an end: the gap there says nothing about the classifier."""
    logits, labels = drawn(400, 10)
    gaps = [float(efficiency_gap(logits / temperature, labels, "0.1")) for temperature in (1.0, 0.3, 0.1, 0.01)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-3 < gaps[0] / 10
    assert fit_conformal_temperature(logits, labels, "0.1") == pytest.approx(LOWEST)
    assert fit_conformal_temperature(logits, labels, "0.1", lowest=0.8) == pytest.approx(0.8)


@pytest.mark.parametrize("count", [1, 7, 500])
def test_uniformity_by_closed_form(count: int) -> None:
    even = torch.arange(1, count + 1, dtype=torch.float64) / (count + 1)
    assert float(uniformity_loss(even.flip(0), SHARP)) == pytest.approx(0, abs=1e-20)
    none = uniformity_loss(torch.zeros(count, dtype=torch.float64), SHARP)
    assert float(none) == pytest.approx((2 * count + 1) / (6 * (count + 1)))


def test_scores_of_true_probabilities_are_uniform() -> None:
    logits, labels = drawn(2000, 8)
    uniforms = torch.rand(2000, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    losses = [
        float(uniformity_loss(of_labels(aps_scores(scale * logits, uniforms), labels))) for scale in (1.0, 3.0, 0.3)
    ]
    assert losses[0] < 2e-4 < 10 * losses[0] < min(losses[1:])


def test_reserved_items_are_never_learned_by_cross_entropy() -> None:
    logits, labels = drawn(30, 4)
    logits.requires_grad_()
    uniforms, reserved = torch.full((30,), 0.5, dtype=torch.float64), torch.arange(30) >= 20
    value = UncertaintyAware(weight=0)(logits, labels, uniforms, reserved)
    assert float(value.detach()) == pytest.approx(float(functional.cross_entropy(logits[:20], labels[:20]).detach()))
    torch.autograd.backward(value)
    assert logits.grad is not None
    assert (logits.grad[20:] == 0).all()
    assert (logits.grad[:20] != 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    logits, labels = drawn(8, 4)
    logits.requires_grad_()
    reserved, uniforms = torch.arange(8) >= 4, torch.linspace(0, 0.9, 8, dtype=torch.float64)
    adapter = OrderPreservingAdapter(4).double()
    assert torch.autograd.gradcheck(lambda given: discriminative_loss(thr_scores(given), labels, 0.2), (logits,))
    assert torch.autograd.gradcheck(adapter, (logits,))
    assert torch.autograd.gradcheck(
        lambda given: efficiency_gap(given, labels, "0.3", sorting_temperature=0.2), (logits,)
    )
    aware = UncertaintyAware(weight=2, sorting_temperature=0.2)
    assert torch.autograd.gradcheck(lambda given: aware(given, labels, uniforms, reserved), (logits,))
