"""Classifiers of the fleet, asked over HTTP for probabilities, with the digest of the weights that gave them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.schemas.calibrations import ModelIdentity
from shared.fleet.client import BlockingFleetClient, FleetClient
from shared.fleet.questions import FleetAnswer, Question, RetryPolicy
from shared.imaging.arrays import decode_npy
from shared.problems import BadGateway, Problem
from shared.settings import Domain, Settings

DOMAIN: Final[Domain] = "perception"
ROUTE: Final = "/v1/perception/classifications"
BATCH: Final = 64
"""Most pictures in one question."""

_PICTURE: Final = "/body/file"
_LIMIT: Final = 50_000_000
_PATIENT: Final = RetryPolicy(tries=20, longest_pause_s=15, longest_try_s=50)
"""Of a job: a service that is busy or restarts is asked again, as there is time; a try ends before the job's bound for
cancelling does."""
_JOB_DEADLINE_S: Final = 300.0


@dataclass(frozen=True)
class Answered:
    """What a classifier says of pictures.

    Attributes:
        probabilities: float32 (count, classes).
        model: which weights said it.
    """

    probabilities: NDArray[np.float32]
    model: ModelIdentity


NAMED: Final = 1000
"""Most classes whose names a classifier tells."""


def fleet_client(settings: Settings) -> FleetClient:
    """A client of the service that classifies; to be closed."""
    return FleetClient(settings, DOMAIN)


def fleet_client_of_worker(settings: Settings, *, pause: Callable[[float], object]) -> BlockingFleetClient:
    """The same for a job, whose pauses look at its cancellation."""
    return BlockingFleetClient(settings, DOMAIN, policy=_PATIENT, pause=pause)


async def classified(
    client: FleetClient, pictures: Sequence[bytes], *, model: str, first: int = 0, deadline_s: float = 60.0
) -> Answered:
    """Probabilities of up to 64 pictures.

    Args:
        client: of `fleet_client`.
        pictures: PNG, JPEG or WebP.
        model: name of the classifier.
        first: number of the first of them among all that the caller posted.
        deadline_s: until there is an answer.

    Raises:
        Problem: the one that the classifier answers with, or that it does not answer.
    """
    with _counting_from(first):
        return _read(await client.ask(_question(pictures, model, deadline_s=deadline_s)))


def classified_by_job(
    client: BlockingFleetClient, pictures: Sequence[bytes], *, model: str, first: int = 0
) -> Answered:
    """As `classified`, for a job."""
    with _counting_from(first):
        return _read(client.ask(_question(pictures, model, deadline_s=_JOB_DEADLINE_S)))


@contextmanager
def _counting_from(first: int) -> Iterator[None]:
    """Have problems blame a picture by its number among all, not among those of one question."""
    try:
        yield
    except Problem as problem:
        for error in problem.errors:
            before, _, number = error.pointer.rpartition("/")
            if before == _PICTURE and number.isdigit():
                error.pointer = f"{before}/{int(number) + first}"
        raise


async def class_names(
    client: FleetClient, picture: bytes, *, model: str, classes: int, deadline_s: float = 60.0
) -> list[str] | None:
    """Names of a classifier's classes in their order; None where it calls them by numbers, or has more than `NAMED`.

    Args:
        client: of `fleet_client`.
        picture: any that it can read, as names are told with an answer.
        model: name of the classifier.
        classes: K.
        deadline_s: until there is an answer.

    Raises:
        Problem: as of `classified`.
    """
    if classes > NAMED:
        return None
    question = _naming_question(picture, model, classes, deadline_s=deadline_s)
    return _read_names(await client.ask(question), classes)


def class_names_by_job(client: BlockingFleetClient, picture: bytes, *, model: str, classes: int) -> list[str] | None:
    """As `class_names`, for a job."""
    if classes > NAMED:
        return None
    return _read_names(client.ask(_naming_question(picture, model, classes, deadline_s=_JOB_DEADLINE_S)), classes)


def _naming_question(picture: bytes, model: str, classes: int, *, deadline_s: float = 60.0) -> Question:
    return Question(
        path=ROUTE, files=[("file", picture)], form={"model": model, "top": str(classes)}, deadline_s=deadline_s
    )


def _read_names(answer: FleetAnswer, classes: int) -> list[str] | None:
    try:
        guesses = orjson.loads(answer.content)["classifications"][0]["top"]
        named = {int(one["class_id"]): str(one["name"]) for one in guesses}
        names = [named[index] for index in range(classes)]
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        raise BadGateway(f"The {DOMAIN} service does not say what its classes are called.") from None
    return None if names == [str(index) for index in range(classes)] else names


def _question(pictures: Sequence[bytes], model: str, *, deadline_s: float = 60.0) -> Question:
    return Question(
        path=ROUTE,
        files=[("file", data) for data in pictures],
        form={"model": model},
        accept="application/x-npy",
        queries=len(pictures),
        deadline_s=deadline_s,
    )


def _read(answer: FleetAnswer) -> Answered:
    if answer.model is None:
        raise BadGateway(f"The {DOMAIN} service does not say which weights gave its answer.")
    probabilities = decode_npy(answer.content, limit_elements=_LIMIT, dimensions=(2,))
    return Answered(probabilities, ModelIdentity(**answer.model.model_dump(), served_by=DOMAIN))
