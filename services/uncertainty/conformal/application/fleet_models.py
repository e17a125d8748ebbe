"""Classifiers of the fleet, asked over HTTP for probabilities, with the digest of the weights that gave them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from services.uncertainty.conformal.schemas.calibrations import ModelIdentity
from shared.http.context import current_context
from shared.http.fleet import FLEET_TOKEN_HEADER, require_fleet_token
from shared.imaging.arrays import decode_npy
from shared.problems import BY_STATUS, BadGateway, FieldError, GatewayTimeout, Problem, ServiceUnavailable
from shared.settings import Domain, Settings

DOMAIN: Final[Domain] = "perception"
ROUTE: Final = "/v1/perception/classifications"
BATCH: Final = 64
"""Most pictures in one question."""

_TIMEOUT: Final = httpx.Timeout(60.0, connect=2.0)
_LIMIT: Final = 50_000_000
_MODEL: Final = re.compile(r'(?P<name>[^;]+);version="(?P<version>[^"]*)";sha256="(?P<sha256>[0-9a-f]{64})"')


@dataclass(frozen=True)
class Answered:
    """What a classifier says of pictures.

    Attributes:
        probabilities: float32 (count, classes).
        model: which weights said it.
    """

    probabilities: NDArray[np.float32]
    model: ModelIdentity


def fleet_client(settings: Settings) -> httpx.AsyncClient:
    """A client of the service that classifies; to be closed."""
    return httpx.AsyncClient(
        base_url=settings.service_url(DOMAIN), timeout=_TIMEOUT, headers=_token(settings), trust_env=False
    )


def fleet_client_of_worker(settings: Settings) -> httpx.Client:
    """The same for a job."""
    return httpx.Client(
        base_url=settings.service_url(DOMAIN), timeout=_TIMEOUT, headers=_token(settings), trust_env=False
    )


async def classified(client: httpx.AsyncClient, pictures: Sequence[bytes], *, model: str) -> Answered:
    """Probabilities of up to 64 pictures.

    Args:
        client: of `fleet_client`.
        pictures: PNG, JPEG or WebP.
        model: name of the classifier.

    Raises:
        Problem: the one that the classifier answers with, or that it does not answer.
    """
    try:
        answer = await client.post(ROUTE, **_question(pictures, model))
    except httpx.HTTPError as error:
        raise _unreachable(error) from None
    return _read(answer)


def classified_by_job(client: httpx.Client, pictures: Sequence[bytes], *, model: str) -> Answered:
    """As `classified`, for a job."""
    try:
        answer = client.post(ROUTE, **_question(pictures, model))
    except httpx.HTTPError as error:
        raise _unreachable(error) from None
    return _read(answer)


def _question(pictures: Sequence[bytes], model: str) -> dict[str, Any]:
    context = current_context()
    return {
        "files": [("file", ("picture", data, "application/octet-stream")) for data in pictures],
        "data": {"model": model},
        "headers": {"Accept": "application/x-npy", **(context.onward_headers() if context else {})},
    }


def _token(settings: Settings) -> dict[str, str]:
    return {FLEET_TOKEN_HEADER: require_fleet_token(settings).get_secret_value()}


def _unreachable(error: httpx.HTTPError) -> Problem:
    if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
        return GatewayTimeout(f"The {DOMAIN} service, which runs the classifier, did not answer in time.")
    return ServiceUnavailable(f"The {DOMAIN} service, which runs the classifier, does not answer at present.")


def _read(answer: httpx.Response) -> Answered:
    if answer.status_code != 200:
        raise _problem(answer)
    said = _MODEL.fullmatch(answer.headers.get("Facet-Model", ""))
    if said is None:
        raise BadGateway(f"The {DOMAIN} service does not say which weights gave its answer.")
    probabilities = decode_npy(answer.content, limit_elements=_LIMIT, dimensions=(2,))
    identity = ModelIdentity(
        name=said["name"], version=said["version"], weights_sha256=said["sha256"], served_by=DOMAIN
    )
    return Answered(probabilities, identity)


def _problem(answer: httpx.Response) -> Problem:
    """The classifier's own problem, as the caller would have got it there."""
    try:
        document = orjson.loads(answer.content)
        detail = str(document["detail"])
        errors = [FieldError.model_validate(one) for one in document.get("errors", [])]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return BadGateway(f"The {DOMAIN} service answered with the status {answer.status_code}.")
    if answer.status_code in {401, 403, 405, 406} or answer.status_code not in BY_STATUS:
        return BadGateway(f"The {DOMAIN} service refused the question: {detail}")
    if answer.status_code == 503:
        waiting = answer.headers.get("Retry-After", "5")
        return ServiceUnavailable(detail, retry_after_s=int(waiting) if waiting.isdigit() else 5, errors=errors)
    return BY_STATUS[answer.status_code](detail, errors=errors)
