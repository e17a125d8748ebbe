"""The job that has a classifier of the fleet answer for labelled images and calibrates its probabilities."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from services.uncertainty.conformal.application.calibration_entry import create_entry
from services.uncertainty.conformal.application.calibration_fit import Items, fit_items
from services.uncertainty.conformal.application.fleet_models import (
    BATCH,
    Answered,
    classified_by_job,
    fleet_client_of_worker,
)
from services.uncertainty.conformal.application.labelled_images import read_images
from services.uncertainty.conformal.application.validation import check_labels
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions, ModelIdentity
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.record_stores import open_calibrations
from shared.jobs.connection import api_client
from shared.jobs.context import JobContext
from shared.problems import Conflict
from shared.settings import Settings, get_settings

CHECKPOINT_EVERY: Final = 8
"""Batches between two checkpoints; a checkpoint holds all probabilities so far."""


class ModelCalibration(BaseModel):
    """Arguments of the job."""

    options: ClassificationOptions
    identifier: str
    owner: str
    files: list[str]
    """Digests of the posted files: images or ZIPs of them."""
    labels: list[int]


@dataclass
class _Answers:
    """Probabilities that the classifier has given so far.

    Attributes:
        parts: float32 (n, K) each, in the order of the images.
        model: the weights that gave them; None before the first answer.
    """

    parts: list[NDArray[np.float32]]
    model: ModelIdentity | None = None

    @property
    def count(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """All of them, float32 (N, K)."""
        return np.concatenate(self.parts)

    def add(self, answer: Answered) -> None:
        """Append an answer.

        Raises:
            Conflict: it is of other weights than those before.
        """
        if self.model is not None and self.model.weights_sha256 != answer.model.weights_sha256:
            raise Conflict(
                f"The classifier was replaced while it was calibrated: first {self.model.weights_sha256}, then "
                f"{answer.model.weights_sha256}. Start again."
            )
        self.model = answer.model
        self.parts.append(answer.probabilities)

    def to_bytes(self) -> bytes:
        stream = io.BytesIO()
        identity = (self.model.model_dump_json() if self.model else "").encode()
        np.savez(stream, probabilities=self.probabilities, model=np.frombuffer(identity, np.uint8))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes | None) -> _Answers:
        if content is None:
            return cls([])
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            model = ModelIdentity.model_validate_json(archive["model"].tobytes())
            return cls([archive["probabilities"]], model)


def calibrate_on_model(context: JobContext) -> dict[str, Any]:
    """Have the classifier answer for the images, 64 at a time, and calibrate its probabilities."""
    arguments = ModelCalibration.model_validate(context.arguments)
    settings = get_settings()
    images, _ = read_images([context.blobs.get(digest) for digest in arguments.files])
    answers = _classify_all(context, images, arguments.options.model or "", settings)
    context.progress(len(images), len(images), "calibrating")
    entry = _fit_entry(context, arguments, answers, images)
    asyncio.run(_store(entry, settings))
    answer = entry.answer
    return {
        "calibration": {
            "id": answer.id,
            "version": answer.version,
            "href": f"/v1/uncertainty/calibrations/{answer.id}",
        },
        "n": answer.n,
        "model": answers.model.model_dump() if answers.model else None,
        "warnings": answer.warnings,
    }


def _fit_entry(
    context: JobContext, arguments: ModelCalibration, answers: _Answers, images: Sequence[bytes]
) -> CalibrationEntry:
    probabilities = answers.probabilities
    labels = check_labels(
        np.array(arguments.labels), "/body/labels", count=len(probabilities), classes=probabilities.shape[1]
    )
    items = Items(name="probabilities", inputs=probabilities, labels=labels, contents=images)
    fitted = fit_items(items, arguments.options)
    return create_entry(
        fitted,
        arguments.options,
        blobs=context.blobs,
        identifier=arguments.identifier,
        owner=arguments.owner,
        model=answers.model,
    )


def _classify_all(context: JobContext, images: Sequence[bytes], model: str, settings: Settings) -> _Answers:
    """Have all images classified, going on where an earlier attempt of the job stopped."""
    answers = _Answers.from_bytes(context.restore())
    with fleet_client_of_worker(settings, pause=partial(_pause, context)) as client:
        for number, start in enumerate(range(answers.count, len(images), BATCH), start=1):
            context.progress(start, len(images), f"image {start + 1} of {len(images)}")
            answers.add(classified_by_job(client, images[start : start + BATCH], model=model))
            if number % CHECKPOINT_EVERY == 0:
                context.checkpoint(answers.to_bytes())
    return answers


def _pause(context: JobContext, seconds: float) -> None:
    """Wait before a batch is sent again, and stop if the job is to stop."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        context.raise_if_cancelled()
        time.sleep(0.1)


async def _store(entry: CalibrationEntry, settings: Settings) -> None:
    redis = api_client(settings.redis_url)
    try:
        await open_calibrations(redis, ConformalSettings()).add(entry.answer.id, entry.to_json(), owner=entry.owner)
    finally:
        await redis.aclose()
