"""The job that shows labelled pictures to a classifier of the fleet and calibrates what it says of them."""

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

from services.uncertainty.conformal.checks import check_labels
from services.uncertainty.conformal.fitting import Items, fit_items
from services.uncertainty.conformal.fleet_models import BATCH, Answered, classified_by_job, fleet_client_of_worker
from services.uncertainty.conformal.kept import Entry, make_entry
from services.uncertainty.conformal.labelled_pictures import pictures_of
from services.uncertainty.conformal.resources import records
from services.uncertainty.conformal.schemas import ClassificationOptions, ModelIdentity
from services.uncertainty.conformal.settings import ConformalSettings
from shared.jobs.connection import api_client
from shared.jobs.context import JobContext
from shared.problems import Conflict
from shared.settings import Settings, get_settings

CHECKPOINT_EVERY: Final = 8
"""Questions between two checkpoints; each holds all probabilities so far."""


class ModelCalibration(BaseModel):
    """Arguments of the job."""

    options: ClassificationOptions
    identifier: str
    owner: str
    files: list[str]
    """Digests of the posted files, pictures or ZIPs."""
    labels: list[int]


@dataclass
class _Seen:
    """What the classifier has said so far."""

    parts: list[NDArray[np.float32]]
    model: ModelIdentity | None = None

    @property
    def count(self) -> int:
        return sum(len(part) for part in self.parts)

    def add(self, answered: Answered) -> None:
        """Keep an answer.

        Raises:
            Conflict: it is of other weights than those before.
        """
        if self.model is not None and self.model.weights_sha256 != answered.model.weights_sha256:
            raise Conflict(
                f"The classifier was replaced while it was calibrated: first {self.model.weights_sha256}, then "
                f"{answered.model.weights_sha256}. Start again."
            )
        self.model = answered.model
        self.parts.append(answered.probabilities)

    def to_bytes(self) -> bytes:
        stream = io.BytesIO()
        said = (self.model.model_dump_json() if self.model else "").encode()
        np.savez(stream, probabilities=np.concatenate(self.parts), model=np.frombuffer(said, np.uint8))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes | None) -> _Seen:
        if content is None:
            return cls([])
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            model = ModelIdentity.model_validate_json(archive["model"].tobytes())
            return cls([archive["probabilities"]], model)


def calibrate_on_model(context: JobContext) -> dict[str, Any]:
    """Show the pictures to the classifier, 64 at a time, and calibrate its probabilities."""
    asked = ModelCalibration.model_validate(context.arguments)
    settings = get_settings()
    pictures, _ = pictures_of([context.blobs.get(digest) for digest in asked.files])
    seen = _show(context, pictures, asked.options.model or "", settings)
    context.progress(len(pictures), len(pictures), "calibrating")
    probabilities = np.concatenate(seen.parts)
    labels = check_labels(np.array(asked.labels), "/body/labels", count=len(pictures), classes=probabilities.shape[1])
    fitted = fit_items(Items(name="probabilities", inputs=probabilities, labels=labels), asked.options)
    entry = make_entry(
        fitted,
        asked.options,
        blobs=context.blobs,
        identifier=asked.identifier,
        owner=asked.owner,
        model=seen.model,
    )
    asyncio.run(_keep(entry, settings))
    answer = entry.answer
    return {
        "calibration": {
            "id": answer.id,
            "version": answer.version,
            "href": f"/v1/uncertainty/calibrations/{answer.id}",
        },
        "n": answer.n,
        "model": seen.model.model_dump() if seen.model else None,
        "warnings": answer.warnings,
    }


def _show(context: JobContext, pictures: Sequence[bytes], model: str, settings: Settings) -> _Seen:
    """Ask for all pictures, going on where an earlier attempt stopped."""
    seen = _Seen.from_bytes(context.restore())
    with fleet_client_of_worker(settings, pause=partial(_pause, context)) as client:
        for number, start in enumerate(range(seen.count, len(pictures), BATCH), start=1):
            context.progress(start, len(pictures), f"picture {start + 1} of {len(pictures)}")
            seen.add(classified_by_job(client, pictures[start : start + BATCH], model=model))
            if number % CHECKPOINT_EVERY == 0:
                context.checkpoint(seen.to_bytes())
    return seen


def _pause(context: JobContext, seconds: float) -> None:
    """Wait before a question is asked again, and stop if the job is to stop."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        context.raise_if_cancelled()
        time.sleep(0.1)


async def _keep(entry: Entry, settings: Settings) -> None:
    redis = api_client(settings.redis_url)
    calibrations = records(redis, ConformalSettings(), "calibration")
    try:
        await calibrations.add(entry.answer.id, entry.to_json(), owner=entry.owner)
    finally:
        await redis.aclose()
