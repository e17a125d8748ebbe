"""Requests that ask something of a calibration: its scores, the options, and images that its model classifies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np
from fastapi import Request

from services.uncertainty.conformal.application.classification_items import Items
from services.uncertainty.conformal.application.fleet_models import BATCH, classified
from services.uncertainty.conformal.application.prediction import require_classes
from services.uncertainty.conformal.http.request_parsing import ParsedRequest, parse_request
from services.uncertainty.conformal.http.resources import ConformalState
from services.uncertainty.conformal.http.routes.common import PREFIX
from services.uncertainty.conformal.schemas.evaluations import EvaluationOptions
from services.uncertainty.conformal.schemas.predictions import PredictionOptions
from services.uncertainty.conformal.storage.calibration_entries import CalibrationEntry
from services.uncertainty.conformal.storage.serialization import AnyCalibration
from shared.http.uploads import read_upload
from shared.problems import Conflict, field_problem
from shared.service_state import ServiceState
from shared.telemetry.timing import timed

IMAGES: Final = "file"
"""Name of the field of a form that holds images."""

Options = TypeVar("Options", PredictionOptions, EvaluationOptions)


@dataclass(frozen=True)
class CalibratedRequest(Generic[Options]):
    """What a request asks of a calibration.

    Attributes:
        entry: description of the calibration.
        calibration: the calibration itself.
        parsed: arrays that were posted.
        options: checked.
        images: posted images, None if there are none.
    """

    entry: CalibrationEntry
    calibration: AnyCalibration
    parsed: ParsedRequest
    options: Options
    images: Sequence[bytes] | None


async def read_calibrated_request(
    request: Request,
    service: ServiceState,
    resources: ConformalState,
    calibration_id: str,
    *,
    arrays: Collection[str],
    options: type[Options],
) -> CalibratedRequest[Options]:
    """Read a request about a calibration.

    Args:
        request: to be read.
        service: has the blobs of calibrations.
        resources: has their entries.
        calibration_id: which.
        arrays: names of what are arrays.
        options: model of everything else.

    Raises:
        NotFound: there is no such calibration, or it is another caller's.
        Conflict: the posted values are of another model than the calibrated.
        Problem: as of `parse_request`, and of images that cannot be taken.
    """
    entry = await resources.read_entry(calibration_id)
    with timed("pre"):
        parsed = await parse_request(request, arrays, limit=resources.settings.values_limit)
        validated = parsed.validate_options(options)
        require_model(entry, validated.model_sha256)
        calibration = await resources.load_calibration(entry, service.blobs)
        images = await _read_images(parsed, entry) if IMAGES in parsed.files else None
    return CalibratedRequest(entry, calibration, parsed, validated, images)


def require_model(entry: CalibrationEntry, stated: str | None) -> None:
    """Refuse values of another model than the calibrated one, where both are stated.

    Raises:
        Conflict: says both digests and what to do.
    """
    model = entry.answer.model
    calibrated = model.weights_sha256 if model else None
    if stated is not None and calibrated != stated:
        raise _replaced_model_problem(entry, calibrated, stated)


async def classify_images(
    images: Sequence[bytes], entry: CalibrationEntry, resources: ConformalState, *, most: int = BATCH
) -> Items:
    """Have the calibrated model classify images: probabilities (N, K), with the images as what they are of.

    Args:
        images: PNG, JPEG or WebP.
        entry: of a classifier of the fleet.
        resources: has the client of the fleet.
        most: images.

    Raises:
        Conflict: the classifier was replaced.
        UnprocessableContent: too many images, or one that cannot be read.
    """
    if len(images) > most:
        raise field_problem(f"/body/{IMAGES}", f"There are {len(images)} images; at most {most} are accepted.")
    name = _fleet_model(entry)
    parts = []
    for start in range(0, len(images), BATCH):
        answer = await classified(resources.fleet, images[start : start + BATCH], model=name, first=start)
        _require_weights(entry, answer.model.weights_sha256)
        require_classes(entry, answer.probabilities.shape[1])
        parts.append(answer.probabilities)
    return Items(name="probabilities", inputs=np.concatenate(parts), contents=images, called=entry.answer.class_labels)


async def _read_images(parsed: ParsedRequest, entry: CalibrationEntry) -> list[bytes]:
    _fleet_model(entry)
    files = parsed.files[IMAGES]
    return [await read_upload(file, pointer=f"/body/{IMAGES}/{index}") for index, file in enumerate(files)]


def _fleet_model(entry: CalibrationEntry) -> str:
    """Name of the classifier of the fleet that was calibrated.

    Raises:
        Conflict: there is none.
    """
    model = entry.answer.model
    if model is None or model.served_by is None or model.name is None:
        raise Conflict(
            "This calibration was made of posted values, so there is no model to show images to. Post the values."
        )
    return model.name


def _require_weights(entry: CalibrationEntry, present: str | None) -> None:
    """Refuse a replaced model.

    Raises:
        Conflict: says both digests and what to do.
    """
    calibrated = entry.answer.model.weights_sha256 if entry.answer.model else None
    if calibrated != present:
        raise _replaced_model_problem(entry, calibrated, present)


def _replaced_model_problem(entry: CalibrationEntry, calibrated: str | None, present: str | None) -> Conflict:
    name = entry.answer.model.name if entry.answer.model else None
    return Conflict(
        f"The calibration was made of answers of {name or 'a model'} with the weights {calibrated or '(not stated)'}, "
        f"and these are answers of the weights {present}. Its guarantee does not hold for them. Calibrate the present "
        f"model by POST {PREFIX}/calibrations, or serve the calibrated version again."
    )
