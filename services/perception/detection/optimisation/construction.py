"""Detectors by their options, and files that hold both options and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from services.perception.detection.optimisation.anchors import AnchorOptions
from services.perception.detection.optimisation.backbones import BackboneOptions
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.faster_rcnn import FasterRcnn, TwoStageOptions
from services.perception.detection.optimisation.feature_pyramid import Backbone
from services.perception.detection.optimisation.region_heads import HeadOptions
from services.perception.detection.optimisation.region_proposals import ProposalOptions
from services.perception.detection.optimisation.single_stage import SingleStageDetector, SingleStageOptions


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Everything about a detector but its weights.

    Attributes:
        classes: names, in the order of the labels.
        architecture: `two-stage` is Faster R-CNN, `single-stage` the dense detector.
        backbone: of either.
        two_stage: of Faster R-CNN.
        single_stage: of the dense detector.
    """

    classes: tuple[str, ...]
    architecture: Literal["two-stage", "single-stage"] = "two-stage"
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    two_stage: TwoStageOptions = field(default_factory=TwoStageOptions)
    single_stage: SingleStageOptions = field(default_factory=SingleStageOptions)


def make_detector(options: DetectorOptions, weights: Mapping[str, Tensor] | None = None) -> Detector:
    """An untrained detector, random by torch's global generator.

    Args:
        options: what to build.
        weights: the published state of EfficientNet-Lite0, for that backbone.
    """
    backbone, classes = Backbone(options.backbone, weights), len(options.classes)
    if options.architecture == "two-stage":
        return FasterRcnn(classes, backbone, options.two_stage)
    return SingleStageDetector(classes, backbone, options.single_stage)


def options_of(known: Mapping[str, Any]) -> DetectorOptions:
    """Options out of what `asdict` made of them; lists of JSON become tuples."""
    values = {name: _tuples(value) for name, value in known.items()}
    stages = values["two_stage"]
    two_stage = TwoStageOptions(
        AnchorOptions(**stages["anchors"]), ProposalOptions(**stages["proposals"]), HeadOptions(**stages["heads"])
    )
    return DetectorOptions(
        values["classes"],
        values["architecture"],
        BackboneOptions(**values["backbone"]),
        two_stage,
        SingleStageOptions(**values["single_stage"]),
    )


def save_detector(detector: Detector, options: DetectorOptions, path: Path) -> None:
    """Write weights and options so that a crash leaves either the old file or the new one."""
    save({"options": asdict(options), "detector": detector.state_dict()}, path)


def read_detector(path: Path) -> tuple[Detector, DetectorOptions]:
    """A detector in evaluation mode with its options, out of a file of `save_detector` or a training checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    options = options_of(state["options"])
    detector = make_detector(options)
    detector.load_state_dict(state["detector"])
    return detector.eval(), options


def save(state: dict[str, Any], path: Path) -> None:
    """`torch.save` by way of a second file."""
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(path)


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _tuples(one) for name, one in value.items()}
    return tuple(_tuples(one) for one in value) if isinstance(value, (list, tuple)) else value
