"""The second stage of Faster R-CNN: classes and boxes of proposals, from two fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.optimisation.overlaps import iou_matrix
from services.optimisation.roi_align import roi_align
from services.perception.detection.optimisation.boxes import Weights, clip, decode, encode
from services.perception.detection.optimisation.instances import Maps, Predictions, Targets
from services.perception.detection.optimisation.matching import ignore_unsure, match, sample
from services.perception.detection.optimisation.roi_align import Pooling, pool_levels


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """Shape and training of the second stage; numbers without a remark are the paper's (section 2).

    Attributes:
        width: of the two layers; the paper's is 1024.
        side: bins of RoIAlign along each axis.
        boundary: square root of the area at which boxes leave the finest map, in pixels; 224 in the FPN paper, half of
            it here for images of half the size.
        samples: proposals of an image that losses are computed of; the paper's 512.
        positive_share: of the samples, at most.
        foreground: IoU from which on a proposal is of an object.
        gamma: of the focal loss; 0 gives cross-entropy.
        weights: of box deltas, as in Faster R-CNN.
    """

    width: int = 256
    side: int = 7
    boundary: float = 112.0
    samples: int = 128
    positive_share: float = 0.25
    foreground: float = 0.5
    gamma: float = 1.5
    weights: Weights = (10.0, 10.0, 5.0, 5.0)


class RegionHeads(nn.Module):
    """Classes and class-specific boxes of regions.

    Args:
        classes: without the background, which is the last output.
        channels: of the maps.
        strides: of the maps.
        options: shape and training.
    """

    def __init__(self, classes: int, channels: int, strides: tuple[int, ...], options: HeadOptions) -> None:
        super().__init__()
        self.classes, self.strides, self.options = classes, strides, options
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * options.side**2, options.width),
            nn.ReLU(),
            nn.Linear(options.width, options.width),
            nn.ReLU(),
        )
        self.classify = nn.Linear(options.width, classes + 1)
        self.regress = nn.Linear(options.width, classes * 4)
        for layer, deviation in ((self.classify, 0.01), (self.regress, 0.001)):
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def box_features(self, maps: Maps, boxes: Sequence[Tensor]) -> Tensor:
        """Vectors of given boxes, row after row in the order given: nothing is sampled and nothing permuted.

        Args:
            maps: of a batch.
            boxes: for each image float32 (n, 4) in pixels.

        Returns:
            float32 (all boxes, width), of the second layer.
        """
        pooled = [
            self._pool(tuple(features[index : index + 1] for features in maps), those)
            for index, those in enumerate(boxes)
        ]
        found: Tensor = self.layers(torch.cat(pooled))
        return found

    def _pool(self, maps: Maps, boxes: Tensor, pooling: Pooling = roi_align) -> Tensor:
        options = self.options
        return pool_levels(
            maps, boxes, strides=self.strides, boundary=options.boundary, side=options.side, pooling=pooling
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, classes + 1) and deltas (n, classes, 4) of vectors (n, width)."""
        return self.classify(features), self.regress(features).reshape(-1, self.classes, 4)

    def losses(self, maps: Maps, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Focal loss of the class and L1 of the box of sampled proposals, both divided by the number of samples.

        Args:
            maps: of a batch.
            proposals: of each image; its objects are added.
            targets: of each image.

        Returns:
            `region_classes` and `region_boxes`, float32 without axes.
        """
        samples = [self._sampled(*pair) for pair in zip(proposals, targets, strict=True)]
        boxes, labels = torch.cat([one[0] for one in samples]), torch.cat([one[1] for one in samples])
        wanted = torch.cat([one[2] for one in samples])
        logits, deltas = self(self.box_features(maps, [one[0] for one in samples]))
        positives = (labels < self.classes).nonzero()[:, 0]
        codes = encode(wanted[positives], boxes[positives], self.options.weights)
        difference = functional.l1_loss(deltas[positives, labels[positives]], codes, reduction="sum")
        return {
            "region_classes": focal_loss(logits, labels, self.options.gamma),
            "region_boxes": difference / max(1, len(labels)),
        }

    @torch.no_grad()
    def _sampled(self, proposals: Tensor, target: Targets) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes that are learned from, their labels, and boxes of their objects (meaningless for background)."""
        options = self.options
        boxes = torch.cat((proposals, target.boxes))
        matches = match(iou_matrix(target.boxes, boxes), foreground=options.foreground, background=options.foreground)
        matches = ignore_unsure(matches, boxes, target.unsure, overlap=options.foreground)
        positives, negatives = sample(matches, count=options.samples, positive_share=options.positive_share)
        objects = matches[positives]
        background = torch.full_like(negatives, self.classes)
        labels = torch.cat((target.labels[objects], background))
        wanted = torch.cat((target.boxes[objects], boxes[negatives]))
        return torch.cat((boxes[positives], boxes[negatives])), labels, wanted

    def predict(self, maps: Maps, proposals: Tensor, size: Tensor, *, pooling: Pooling = roi_align) -> Predictions:
        """Scores and boxes of the proposals of one image.

        Args:
            maps: of the image, each (1, channels, height, width).
            proposals: float32 (n, 4).
            size: height and width of the image, float32 (2,).
            pooling: what pools from one map.

        Returns:
            Boxes (n, classes, 4) and scores (n, classes).
        """
        logits, deltas = self(self.layers(self._pool(maps, proposals, pooling)))
        boxes = clip(decode(deltas, proposals[:, None], self.options.weights), size)
        return Predictions(boxes, logits.softmax(dim=1)[:, : self.classes])


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Softmax focal loss (Lin et al. 2017, RetinaNet) without class weights, mean over rows; 0 where there are none.

    Args:
        logits: float32 (n, classes).
        labels: int64 (n,).
        gamma: 0 gives cross-entropy.
    """
    entropy = functional.cross_entropy(logits, labels, reduction="none")
    # The exponential of the negative entropy is the probability of the right class.
    return ((1 - (-entropy).exp()).clamp(min=1e-7) ** gamma * entropy).sum() / max(1, len(labels))
