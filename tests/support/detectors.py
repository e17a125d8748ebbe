"""Small detectors of random weights, and pictures of coloured rectangles for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from services.perception.detection.optimisation.anchors import AnchorOptions
from services.perception.detection.optimisation.backbones import BackboneOptions
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn, TwoStageOptions
from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.instances import Targets
from services.perception.detection.optimisation.region_heads import HeadOptions
from services.perception.detection.optimisation.region_proposals import ProposalOptions
from services.perception.detection.optimisation.single_stage import SingleStageDetector
from services.perception.detection.training.data import DetectionSource

TINY: Final = BackboneOptions(kind="residual", channels=16, widths=(8, 16, 16, 16), blocks=(1, 1, 1, 1))
ANCHORS: Final = AnchorOptions(((16.0,), (32.0,), (64.0,)))
TINY_STAGES: Final = TwoStageOptions(ANCHORS, ProposalOptions(before=300, after=100), HeadOptions(width=32, samples=64))
COLOURS: Final = ((0.9, 0.1, 0.1), (0.1, 0.2, 0.9), (0.9, 0.9, 0.1))
CLASSES: Final = ("red", "blue", "yellow")
SOURCE: Final = DetectionSource("rectangles", "place")
ARCHITECTURES: Final = ("two-stage", "single-stage")


def tiny_detector(architecture: str, *, classes: int = 3, options: TwoStageOptions = TINY_STAGES) -> Detector:
    """A detector of a few thousand weights, the same each time."""
    torch.manual_seed(3)
    if architecture == "two-stage":
        return FasterRcnn(classes, Backbone(TINY), options)
    return SingleStageDetector(classes, Backbone(TINY))


def sharpen(detector: nn.Module) -> None:
    """Spread what an untrained detector says, so that no two scores are as good as equal."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in detector.named_parameters():
        if parameter.ndim > 1:
            # Deltas stay small: a scale is their exponential, and what is rounded grows with it.
            fan = parameter[0].numel() * (100 if "deltas" in name or "regress" in name else 1)
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5)


def rectangle_image(
    rectangles: Sequence[tuple[int, tuple[int, int, int, int]]], height: int, width: int
) -> tuple[Tensor, Targets]:
    """A picture (3, height, width) of rectangles on grey noise, and where they are.

    Args:
        rectangles: class and box of each.
        height: of the picture.
        width: of the picture.
    """
    image = 0.4 + 0.1 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(height))
    for label, (left, top, right, bottom) in rectangles:
        image[:, top:bottom, left:right] = torch.tensor(COLOURS[label])[:, None, None]
    boxes = torch.tensor([box for _, box in rectangles], dtype=torch.float32).reshape(-1, 4)
    return image, Targets(boxes, torch.tensor([label for label, _ in rectangles], dtype=torch.int64))


def random_boxes(count: int, *, height: float, width: float, seed: int = 0, margin: float = 0.0) -> Tensor:
    """Boxes of all sizes, `margin` pixels beyond the picture too; float32 (count, 4)."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, 2, generator=generator)
    corners = corners * (torch.tensor([width, height]) + 2 * margin) - margin
    return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)
