"""The released folder of the reference detector: file and card; its notice is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from services.perception.detection.optimisation.exporting import REGIONS
from services.perception.detection.training.nanodet.classes import COCO_NAMES, IN_CARLA
from services.perception.detection.training.nanodet.graph import build, normalise
from services.perception.detection.training.nanodet.layers import CLASSES
from services.perception.detection.training.nanodet.published import PACKAGE, convolutions_of
from services.perception.detection.training.nanodet.reference import SIDE, heads_of, run_published
from services.perception.detection.training.nanodet.texts import CHOICES, LICENCE, LIMITS, TRAINING
from services.perception.detection.training.nanodet.tfjs import GraphModel
from shared.detectors.roles import BOXES, IMAGE, SCORES, describe_image
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

NAME, VERSION = "nanodet", "1.0.0"
MODELS: Final = Path(__file__).parents[3] / "models"
"""Released models of the perception service."""

COMMAND: Final = "python -m services.perception.detection.training.nanodet release"
PUBLISHED_AP: Final = 0.229
"""On COCO's validation pictures, as the author states it for NanoDet-g at 416 x 416."""

DETECTION: Final[Mapping[str, Any]] = {
    "classes": list(COCO_NAMES),
    "short_side": SIDE,
    "long_side": SIDE,
    "fill": [0, 0, 0],
    "score_threshold": 0.35,
    "iou_threshold": 0.6,
    "limit": 100,
}
"""Of the author: pictures keep their shape on black within a square, overlaps above 0.6 go, a hundred boxes stay (his
configuration and gfl_head.py); 0.35 is what his demonstrations show from."""


def release(published: GraphModel, folder: Path | None = None) -> Path:
    """Write the model and its card; quality that is known of the very same weights is kept, `with_quality` adds it.

    Args:
        published: the graph and its weights.
        folder: where to; that of the released model by default.
    """
    folder = folder or MODELS / NAME / VERSION
    content: bytes = build(convolutions_of(published)).SerializeToString()
    card = _card(weights_of(content))
    image = np.zeros((1, 3, SIDE, SIDE), np.float32)
    latency = measure_latency(OnnxModel(card, content, threads=1), {IMAGE: image}, what=f"one picture, {SIDE} x {SIDE}")
    write_release(folder, content, card.model_copy(update={"parity": parity(published), "latency": latency}))
    return folder


def parity(published: GraphModel) -> Parity:
    """Of what the heads say of every cell, before the surest are chosen: scores of classes and logits of edges."""
    model = build(convolutions_of(published))
    model.graph.output.append(helper.make_tensor_value_info("heads", TensorProto.FLOAT, ["cells", "values"]))
    image = np.random.default_rng(0).random((1, 3, SIDE, SIDE), dtype=np.float32)
    right = heads_of(run_published(published, normalise(image)))
    found = _opened(model, outputs=["heads"]).run({IMAGE: image})[0]
    found[:, :CLASSES] = 1 / (1 + np.exp(-found[:, :CLASSES]))
    return Parity(
        reference=f"the published graph, operator by operator in torch {torch.__version__}, a random picture, "
        "scores and logits of all cells",
        max_abs_difference=float(np.abs(found - right).max()),
    )


def with_quality(card: ModelCard, result: Mapping[str, Any]) -> ModelCard:
    """The card with what was measured on CARLA, and what the author states."""
    wider = result["wider"]
    quality = [
        Quality(
            metric=f"AP50 of {name} ({', '.join(IN_CARLA[name])})",
            dataset=f"CARLA Town05, {result['pictures']} frames, {result['objects'][name]} boxes, trained on no CARLA",
            value=value,
            unit="",
            interval=tuple(result["vehicle_interval"]) if name == "vehicle" else None,
            baseline=Baseline(
                name=f"shorter side {wider['short_side']}, longer at most {wider['long_side']}",
                value=result["wider_ap50"][name],
            ),
        )
        for name, value in result["ap50"].items()
    ]
    published = Quality(
        metric="AP, mean of IoU 0.50 to 0.95",
        dataset="COCO val2017, as published by the author; not measured again",
        value=PUBLISHED_AP,
        unit="",
    )
    return card.model_copy(update={"quality": [*quality, published]})


def _card(weights: Weights) -> ModelCard:
    return ModelCard(
        name=NAME,
        version=VERSION,
        task="Detection of the 80 classes of COCO on photographs; a reference that this project did not train",
        paper=Paper(
            title="Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes for Dense Object "
            "Detection",
            authors="X. Li, W. Wang, L. Wu, S. Chen, X. Hu, J. Li, J. Tang, J. Yang",
            url="https://arxiv.org/abs/2006.04388",
        ),
        licence=LICENCE,
        inputs=[describe_image()],
        outputs=_outputs(),
        weights=weights,
        training=TrainingRecord(
            data=["COCO train2017, by RangiLyu"],
            procedure=TRAINING,
            seed=0,
            machine="RangiLyu's",
            hours=0,
            command=COMMAND,
        ),
        **NOT_MEASURED,
        limits=LIMITS,
        choices=CHOICES,
        parameters={
            "detection": dict(DETECTION),
            "warm_up": {"height": SIDE, "width": SIDE},
            "published_sha256": PACKAGE.sha256,
        },
        runtime=RuntimeOptions(on_demand=True),
    )


def _outputs() -> list[TensorDescription]:
    return [
        TensorDescription(
            name=BOXES,
            dtype="float32",
            shape=[REGIONS, 4],
            unit="pixels of the input",
            description="Left, top, right and bottom edge of at most 1000 regions, the surest first, within the input; "
            "overlaps are not suppressed",
        ),
        TensorDescription(
            name=SCORES,
            dtype="float32",
            shape=[REGIONS, CLASSES],
            unit="",
            range=(0, 1),
            description="Of each class, each by itself: trained to be the overlap of the box with an object of it",
        ),
    ]


def _opened(model: onnx.ModelProto, *, outputs: list[str]) -> OnnxModel:
    """A graph that is not released, to be run."""
    content: bytes = model.SerializeToString()
    return OnnxModel(_card(weights_of(content)), content, threads=1, outputs=outputs)
