"""Faster R-CNN on a feature pyramid, with what domain adaptation needs of it.

Ren et al. 2015 with the losses of ACIA's detector (paper, section 2). Ours differ: a pyramid of strides 8 to 32 instead
of one map of stride 32, narrower layers, fewer proposals, all for small images on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from services.perception.detection.optimisation.anchors import AnchorOptions
from services.perception.detection.optimisation.boxes import image_size
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.instances import Maps, Predictions, Targets
from services.perception.detection.optimisation.region_heads import HeadOptions, RegionHeads
from services.perception.detection.optimisation.region_proposals import ProposalOptions, RegionProposalNetwork

CLASSIFICATION = ("proposal_objectness", "region_classes")
"""Names of the losses that are not of boxes."""


@dataclass(frozen=True, slots=True)
class TwoStageOptions:
    """All of a Faster R-CNN but its backbone and its classes."""

    anchors: AnchorOptions = field(default_factory=AnchorOptions)
    proposals: ProposalOptions = field(default_factory=ProposalOptions)
    heads: HeadOptions = field(default_factory=HeadOptions)


class FasterRcnn(Detector):
    """The two-stage detector.

    Args:
        classes: without the background.
        backbone: images to maps.
        options: of both stages.

    Raises:
        ValueError: anchors are given for another number of maps than the backbone has.
    """

    def __init__(self, classes: int, backbone: Backbone, options: TwoStageOptions | None = None) -> None:
        super().__init__(classes, backbone)
        self.options = options or TwoStageOptions()
        strides, channels = backbone.options.strides, backbone.options.channels
        if len(self.options.anchors.sizes) != len(strides):
            raise ValueError(f"anchors for {len(self.options.anchors.sizes)} maps, the backbone has {len(strides)}")
        self.proposals = RegionProposalNetwork(channels, strides, self.options.anchors, self.options.proposals)
        self.heads = RegionHeads(classes, channels, strides, self.options.heads)

    def losses(self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None) -> dict[str, Tensor]:
        """`proposal_objectness`, `proposal_boxes`, `region_classes`, `region_boxes`; see `Detector`."""
        maps = self.backbone(images) if maps is None else maps
        predictions = self.proposals(maps)
        proposals = self.proposals.propose(predictions, image_size(images))
        return self.proposals.losses(predictions, targets) | self.heads.losses(maps, proposals, targets)

    def classification_losses(
        self, images: Tensor, targets: Sequence[Targets], *, maps: Maps | None = None
    ) -> dict[str, Tensor]:
        """`proposal_objectness` and `region_classes`; boxes only say which anchors and proposals are positive."""
        found = self.losses(images, targets, maps=maps)
        return {name: found[name] for name in CLASSIFICATION}

    def box_features(self, maps: Maps, boxes: Sequence[Tensor]) -> Tensor:
        """Vectors of given boxes for instance-level alignment (paper, section 4), row i of box i.

        Args:
            maps: of a batch.
            boxes: for each image float32 (n, 4) in pixels.

        Returns:
            float32 (all boxes, `options.heads.width`), image after image, in the order given.
        """
        return self.heads.box_features(maps, boxes)

    def predict(self, images: Tensor) -> list[Predictions]:
        """For each image boxes (proposals, classes, 4) and scores (proposals, classes)."""
        maps, size = self.backbone(images), image_size(images)
        found = []
        for index, proposals in enumerate(self.proposals.propose(self.proposals(maps), size)):
            own = tuple(features[index : index + 1] for features in maps)
            found.append(self.heads.predict(own, proposals, size))
        return found
