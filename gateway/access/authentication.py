"""From the header of a request to a key that is good, with a short memory and a short temper."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers

from gateway.redis_deadline import redis_deadline
from shared.access.keys import ApiKey, KeyStore, parse_key
from shared.problems import BadRequest, ServiceUnavailable, TooManyRequests, Unauthorized

FRESH_S = 5.0
"""A key is asked for again after so many seconds: within this time a revoked one is refused."""

STALE_S = 600.0
"""While Redis does not answer, keys that were good lately stay good for so long, so that inference goes on."""

_REMEMBERED = 10_000
_FAILURES = 20
_FAILURE_WINDOW_S = 60.0

_CHALLENGE = 'Bearer realm="facet"'

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class _Memory:
    key: ApiKey | None
    at: float


class Authenticator:
    """Finds the key of a request.

    Args:
        keys: where keys are kept.
        clock: seconds, monotonic.
    """

    def __init__(self, keys: KeyStore, *, clock: Clock = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._known: OrderedDict[str, _Memory] = OrderedDict()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def identify(self, headers: Headers, *, address: str) -> ApiKey:
        """The key that the request was made with.

        Args:
            headers: `Authorization: Bearer <key>` or `X-API-Key: <key>`.
            address: of the client, whose failures are counted.

        Raises:
            Unauthorized: there is none, or it is not good.
            TooManyRequests: this address has tried too many bad keys lately.
            ServiceUnavailable: Redis does not answer, and the key was not seen lately.
        """
        self._check_temper(address)
        given = _given(headers)
        if given is None:
            raise _unauthorized("This route needs an API key: send Authorization: Bearer facet_...", error=None)
        parsed = parse_key(given)
        key = await self._find(parsed[0]) if parsed else None
        if parsed is None or key is None or not key.proves(parsed[1]):
            self._count_failure(address)
            raise _unauthorized("There is no such API key.")
        if fault := key.fault(datetime.now(UTC)):
            self._count_failure(address)
            raise _unauthorized(f"This API key {fault}.")
        return key

    def remembered(self, headers: Headers) -> ApiKey | None:
        """The key of a request, where it is a good one that was asked for a moment ago; for all others, `identify`."""
        try:
            parsed = parse_key(_given(headers) or "")
        except BadRequest:
            return None
        known = self._known.get(parsed[0]) if parsed else None
        if parsed is None or known is None or known.key is None or self._clock() - known.at >= FRESH_S:
            return None
        return known.key if known.key.proves(parsed[1]) and known.key.fault(datetime.now(UTC)) is None else None

    async def _find(self, identifier: str) -> ApiKey | None:
        now, known = self._clock(), self._known.get(identifier)
        if known is not None and now - known.at < FRESH_S:
            return known.key
        try:
            async with redis_deadline():
                key = await self._keys.find(identifier)
        except ServiceUnavailable:
            if known is not None and now - known.at < STALE_S:
                return known.key
            raise
        if key is not None or known is not None:  # made-up ids must not push out real ones
            self._known[identifier] = _Memory(key, now)
            self._known.move_to_end(identifier)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return key

    def _check_temper(self, address: str) -> None:
        count, since = self._failures.get(address, (0, 0.0))
        left = since + _FAILURE_WINDOW_S - self._clock()
        if count >= _FAILURES and left > 0:
            problem = TooManyRequests("Too many requests with bad API keys came from this address.")
            problem.headers["Retry-After"] = str(int(left) + 1)
            raise problem

    def _count_failure(self, address: str) -> None:
        now = self._clock()
        count, since = self._failures.get(address, (0, now))
        self._failures[address] = (count + 1, since) if now - since < _FAILURE_WINDOW_S else (1, now)
        self._failures.move_to_end(address)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)


def _given(headers: Headers) -> str | None:
    bearer, own = headers.getlist("authorization"), headers.getlist("x-api-key")
    if len(bearer) + len(own) > 1:
        raise BadRequest("The request has more than one API key.")
    if own:
        return own[0].strip()
    if not bearer:
        return None
    scheme, _, credentials = bearer[0].strip().partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(detail: str, *, error: str | None = "invalid_token") -> Unauthorized:
    """A 401 with the challenge of RFC 6750, section 3; without an error code where no key was sent."""
    challenge = _CHALLENGE if error is None else f'{_CHALLENGE}, error="{error}"'
    return Unauthorized(detail, headers={"WWW-Authenticate": challenge})
