"""The region proposal network of Faster R-CNN (Ren et al. 2015), one head for all maps of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.optimisation.overlaps import iou_matrix, suppress
from services.perception.detection.optimisation.anchors import AnchorOptions, grid_anchors
from services.perception.detection.optimisation.boxes import clip, decode, encode, large_enough
from services.perception.detection.optimisation.instances import Maps, Targets
from services.perception.detection.optimisation.matching import ignore_unsure, match, sample


@dataclass(frozen=True, slots=True)
class ProposalOptions:
    """Training and choice of proposals.

    Attributes:
        foreground: IoU from which on an anchor is of an object; the best anchors of an object are so in any case.
        background: IoU below which it is background.
        samples: anchors of an image that losses are computed of.
        positive_share: of the samples, at most.
        before: the surest proposals of an image, of all maps together, that suppression is run on.
        after: proposals of an image that stay, at most.
        overlap: IoU above which a less sure proposal goes.
        smallest: shortest side of a proposal in pixels.
    """

    foreground: float = 0.7
    background: float = 0.3
    samples: int = 256
    positive_share: float = 0.5
    before: int = 1000
    after: int = 300
    overlap: float = 0.7
    smallest: float = 1.0


@dataclass(frozen=True, slots=True)
class AnchorPredictions:
    """What the network says of all anchors, map after map.

    Attributes:
        anchors: float32 (anchors, 4), the same for each image of the batch.
        logits: float32 (batch, anchors), of being an object.
        deltas: float32 (batch, anchors, 4), to the box of the object.
    """

    anchors: Tensor
    logits: Tensor
    deltas: Tensor


class RegionProposalNetwork(nn.Module):
    """Boxes that may hold an object, whatever it is.

    Args:
        channels: of the maps.
        strides: of the maps.
        anchors: their shapes.
        options: of training and choice.
    """

    def __init__(
        self, channels: int, strides: tuple[int, ...], anchors: AnchorOptions, options: ProposalOptions
    ) -> None:
        super().__init__()
        self.strides, self.anchors, self.options = strides, anchors, options
        self.hidden = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, anchors.count, 1)
        self.deltas = nn.Conv2d(channels, anchors.count * 4, 1)
        for layer in (self.hidden, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Maps) -> AnchorPredictions:
        """Predictions for maps of a batch."""
        logits, deltas = [], []
        for features in maps:
            hidden = functional.relu(self.hidden(features))
            logits.append(per_anchor(self.objectness(hidden), 1)[..., 0])
            deltas.append(per_anchor(self.deltas(hidden), 4))
        anchors = torch.cat(grid_anchors(maps, self.strides, self.anchors))
        return AnchorPredictions(anchors, torch.cat(logits, dim=1), torch.cat(deltas, dim=1))

    def losses(self, predictions: AnchorPredictions, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Cross-entropy and L1 of sampled anchors, both divided by the number of samples.

        Returns:
            `proposal_objectness` and `proposal_boxes`, float32 without axes.
        """
        objectness = predictions.logits.new_zeros(())
        boxes, samples = predictions.deltas.new_zeros(()), 0
        for logits, deltas, target in zip(predictions.logits, predictions.deltas, targets, strict=True):
            matches, positives, negatives = self._sampled(predictions.anchors, target)
            sampled = torch.cat((positives, negatives))
            wanted = (matches[sampled] >= 0).to(logits.dtype)
            objectness = objectness + functional.binary_cross_entropy_with_logits(
                logits[sampled], wanted, reduction="sum"
            )
            codes = encode(target.boxes[matches[positives]], predictions.anchors[positives])
            boxes = boxes + functional.l1_loss(deltas[positives], codes, reduction="sum")
            samples += len(sampled)
        return {"proposal_objectness": objectness / max(1, samples), "proposal_boxes": boxes / max(1, samples)}

    @torch.no_grad()
    def _sampled(self, anchors: Tensor, target: Targets) -> tuple[Tensor, Tensor, Tensor]:
        options = self.options
        matches = match(
            iou_matrix(target.boxes, anchors),
            foreground=options.foreground,
            background=options.background,
            keep_best=True,
        )
        matches = ignore_unsure(matches, anchors, target.unsure, overlap=options.background)
        return matches, *sample(matches, count=options.samples, positive_share=options.positive_share)

    @torch.no_grad()
    def propose(self, predictions: AnchorPredictions, size: Tensor) -> list[Tensor]:
        """Proposals for each image, the surest first.

        Args:
            predictions: of `forward`.
            size: height and width of the images, float32 (2,).

        Returns:
            For each image float32 (proposals, 4) in pixels.
        """
        options, found = self.options, []
        for logits, deltas in zip(predictions.logits, predictions.deltas, strict=True):
            scores, surest = logits.topk(min(options.before, len(logits)))
            boxes = clip(decode(deltas[surest], predictions.anchors[surest]), size)
            large = large_enough(boxes, options.smallest)
            boxes, scores = boxes[large], scores[large]
            found.append(boxes[suppress(boxes, scores, overlap=options.overlap)[: options.after]])
        return found


def per_anchor(found: Tensor, values: int) -> Tensor:
    """Output of a convolution, (batch, anchors x values, height, width), as (batch, all anchors, values)."""
    batch = found.shape[0]
    return found.permute(0, 2, 3, 1).reshape(batch, -1, values)
