"""What all detectors have in common, whatever their architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.instances import Detections, Maps, Predictions, Targets
from services.perception.detection.optimisation.suppression import DetectionOptions, select


class Detector(nn.Module, ABC):
    """A network that finds objects.

    Images are float32 (batch, 3, height, width) in [0, 1], RGB, height and width multiples of the largest stride. Where
    a method takes `maps`, these are what `backbone` gives for the same images, computed once for several losses.

    Args:
        classes: without the background.
        backbone: images to maps.
    """

    def __init__(self, classes: int, backbone: Backbone) -> None:
        super().__init__()
        self.classes, self.backbone = classes, backbone

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None) -> dict[str, Tensor]:
        """Terms of the training loss by name, to be summed; of images without objects, too."""

    @abstractmethod
    def classification_losses(
        self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None
    ) -> dict[str, Tensor]:
        """The same without the terms of boxes, for pseudo-labels whose boxes are not trusted (paper, section 5)."""

    @abstractmethod
    def predict(self, images: Tensor) -> list[Predictions]:
        """All that is known of each image, before thresholds; this is what an exported graph answers."""

    @torch.no_grad()
    def detect(self, images: Tensor, options: DetectionOptions | None = None) -> list[Detections]:
        """The objects in each image; no layer depends on the mode, training or evaluation, so it changes nothing."""
        chosen = options or DetectionOptions()
        return [select(found, chosen) for found in self.predict(images)]
