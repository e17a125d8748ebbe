"""Sets of classes that hold the truth as often as asked: a calibration of the uncertainty service, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from services.medical.chest_xray.inference import Reading
from services.medical.chest_xray.roles import CLASSES
from services.medical.chest_xray.schemas import ConformalResult, DiagnosisOptions, PredictionSet
from shared.fleet.client import BlockingFleetClient, FleetClient
from shared.fleet.questions import FleetAnswer, Question, RetryPolicy
from shared.imaging.arrays import encode_npy
from shared.problems import BadGateway, FieldError, Problem
from shared.runtime.cards import ModelReference
from shared.service_state import ServiceState
from shared.settings import Domain, Settings

DOMAIN: Final[Domain] = "uncertainty"
_ROUTE: Final = "/v1/uncertainty/calibrations"
_POINTER: Final = "/body/calibration"
_PATIENT: Final = RetryPolicy(tries=20, longest_pause_s=15, longest_try_s=50)


@dataclass(frozen=True, slots=True)
class CalibrationClient:
    """Asks calibrations for routes.

    Attributes:
        fleet: client of the service that has them; to be closed.
    """

    fleet: FleetClient

    async def predict(
        self, readings: Sequence[Reading], options: DiagnosisOptions, model: ModelReference
    ) -> list[ConformalResult] | None:
        """Sets of some films, None where no calibration is named.

        Raises:
            Problem: the one that the service answers with, or that it does not answer; it blames `calibration`.
        """
        if options.calibration is None:
            return None
        try:
            answer = await self.fleet.ask(_question(readings, options, model))
        except Problem as problem:
            raise _blaming_calibration(problem) from None
        return _read(answer, len(readings))


@asynccontextmanager
async def open_calibrations(service: ServiceState) -> AsyncIterator[CalibrationClient]:
    """A client of the uncertainty service, closed at the end."""
    async with FleetClient(service.settings, DOMAIN) as fleet:
        yield CalibrationClient(fleet)


def predict_by_job(
    readings: Sequence[Reading],
    options: DiagnosisOptions,
    model: ModelReference,
    *,
    settings: Settings,
    pause: Callable[[float], object],
) -> list[ConformalResult] | None:
    """As `CalibrationClient.predict`, for a job. Blocks."""
    if options.calibration is None:
        return None
    try:
        with BlockingFleetClient(settings, DOMAIN, policy=_PATIENT, pause=pause) as fleet:
            return _read(fleet.ask(_question(readings, options, model)), len(readings))
    except Problem as problem:
        raise _blaming_calibration(problem) from None


def _question(readings: Sequence[Reading], options: DiagnosisOptions, model: ModelReference) -> Question:
    logits = np.stack([one.logits for one in readings]).astype(np.float64)
    form = {"model_sha256": model.weights_sha256}
    if options.alpha is not None:
        form["alpha"] = repr(options.alpha)
    return Question(
        path=f"{_ROUTE}/{options.calibration}/predictions", files=[("logits", encode_npy(logits))], form=form
    )


def _read(answer: FleetAnswer, count: int) -> list[ConformalResult]:
    try:
        found = orjson.loads(answer.content)
        items = found["items"]
        if len(items) != count:
            raise ValueError("another number of items")
        return [_result(found, one) for one in items]
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        raise BadGateway(f"The {DOMAIN} service answered what is no prediction of classes.") from None


def _result(found: dict[str, Any], item: dict[str, Any]) -> ConformalResult:
    sets = [
        PredictionSet(alpha=one["alpha"], classes=[CLASSES[label] for label in one["labels"]]) for one in item["sets"]
    ]
    return ConformalResult(
        calibration=found["calibration"],
        version=found["version"],
        sets=sets,
        guarantee=found["guarantee"],
        warnings=found["warnings"],
    )


def _blaming_calibration(problem: Problem) -> Problem:
    """The problem, said of the field that named the calibration: those of the question are none of the caller's."""
    problem.errors = [FieldError(pointer=_POINTER, detail=problem.detail)]
    return problem
