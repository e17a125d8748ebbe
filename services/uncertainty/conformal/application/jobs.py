"""The job that has a classifier of the fleet answer for labelled images and calibrates its probabilities."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from services.uncertainty.conformal.application.calibration_entry import create_entry
from services.uncertainty.conformal.application.calibration_fit import fit_items
from services.uncertainty.conformal.application.class_labels import are_numbers, check_class_names, find_classes
from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.fleet_models import (
    BATCH,
    Answered,
    class_names,
    class_names_by_job,
    classified,
    classified_by_job,
    fleet_client_of_worker,
)
from services.uncertainty.conformal.application.labelled_images import read_images
from services.uncertainty.conformal.schemas.calibrations import ClassificationOptions, ModelIdentity
from services.uncertainty.conformal.settings import ConformalSettings
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.record_stores import open_calibrations
from shared.fleet.client import BlockingFleetClient, FleetClient
from shared.jobs.connection import api_client
from shared.jobs.context import JobContext
from shared.problems import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    field_problem,
)
from shared.settings import Settings, get_settings

_CHECK_S: Final = 10.0
"""Seconds that a question may take which is asked before the job is created."""
CHECKPOINT_EVERY: Final = 8
"""Batches between two checkpoints; a checkpoint holds all probabilities so far."""


class ModelCalibration(BaseModel):
    """Arguments of the job."""

    options: ClassificationOptions
    identifier: str
    owner: str
    files: list[str]
    """Digests of the posted files: images or ZIPs of them."""
    labels: list[int | str]
    """Of the images in their order: numbers, or names of classes."""
    class_names: list[str] | None = None
    """As posted; the classifier's own where None."""


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


async def check_fleet_model(
    client: FleetClient, model: str, picture: bytes, labels: Sequence[str], names: list[str] | None
) -> None:
    """Refuse at once what the job would fail on: no such classifier, or labels that are none of its classes.

    Args:
        client: of the service that classifies. If it is busy or away the job will find out, unless labels are names
            that only the classifier knows.
        model: name of the classifier.
        picture: one of those to calibrate on.
        labels: of the pictures.
        names: of the classes, as posted; None for the classifier's own.

    Raises:
        UnprocessableContent: what is wrong.
        Problem: the picture cannot be classified.
    """
    try:
        answer = await classified(client, [picture], model=model, deadline_s=_CHECK_S)
        classes = answer.probabilities.shape[1]
        called = names or await class_names(client, picture, model=model, classes=classes, deadline_s=_CHECK_S)
    except NotFound as problem:
        raise field_problem("/body/model", problem.detail) from None
    except (BadGateway, GatewayTimeout, ServiceUnavailable, TooManyRequests):
        if names is None and not are_numbers(labels):
            raise
        return
    if names is not None:
        check_class_names(names, classes=classes)
    find_classes(labels, classes=classes, called=called)


def calibrate_on_model(context: JobContext) -> dict[str, Any]:
    """Have the classifier answer for the images, 64 at a time, and calibrate its probabilities."""
    arguments = ModelCalibration.model_validate(context.arguments)
    settings = get_settings()
    images, _ = read_images([context.blobs.get(digest) for digest in arguments.files])
    with fleet_client_of_worker(settings, pause=context.pause) as client:
        model = arguments.options.model or ""
        answers = _classify_all(context, client, images, model)
        classes = answers.probabilities.shape[1]
        context.progress(len(images), len(images), "calibrating")
        called = arguments.class_names or class_names_by_job(client, images[0], model=model, classes=classes)
    entry = _fit_entry(context, arguments, answers, images, called)
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
    context: JobContext,
    arguments: ModelCalibration,
    answers: _Answers,
    images: Sequence[bytes],
    called: list[str] | None,
) -> CalibrationEntry:
    probabilities = answers.probabilities
    if arguments.class_names is not None:
        check_class_names(arguments.class_names, classes=probabilities.shape[1])
    labels = find_classes(list(map(str, arguments.labels)), classes=probabilities.shape[1], called=called)
    items = Items(name="probabilities", inputs=probabilities, labels=labels, contents=images, called=called)
    fitted = fit_items(items, arguments.options)
    return create_entry(
        fitted,
        arguments.options,
        blobs=context.blobs,
        identifier=arguments.identifier,
        owner=arguments.owner,
        model=answers.model,
    )


def _classify_all(context: JobContext, client: BlockingFleetClient, images: Sequence[bytes], model: str) -> _Answers:
    """Have all images classified, going on where an earlier attempt of the job stopped."""
    answers = _Answers.from_bytes(context.restore())
    for number, start in enumerate(range(answers.count, len(images), BATCH), start=1):
        context.progress(start, len(images), f"image {start + 1} of {len(images)}")
        answers.add(classified_by_job(client, images[start : start + BATCH], model=model, first=start))
        if number % CHECKPOINT_EVERY == 0:
            context.checkpoint(answers.to_bytes())
    return answers


async def _store(entry: CalibrationEntry, settings: Settings) -> None:
    redis = api_client(settings.redis_url)
    try:
        await open_calibrations(redis, ConformalSettings()).add(entry.answer.id, entry.to_json(), owner=entry.owner)
    finally:
        await redis.aclose()
