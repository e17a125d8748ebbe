"""The losses of the paper (sheet, section 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

MARGIN = 1.0


def triplet_loss(embeddings: Tensor, labels: Tensor, *, margin: float = MARGIN) -> Tensor:
    """Mean of max(0, d(i, j) - d(i, k) + margin) over all i, all j of its class but itself, all k of other classes.

    The authors' code measures distances along the last axis of a feature map, and sums; here embeddings are pooled, and
    the mean is taken, so that a batch's size does not scale gradients (sheet, section 8, trap 2).

    Args:
        embeddings: (n, k).
        labels: (n,).
        margin: by which other classes should be farther.

    Returns:
        A scalar; 0 with zero gradients where a batch has no such triplet, as where all are of one class.
    """
    differences = embeddings[:, None] - embeddings[None]
    # The square root has no derivative at 0, where a film meets itself.
    distances = differences.square().sum(dim=2).clamp_min(1e-12).sqrt()
    same = labels[:, None] == labels[None]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    wanted = positive[:, :, None] & ~same[:, None, :]
    if not bool(wanted.any()):
        return embeddings.sum() * 0
    return functional.relu(distances[:, :, None] - distances[:, None, :] + margin)[wanted].mean()


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of those that have a label; others have -1. 0 where none has."""
    if not bool((labels >= 0).any()):
        return logits.sum() * 0
    return functional.cross_entropy(logits, labels, ignore_index=-1)


def tag_loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Mean binary cross-entropy over all tags that are known; unknown ones are `nan`. 0 where none is known."""
    known = ~tags.isnan()
    if not bool(known.any()):
        return logits.sum() * 0
    return functional.binary_cross_entropy_with_logits(logits[known], tags[known])


def attention_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """KL(target || predicted) in nats over all pixels of a film, the mean over the batch ('batchmean').

    Args:
        logits: (n, H, W), whose soft-max over all pixels is the prediction.
        targets: (n, H, W), densities.
    """
    predicted = functional.log_softmax(logits.flatten(1), dim=1)
    return functional.kl_div(predicted, targets.flatten(1), reduction="batchmean")


class JointLoss(nn.Module):
    """Both losses at once, weighted by learned uncertainties: the ablation against stages.

    L = L_cls / s_c^2 + ln(s_c + 1) + L_sal / (2 s_i^2) + ln(s_i + 1), s the exponentials of learned logarithms. In the
    authors' defaults s_i stays at 1.

    Args:
        learn_attention: whether s_i is learned, too.
    """

    def __init__(self, *, learn_attention: bool = False) -> None:
        super().__init__()
        self.log_classification = nn.Parameter(torch.zeros(()))
        self.log_attention = nn.Parameter(torch.zeros(()), requires_grad=learn_attention)

    def forward(self, classification: Tensor, attention: Tensor) -> Tensor:
        """The sum of two scalars."""
        first, second = self.log_classification.exp(), self.log_attention.exp()
        weighted = classification / first**2 + attention / (2 * second**2)
        return weighted + (first + 1).log() + (second + 1).log()
