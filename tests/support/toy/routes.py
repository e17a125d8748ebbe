"""The toy over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Request, Response, UploadFile
from pydantic import BaseModel

from shared.http.preferences import preferences_of
from shared.http.uploads import UploadRoute, read_upload
from shared.imaging.arrays import decode_npy
from shared.jobs.answers import answer_job
from shared.jobs.kinds import JobKind
from shared.problems import ServiceUnavailable, UnprocessableContent, problem_responses
from shared.runtime.cards import ModelReference, reference_of
from shared.service import Service, ServiceState, state_of
from tests.support.toy.capability import DESCENT, PATH, SMOOTHING

MODEL = "toy-smoother"

router = APIRouter(prefix=PATH, tags=["toys"], route_class=UploadRoute)


@dataclass
class Counter:
    """What the capability keeps while its service runs."""

    warm: bool = False
    answered: int = 0


@asynccontextmanager
async def open_counter(_: ServiceState) -> AsyncIterator[Counter]:
    """The state of the capability."""
    yield Counter()


def warm_up(service: ServiceState) -> None:
    """Run the model once."""
    service.models.get(MODEL).warm_up(size=8)
    service.states.get(Counter).warm = True


class Smoothed(BaseModel):
    """A smoothed image."""

    pixels: list[list[float]]
    answered: int
    warm: bool
    model: ModelReference


class Task(BaseModel):
    """A job to create."""

    pixels: list[list[float]]
    steps: int
    step_s: float = 0.0


@router.post("", summary="Smooth an image", responses=problem_responses(UnprocessableContent, ServiceUnavailable))
async def smooth(
    file: UploadFile, service: Service, counter: Annotated[Counter, Depends(state_of(Counter))]
) -> Smoothed:
    """Each pixel becomes the mean of its neighbours."""
    image = decode_npy(await read_upload(file), limit_elements=10_000, dimensions=(2,))
    model = service.models.get(MODEL)
    feed = {"image": image[None, None].astype(np.float32), "noise_level": np.zeros(1, np.float32)}
    (clean,) = await service.batchers.infer(model, feed)
    counter.answered += 1
    return Smoothed(
        pixels=clean[0, 0].tolist(), answered=counter.answered, warm=counter.warm, model=reference_of(model.card)
    )


@router.post("/smoothings", summary="Smooth an image often", status_code=202)
async def begin_smoothing(task: Task, request: Request, service: Service) -> Response:
    """A job of the ONNX worker."""
    return await _begin(SMOOTHING, task, request, service)


@router.post("/descents", summary="Undo smoothing", status_code=202)
async def begin_descent(task: Task, request: Request, service: Service) -> Response:
    """A job of the torch worker."""
    return await _begin(DESCENT, task, request, service)


async def _begin(kind: JobKind, task: Task, request: Request, service: ServiceState) -> Response:
    record = await service.jobs.create(kind, task.model_dump())
    return await answer_job(service.jobs, record, preferences_of(request))
