"""The conformal discriminative loss and the C-Adapter that it fits on a frozen classifier (Liu et al. 2024).

Averaged over all levels, the size of a set is the number of labels whose score is at most that of the true label of
another item. The loss is that number with a sigmoid for the comparison. In TorchCP 1.2.1 its sign is turned round: it
is larger for a classifier that is confident and right than for one that is confident and wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.uncertainty.conformal.training.torch_scores import of_labels


def discriminative_loss(scores: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean size of the smooth sets over the thresholds that the other items' true labels give, in (0, K).

    Args:
        scores: nonconformity, (N, K), N >= 2.
        labels: (N,), of 0..K-1.
        temperature: of the comparison, in the unit of the scores.

    Raises:
        ValueError: fewer than two items, or labels of another shape.
    """
    count = len(scores)
    if count < 2:
        raise ValueError("other items are needed: at least two")
    own = of_labels(scores, labels)
    inside = torch.sigmoid((own[:, None, None] - scores[None]) / temperature).sum(dim=2)
    return (inside.sum() - inside.diagonal().sum()) / (count * (count - 1))


class OrderPreservingAdapter(nn.Module):
    """Logits made of logits so that the order of the labels, and with it every top-k accuracy, stays what it was.

    The gaps between neighbouring logits in order are multiplied by positive numbers, which a linear layer reads from
    the ordered logits (intra order-preserving functions, Rahimi et al., NeurIPS 2020). It begins as the identity.

    Args:
        classes: K, 2 or more.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.weights = nn.Linear(classes, classes - 1)
        nn.init.zeros_(self.weights.weight)
        nn.init.constant_(self.weights.bias, float(torch.log(torch.expm1(torch.tensor(1.0)))))

    def forward(self, logits: Tensor) -> Tensor:
        """Adapted logits, (N, K), the smallest as it was."""
        ordered, order = logits.sort(dim=1)
        centred = ordered - ordered.mean(dim=1, keepdim=True)
        gaps = ordered.diff(dim=1) * functional.softplus(self.weights(centred))
        adapted = torch.cat([ordered[:, :1], ordered[:, :1] + gaps.cumsum(dim=1)], dim=1)
        return torch.zeros_like(logits).scatter(1, order, adapted)
