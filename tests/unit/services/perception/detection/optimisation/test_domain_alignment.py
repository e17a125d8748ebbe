"""Gradients are reversed, domains are classes of the loss, keys, queries and values of an object belong together."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from services.perception.detection.optimisation.domain_alignment import (
    AlignmentOptions,
    ImageDiscriminator,
    InstanceDiscriminator,
)
from services.perception.detection.optimisation.gradient_reversal import ramp, reverse_gradient

OPTIONS = AlignmentOptions(image_widths=(8, 8, 8), width=16, heads=2, hidden=(8, 8))


def test_the_gradient_is_reversed_and_scaled() -> None:
    features = torch.randn(3, 4, requires_grad=True)
    weights = torch.randn(3, 4)
    (reverse_gradient(features, 0.25) * weights).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(reverse_gradient(features, 0.25), features)
    assert features.grad is not None
    torch.testing.assert_close(features.grad, -0.25 * weights)


def test_reversal_comes_in_slowly() -> None:
    course = [ramp(step / 10) for step in range(11)]
    assert course[0] == 0
    assert course == sorted(course)
    assert 0.999 < course[-1] < 1
    assert ramp(2.0) == course[-1]


def discriminator(domains: int = 3) -> ImageDiscriminator:
    return ImageDiscriminator(4, domains, OPTIONS)


def test_each_place_is_told_its_domain() -> None:
    made, features, domains = discriminator(), torch.randn(5, 4, 6, 7), torch.tensor([0, 1, 2, 2, 0])
    logits = made.layers(features)
    assert logits.shape == (5, 3, 6, 7)
    places = logits.permute(0, 2, 3, 1).reshape(-1, 3)
    wanted = functional.cross_entropy(places, domains.repeat_interleave(42))
    torch.testing.assert_close(made.loss(features, domains, reversal=1.0), wanted)


def test_what_tells_domains_apart_is_unlearned_by_the_features() -> None:
    made, domains = discriminator(2), torch.tensor([0, 0, 1, 1])
    shift = domains[:, None, None, None] * torch.ones(4, 4, 5, 5)
    features = (torch.randn(4, 4, 5, 5) * 0.1 + shift).requires_grad_()
    optimiser = torch.optim.Adam(made.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        loss = made.loss(features, domains, reversal=1.0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(loss.detach()) < 0.1
    (gradient,) = torch.autograd.grad(made.loss(features, domains, reversal=1.0), features)
    with torch.no_grad():
        # A step down the gradient that features get makes the domains harder to tell.
        moved = features - 2.0 * gradient / gradient.abs().max()
        assert float(made.loss(moved, domains, reversal=1.0)) > 2 * float(loss)


def instances(*, conditioned: bool = True, balanced: bool = True) -> InstanceDiscriminator:
    torch.manual_seed(1)
    options = AlignmentOptions(width=16, heads=2, hidden=(8, 8), conditioned=conditioned, balanced=balanced)
    return InstanceDiscriminator(12, 3, 2, options).eval()


@pytest.mark.parametrize("conditioned", [True, False])
def test_rows_of_an_object_belong_together(conditioned: bool) -> None:
    made, features, labels = instances(conditioned=conditioned), torch.randn(6, 12), torch.tensor([0, 1, 2, 0, 1, 2])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    found, permuted = made(features, labels), made(features[order], labels[order])
    torch.testing.assert_close(permuted, found[order])


def test_labels_in_another_order_are_another_question() -> None:
    made, features, labels = instances(), torch.randn(6, 12), torch.tensor([0, 1, 2, 0, 1, 2])
    assert not torch.allclose(made(features, labels), made(features, labels.flip(0)))
    agnostic = instances(conditioned=False)
    torch.testing.assert_close(agnostic(features, labels), agnostic(features, labels.flip(0)))


def test_attention_is_by_the_class_of_the_other_object() -> None:
    made, labels = instances(), torch.tensor([0, 1, 0, 2, 1, 0])
    _, weights = made.attend(torch.randn(6, 12), labels)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6))
    for label in range(3):
        of_class = weights[:, labels == label]
        torch.testing.assert_close(of_class, of_class[:, :1].expand_as(of_class))


def test_a_class_attracts_as_much_however_frequent_it_is() -> None:
    features, often = torch.randn(3, 12), torch.tensor([0, 1, 1, 1, 1])
    repeated = features[[0, 1, 1, 2, 2]]
    for balanced in (True, False):
        made = instances(balanced=balanced)
        once = made(features, torch.tensor([0, 1, 1]))
        assert torch.allclose(made(repeated, often)[[0, 1, 3]], once, atol=1e-6) == balanced


def test_the_source_is_the_class_of_the_loss() -> None:
    made, features = instances(balanced=False), torch.randn(5, 12)
    labels = [torch.tensor([0, 2]), torch.tensor([1, 1, 0])]
    terms = [
        functional.cross_entropy(made(features[:2], labels[0]), torch.zeros(2, dtype=torch.int64)),
        functional.cross_entropy(made(features[2:], labels[1]), torch.ones(3, dtype=torch.int64)),
    ]
    torch.testing.assert_close(made.loss(features, labels, reversal=1.0), torch.stack(terms).mean())


def test_classes_of_two_sources_are_told_apart_and_count_the_same() -> None:
    made, features = instances(), torch.randn(7, 12, requires_grad=True)
    labels = [torch.tensor([0, 2, 1]), torch.tensor([1, 1, 1, 0])]
    first = made(features[[0, 2]], labels[0][[0, 2]])
    second = made(features[3:], labels[1])
    of_first = functional.cross_entropy(first, torch.zeros(2, dtype=torch.int64), reduction="none")
    of_second = functional.cross_entropy(second, torch.ones(4, dtype=torch.int64), reduction="none")
    wanted = torch.stack([of_first[0], of_first[1], of_second[:3].mean(), of_second[3]]).mean()
    loss = made.loss(features, labels, reversal=1.0)
    torch.testing.assert_close(loss, wanted)
    (gradient,) = torch.autograd.grad(loss, features)
    assert [bool(row.any()) for row in gradient] == [True, False, True, True, True, True, True]


def test_nothing_is_told_apart_where_no_class_is_shared() -> None:
    loss = instances().loss(torch.randn(3, 12), [torch.tensor([0, 2]), torch.tensor([1])], reversal=1.0)
    assert float(loss.detach()) == 0


def test_keys_are_not_reversed_and_features_are() -> None:
    made, labels = instances(), [torch.tensor([0, 1]), torch.tensor([2, 0])]
    features = torch.randn(4, 12, requires_grad=True)
    plain, reversed_loss = made.loss(features, labels, reversal=-1.0), made.loss(features, labels, reversal=1.0)
    gradients = torch.autograd.grad(plain, [features, made.keys.weight])
    reversed_gradients = torch.autograd.grad(reversed_loss, [features, made.keys.weight])
    torch.testing.assert_close(reversed_gradients[0], -gradients[0])
    torch.testing.assert_close(reversed_gradients[1], gradients[1])


def test_a_source_without_objects_is_left_out() -> None:
    made, features, none = instances(balanced=False), torch.randn(3, 12), torch.zeros(0, dtype=torch.int64)
    labels = torch.tensor([0, 1, 1])
    alone = functional.cross_entropy(made(features, labels), torch.ones(3, dtype=torch.int64))
    torch.testing.assert_close(made.loss(features, [none, labels], reversal=1.0), alone)
    for balanced in (True, False):
        empty = torch.zeros(0, 12, requires_grad=True)
        loss = instances(balanced=balanced).loss(empty, [none, none], reversal=1.0)
        loss.backward()  # type: ignore[no-untyped-call]
        assert float(loss.detach()) == 0


def test_labels_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 features and 2 labels"):
        instances().loss(torch.randn(3, 12), [torch.tensor([0]), torch.tensor([1])], reversal=1.0)
