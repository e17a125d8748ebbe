"""The losses beside values by hand and a plain loop."""

from __future__ import annotations

import math

import pytest
import torch

from services.medical.chest_xray.training.stages.losses import (
    JointLoss,
    attention_loss,
    classification_loss,
    tag_loss,
    triplet_loss,
)


def test_triplet_loss_is_the_mean_over_all_triplets() -> None:
    torch.manual_seed(0)
    embeddings, labels = torch.randn(7, 5), torch.tensor([0, 0, 1, 2, 1, 0, 2])
    found = []
    for i in range(7):
        for j in range(7):
            for k in range(7):
                if j != i and labels[j] == labels[i] and labels[k] != labels[i]:
                    near, far = (embeddings[i] - embeddings[j]).norm(), (embeddings[i] - embeddings[k]).norm()
                    found.append(max(0.0, float(near - far) + 1))
    assert float(triplet_loss(embeddings, labels)) == pytest.approx(sum(found) / len(found), rel=1e-5)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 2]])
def test_triplet_loss_of_a_batch_without_triplets_is_zero_and_has_finite_gradients(labels: list[int]) -> None:
    embeddings = torch.randn(3, 4, requires_grad=True)
    loss = triplet_loss(embeddings, torch.tensor(labels))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert embeddings.grad is not None
    assert bool((embeddings.grad == 0).all())


def test_triplet_loss_of_equal_embeddings_has_finite_gradients() -> None:
    embeddings = torch.zeros(4, 3, requires_grad=True)
    triplet_loss(embeddings, torch.tensor([0, 0, 1, 1])).backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    assert bool(embeddings.grad.isfinite().all())


def test_attention_loss_by_hand() -> None:
    # Uniform over four pixels against (1/2, 1/2, 0, 0): ln 2 for the first film, 0 for the second, which is met.
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[math.log(3.0), 0.0], [0.0, 0.0]]])
    targets = torch.tensor([[[0.5, 0.5], [0.0, 0.0]], [[0.5, 1 / 6], [1 / 6, 1 / 6]]])
    assert float(attention_loss(logits, targets)) == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_attention_loss_is_of_the_target_to_the_prediction_over_all_pixels() -> None:
    logits = torch.tensor([[[2.0, 0.0]]])
    target = torch.tensor([[[0.25, 0.75]]])
    predicted = torch.softmax(torch.tensor([2.0, 0.0]), dim=0).tolist()
    wanted = 0.25 * math.log(0.25 / predicted[0]) + 0.75 * math.log(0.75 / predicted[1])
    assert float(attention_loss(logits, target)) == pytest.approx(wanted, rel=1e-5)


def test_unknown_labels_and_tags_count_for_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    some = classification_loss(logits, torch.tensor([0, -1]))
    assert float(some) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 2)), rel=1e-5)
    assert float(classification_loss(logits, torch.tensor([-1, -1]))) == 0
    tags = torch.tensor([[1.0, float("nan")], [float("nan"), 0.0]])
    known = tag_loss(torch.zeros(2, 2), tags)
    assert float(known) == pytest.approx(math.log(2), rel=1e-5)
    assert float(tag_loss(torch.zeros(2, 2), torch.full((2, 2), float("nan")))) == 0


def test_joint_loss_at_its_start_and_what_it_learns() -> None:
    loss = JointLoss()
    total = loss(torch.tensor(0.7), torch.tensor(1.2))
    assert float(total.detach()) == pytest.approx(0.7 + 0.6 + 2 * math.log(2), rel=1e-5)
    total.backward()
    # d/dlog s of (0.7 / s^2 + ln(s + 1)) at s = 1.
    assert float(loss.log_classification.grad) == pytest.approx(-1.4 + 0.5, rel=1e-5)  # type: ignore[arg-type]
    assert loss.log_attention.grad is None
