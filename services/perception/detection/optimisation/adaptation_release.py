"""An adapted detector as a file that can be served, with its card; and served, where that was asked for."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import onnxruntime
import orjson
import torch

from services.perception.detection.adaptation_schemas import AdaptationOptions, SetFigures
from services.perception.detection.optimisation.adaptation_recipe import AdaptationRecipe
from services.perception.detection.optimisation.adaptation_sets import AdaptationSets
from services.perception.detection.optimisation.batches import GREY, pad_images, to_image
from services.perception.detection.optimisation.detectors import Detector
from services.perception.detection.optimisation.exporting import export_detector
from services.perception.detection.optimisation.suppression import DetectionOptions
from shared.deployments.desired_state import Deployment
from shared.deployments.store import DesiredStateStore
from shared.detectors.roles import BOXES, IMAGE, SCORES
from shared.http.negotiation import JSON, ONNX, PNG
from shared.jobs.connection import api_client
from shared.jobs.context import JobContext
from shared.jobs.files import JobFiles, StoredFile
from shared.runtime.cards import ModelReference, UploadedCard, reference_of
from shared.settings import get_settings

LONGEST_OVER_SHORTEST: Final = 2
"""Sides of pictures that are not scaled down further than to the short side."""
_DEFAULTS: Final = DetectionOptions()
_COMPARED: Final = 3
"""Target pictures on which network and file are compared."""


@dataclass(frozen=True, slots=True)
class AdaptedDetector:
    """What there is to be released.

    Attributes:
        options: as posted.
        recipe: that they stood for.
        sets: that were posted.
        detector: the teacher.
        before: figures after burn-in on labelled pictures of the target; None without such.
        after: figures of the detector on them.
    """

    options: AdaptationOptions
    recipe: AdaptationRecipe
    sets: AdaptationSets
    detector: Detector
    before: SetFigures | None
    after: SetFigures | None


@dataclass(frozen=True, slots=True)
class ReleasedDetector:
    """A detector with its files.

    Attributes:
        model: name, version and digest.
        files: by name.
        parity: largest difference of scores between the network and its ONNX file.
        registered: whether it is served.
    """

    model: ModelReference
    files: dict[str, StoredFile]
    parity: float
    registered: bool


def release(context: JobContext, adapted: AdaptedDetector, *, drawn: bytes) -> ReleasedDetector:
    """Export a detector, compare the file with the network, write its card, and have it served if asked for.

    Args:
        context: of the job.
        adapted: the detector.
        drawn: target pictures before and after, PNG.

    Raises:
        Conflict: the name and version belong to another model.
        ServiceUnavailable: Redis does not answer.
    """
    content = export_detector(adapted.detector.eval().to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    parity = compare(adapted, content)
    card = make_card(adapted, content, parity=parity)
    files = JobFiles.of(context)
    stored = files.put("detector.onnx", content, ONNX)
    files.put("card.json", orjson.dumps(card.model_dump(mode="json"), option=orjson.OPT_INDENT_2), JSON)
    files.put("before-after.png", drawn, PNG)
    if adapted.options.register_model:
        asyncio.run(_serve(Deployment(card, stored.digest)))
    return ReleasedDetector(reference_of(card), files.files, parity, adapted.options.register_model)


def compare(adapted: AdaptedDetector, content: bytes) -> float:
    """Largest difference of scores on target pictures, region by region in the order of their scores."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    largest = 0.0
    for picture in adapted.sets.target[:_COMPARED]:
        image = pad_images([to_image(picture)])
        boxes, scores = session.run([BOXES, SCORES], {IMAGE: image.numpy()})
        del boxes  # near-equal scores change their places, and boxes with them
        with torch.no_grad():
            expected = adapted.detector.predict(image)[0].scores.numpy()
        ordered, wanted = np.sort(scores, axis=0)[::-1], np.sort(expected, axis=0)[::-1]
        count = min(len(ordered), len(wanted))
        if count:
            largest = max(largest, float(np.abs(ordered[:count] - wanted[:count]).max()))
    return largest


def make_card(adapted: AdaptedDetector, content: bytes, *, parity: float) -> UploadedCard:
    """The card of an adapted detector, as an upload has one."""
    options, classes = adapted.options, list(adapted.sets.classes)
    side: list[int | str] = [1, 3, "height", "width"]
    regions: list[dict[str, Any]] = [
        {"name": BOXES, "dtype": "float32", "shape": ["regions", len(classes), 4], "unit": "pixel",
         "description": "left, top, right, bottom of each region for each class, before suppression"},
        {"name": SCORES, "dtype": "float32", "shape": ["regions", len(classes)], "unit": "",
         "range": [0, 1], "description": "of each class, before any threshold"},
    ]  # fmt: skip
    return UploadedCard.model_validate(
        {
            "name": options.name,
            "version": options.version,
            "task": f"Finds {', '.join(classes)} in pictures of the domain that it was adapted to",
            "licence": "Of whoever posted the pictures"
            + ("; the backbone's weights began as Apache-2.0" if options.backbone == "imagenet" else ""),
            "inputs": [
                {"name": IMAGE, "dtype": "float32", "shape": side, "unit": "share of white", "range": [0, 1],
                 "description": "RGB; sides are multiples of 32, grey is added at the right and below"}
            ],
            "outputs": regions,
            "weights": {
                "file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)
            },
            "limits": ["Figures are of the posted pictures, of which nobody else knows how they were chosen."],
            "choices": [f"Method {options.method}; recipe: {orjson.dumps(asdict(adapted.recipe)).decode()}"],
            "parameters": {
                "detection": {
                    "classes": classes,
                    "short_side": options.short_side,
                    "long_side": LONGEST_OVER_SHORTEST * options.short_side,
                    "fill": [round(GREY * 255)] * 3,
                    "score_threshold": 0.5,
                    "iou_threshold": _DEFAULTS.overlap,
                    "limit": _DEFAULTS.most,
                },
                "warm_up": {"height": 64, "width": 64},
            },
        }
    )  # fmt: skip


async def _serve(deployment: Deployment) -> None:
    redis = api_client(get_settings().redis_url)
    try:
        await DesiredStateStore(redis).change("perception", lambda plan: plan.with_upload(deployment))
    finally:
        await redis.aclose()
