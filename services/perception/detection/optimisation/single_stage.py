"""A dense detector of one stage, independent of Faster R-CNN but for the backbone.

In the manner of FCOS (Tian et al. 2019): each cell near the centre of an object predicts its class and box, on the map
that fits the object's size. Scores are trained towards the IoU of the predicted box (quality focal loss, Li et al.
2020), so no centreness is needed. Boxes are shifts and scales of a square around the cell instead of distances to four
sides, so that an object smaller than a cell can be found from the nearest one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from services.optimisation.overlaps import areas
from services.perception.detection.optimisation.anchors import AnchorOptions, grid_anchors
from services.perception.detection.optimisation.backbones import group_norm
from services.perception.detection.optimisation.boxes import clip, decode, image_size, paired_iou
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.instances import Maps, Predictions, Targets
from services.perception.detection.optimisation.matching import BACKGROUND
from services.perception.detection.optimisation.region_proposals import per_anchor


@dataclass(frozen=True, slots=True)
class SingleStageOptions:
    """Shape and training of the dense detector.

    Attributes:
        layers: 3x3 convolutions before the outputs, for classes and for boxes each.
        reach: cells around the centre of an object, in each direction, that predict it (FCOS, centre sampling).
        range: longer sides of objects that a map is for end at this many strides (FCOS: 64 pixels at stride 8).
        square: side of the square that boxes are relative to, in strides.
        gamma: of the quality focal loss.
        box_weight: of the loss of boxes.
        most: surest cells of an image that are answered.
    """

    layers: int = 2
    reach: float = 1.5
    range: float = 8.0
    square: float = 4.0
    gamma: float = 2.0
    box_weight: float = 2.0
    most: int = 1000


@dataclass(frozen=True, slots=True)
class CellPredictions:
    """What is predicted in all cells of all maps.

    Attributes:
        squares: float32 (cells, 4), around each cell.
        strides: float32 (cells,), of its map.
        logits: float32 (batch, cells, classes).
        deltas: float32 (batch, cells, 4), from the squares.
    """

    squares: Tensor
    strides: Tensor
    logits: Tensor
    deltas: Tensor


class SingleStageDetector(Detector):
    """The dense detector.

    Args:
        classes: without a background, which is where all scores are small.
        backbone: images to maps.
        options: shape and training.
    """

    def __init__(self, classes: int, backbone: Backbone, options: SingleStageOptions | None = None) -> None:
        super().__init__(classes, backbone)
        self.options = options or SingleStageOptions()
        channels = backbone.options.channels
        self.class_tower, self.box_tower = self._tower(channels), self._tower(channels)
        self.classify = nn.Conv2d(channels, classes, 3, padding=1)
        self.regress = nn.Conv2d(channels, 4, 3, padding=1)
        for layer, bias in ((self.classify, -math.log(99)), (self.regress, 0.0)):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]

    def _tower(self, channels: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for _ in range(self.options.layers):
            layers += [nn.Conv2d(channels, channels, 3, padding=1, bias=False), group_norm(channels), nn.ReLU()]
        return nn.Sequential(*layers)

    def cells(self, maps: Maps) -> CellPredictions:
        """Predictions of all cells of a batch's maps."""
        strides = self.backbone.options.strides
        squares = grid_anchors(
            maps, strides, AnchorOptions(tuple((self.options.square * stride,) for stride in strides), (1.0,))
        )
        logits = [per_anchor(self.classify(self.class_tower(features)), self.classes) for features in maps]
        deltas = [per_anchor(self.regress(self.box_tower(features)), 4) for features in maps]
        of_maps = [torch.full_like(one[:, 0], stride) for one, stride in zip(squares, strides, strict=True)]
        return CellPredictions(
            torch.cat(squares), torch.cat(of_maps), torch.cat(logits, dim=1), torch.cat(deltas, dim=1)
        )

    def losses(self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None) -> dict[str, Tensor]:
        """`quality` and `boxes`: quality focal loss of all scores and generalised IoU, over the number of positives."""
        found = self.cells(self.backbone(images) if maps is None else maps)
        quality, boxes, positives = found.logits.new_zeros(()), found.deltas.new_zeros(()), 0
        for logits, deltas, target in zip(found.logits, found.deltas, targets, strict=True):
            objects = self.assign(found, target)
            cells = (objects >= 0).nonzero()[:, 0]
            matched = objects[cells]
            overlap, generalised = paired_iou(decode(deltas[cells], found.squares[cells]), target.boxes[matched])
            wanted = torch.zeros_like(logits)
            wanted[cells, target.labels[matched]] = overlap.detach().clamp(min=0, max=1)
            judged = (objects >= 0) | ~_on_unsure(found.squares, target)
            quality = quality + quality_focal_loss(logits[judged], wanted[judged], self.options.gamma)
            boxes = boxes + (1 - generalised).sum()
            positives += len(cells)
        return {
            "quality": quality / max(1, positives),
            "boxes": self.options.box_weight * boxes / max(1, positives),
        }

    def classification_losses(
        self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None
    ) -> dict[str, Tensor]:
        """`quality` alone."""
        return {"quality": self.losses(images, targets, maps=maps)["quality"]}

    @torch.no_grad()
    def assign(self, cells: CellPredictions, target: Targets) -> Tensor:
        """The object that each cell predicts, the smallest where there are several.

        Returns:
            int64 (cells,): index of an object or `BACKGROUND`.
        """
        count = len(cells.squares)
        if len(target) == 0:
            return torch.full((count,), BACKGROUND, device=cells.squares.device)
        centres = (cells.squares[:, :2] + cells.squares[:, 2:]) / 2
        boxes = target.boxes[:, None]
        inside = torch.cat((centres - boxes[..., :2], boxes[..., 2:] - centres), dim=2).amin(dim=2) > 0
        away = (centres - (boxes[..., :2] + boxes[..., 2:]) / 2).abs().amax(dim=2)
        of_map = self._of_map(target.boxes, cells.strides)
        chosen = inside & of_map & (away <= self.options.reach * cells.strides)
        # The nearest cell is always of an object, even of one so small that it holds the centre of no cell.
        nearest = torch.where(of_map, away, math.inf).argmin(dim=1)
        chosen[torch.arange(len(target), device=nearest.device), nearest] = True
        sizes = torch.where(chosen, areas(target.boxes)[:, None], math.inf)
        smallest, objects = sizes.min(dim=0)
        return torch.where(smallest < math.inf, objects, BACKGROUND)

    def _of_map(self, boxes: Tensor, strides: Tensor) -> Tensor:
        """Whether a cell's map is the one for an object's size, bool (objects, cells)."""
        longest = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True)
        known = self.backbone.options.strides
        above = (longest > self.options.range * strides / 2) | (strides == known[0])
        return above & ((longest <= self.options.range * strides) | (strides == known[-1]))

    def surest(self, scores: Tensor) -> Tensor:
        """Indices of the cells with the largest scores (cells, classes), falling."""
        return scores.amax(dim=1).topk(min(self.options.most, len(scores))).indices

    def predict(self, images: Tensor) -> list[Predictions]:
        """For each image boxes (cells, 4) and scores (cells, classes), of the surest cells."""
        found, size = self.cells(self.backbone(images)), image_size(images)
        answers = []
        for logits, deltas in zip(found.logits, found.deltas, strict=True):
            chosen = self.surest(logits)
            boxes = clip(decode(deltas[chosen], found.squares[chosen]), size)
            answers.append(Predictions(boxes, logits[chosen].sigmoid()))
        return answers


def _on_unsure(squares: Tensor, target: Targets) -> Tensor:
    """Whether the centre of a cell lies on an object that is unsure, bool (cells,)."""
    if target.unsure is None:
        return torch.zeros_like(squares[:, 0], dtype=torch.bool)
    centres, boxes = (squares[:, :2] + squares[:, 2:]) / 2, target.unsure[:, None]
    return (torch.cat((centres - boxes[..., :2], boxes[..., 2:] - centres), dim=2).amin(dim=2) > 0).any(dim=0)


def quality_focal_loss(logits: Tensor, wanted: Tensor, gamma: float) -> Tensor:
    """Sum of cross-entropies towards qualities in [0, 1], each by the distance to it (Li et al. 2020, equation 5)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return ((logits.sigmoid() - wanted).abs() ** gamma * entropy).sum()
