"""The ASGI layer: a POST with an Idempotency-Key is executed once and answered as often as it is asked.

A caller who leaves does not stop what it began: its retry is to find the answer. Requests without a key pass through
untouched.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.idempotency.fingerprint import fingerprint
from gateway.idempotency.store import LEASE_S, Claim, IdempotencyStore, Outcome, StoredAnswer, secret_name
from gateway.promptness import promptly
from shared.http.context import bound, current_context, new_context
from shared.http.errors import problem_response
from shared.problems import BadRequest, Conflict, Problem, UnprocessableContent

logger = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
EXPIRES = "Idempotency-Expires"
REPLAYED = "Idempotency-Replayed"

LONGEST_KEY = 255

_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
"""A string of Structured Fields (RFC 9651, section 3.3.3)."""
_BARE = re.compile(r"[A-Za-z0-9._~:/+=-]+")
"""What clients send in spite of the draft, and no harm is done by taking it."""

_KEPT = frozenset({400, 406, 413, 415, 422})
"""Problems that the request itself determines; like answers of success, they stay what they are."""

_FRESH = frozenset({"date", "server", "connection", "x-request-id", "traceparent", "server-timing", "retry-after"})
"""Header fields that belong to one exchange."""

_LARGEST_ANSWER = 256 * 1024 * 1024


class _CallerLeft(Exception):
    """The body broke off."""


@dataclass(slots=True)
class _Recording:
    """An answer, kept back until it is stored; beyond a bound it is passed on and not stored."""

    send: Send
    extra: list[tuple[bytes, bytes]]
    start: Message | None = None
    body: bytearray = field(default_factory=bytearray)
    overflowed: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = {**message, "headers": [*message.get("headers", []), *self.extra]}
            return
        if self.overflowed:
            await self.send(message)
            return
        self.body += message.get("body", b"")
        if len(self.body) > _LARGEST_ANSWER and self.start is not None:
            self.overflowed = True
            await self._pass_on(more=message.get("more_body", False))

    async def flush(self) -> None:
        """Send what was kept back."""
        if not self.overflowed and self.start is not None:
            await self._pass_on(more=False)

    async def _pass_on(self, *, more: bool) -> None:
        assert self.start is not None  # noqa: S101 - for the type checker
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": bytes(self.body), "more_body": more})

    def answer(self) -> StoredAnswer | None:
        """What to store, if the answer is of a kind that is kept."""
        if self.start is None or self.overflowed:
            return None
        status = self.start["status"]
        if not 200 <= status < 300 and status not in _KEPT:
            return None
        own = {name for name, _ in self.extra}
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.start["headers"]
            if name not in own and name.decode("latin-1").lower() not in _FRESH
        ]
        return StoredAnswer(status, headers, bytes(self.body))


class Idempotency:
    """The layer.

    Args:
        app: the application inside.
        store: claims and answers.
    """

    def __init__(self, app: ASGIApp, *, store: IdempotencyStore) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist(HEADER)
        if not given:
            await self._app(scope, receive, send)
            return
        try:
            await self._keyed(scope, receive, send, parse_key(given))
        except _CallerLeft:
            return
        except Problem as problem:
            await problem_response(problem, path=scope["path"])(scope, receive, send)

    async def _keyed(self, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        body = await _read(receive)
        mark = await anyio.to_thread.run_sync(fingerprint, scope, body)
        context = current_context() or new_context()
        async with promptly():
            claim = await self._store.claim(context.caller, key, mark)
        if claim.outcome is Outcome.DONE:
            await self._replay(claim, send)
            return
        if claim.outcome is not Outcome.CLAIMED:
            raise _refusal(claim)
        creation_key = secret_name(context.caller, key, mark)
        with bound(replace(context, creation_key=creation_key)):
            await self._run(claim, scope, body, send)

    async def _run(self, claim: Claim, scope: Scope, body: bytearray, send: Send) -> None:
        recording = _Recording(send, [_expires(claim)])
        answer = None
        try:
            async with self._holding(claim):
                await self._app(scope, _replayed_body(bytes(body)), recording)
                answer = recording.answer()
        finally:
            with anyio.CancelScope(shield=True):
                await self._settle(claim, answer)
        await recording.flush()

    async def _settle(self, claim: Claim, answer: StoredAnswer | None) -> None:
        """Store the answer or free the key. The work is done by now: what fails here must not take its answer away."""
        try:
            async with promptly():
                await (self._store.release(claim) if answer is None else self._store.finish(claim, answer))
        except (Problem, OSError):
            logger.warning("an answer was not stored under its Idempotency-Key", exc_info=True)

    async def _replay(self, claim: Claim, send: Send) -> None:
        async with promptly():
            stored = await self._store.answer(claim)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stored.headers]
        headers += [_expires(claim), (REPLAYED.lower().encode(), b"true")]
        await send({"type": "http.response.start", "status": stored.status, "headers": headers})
        await send({"type": "http.response.body", "body": stored.body})

    @asynccontextmanager
    async def _holding(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the claim while what is inside runs."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_S / 3)
                with suppress(Problem):
                    await self._store.renew(claim)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def parse_key(given: list[str]) -> str:
    """The key of a request.

    Raises:
        BadRequest: repeated, too long, or neither a quoted string nor a plain word.
    """
    if len(given) > 1:
        raise BadRequest(f"{HEADER} is given {len(given)} times; a request has one key.")
    text = given[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if len(key) > LONGEST_KEY:
        raise BadRequest(f"{HEADER} is longer than {LONGEST_KEY} characters. A UUID is a good key.")
    if quoted is None and not _BARE.fullmatch(text):
        raise BadRequest(f'{HEADER} must be a quoted string, such as "8e03978e-40d5-43dd-bc93-6894a57f9324".')
    return key


def _refusal(claim: Claim) -> Problem:
    if claim.outcome is Outcome.RUNNING:
        detail = "The first request with this Idempotency-Key is still being worked on. Ask again for its answer."
        return Conflict(detail, headers={"Retry-After": str(max(1, min(5, math.ceil(claim.lost_s))))})
    return UnprocessableContent(
        "This Idempotency-Key was used for another request. Send each new request with a key of its own.",
    )


def _expires(claim: Claim) -> tuple[bytes, bytes]:
    moment = datetime.now(UTC) + timedelta(seconds=claim.expires_s)
    return EXPIRES.lower().encode(), format_datetime(moment, usegmt=True).encode()


async def _read(receive: Receive) -> bytearray:
    """The whole body, within the limit that the layer outside sets."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _CallerLeft
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replayed_body(body: bytes) -> Receive:
    """The body again, from a caller that never leaves: what it began goes on, so that its retry finds an answer."""
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            await asyncio.Event().wait()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
