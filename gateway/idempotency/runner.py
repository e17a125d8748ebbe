"""Runs a POST with an Idempotency-Key once, and answers it as often as it is asked.

A caller who leaves does not stop what it began: its retry is to find the answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import IO

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Scope, Send

from gateway.calls import Call
from gateway.idempotency.fingerprint import fingerprint
from gateway.idempotency.store import LEASE_S, Claim, IdempotencyStore, Outcome, StoredAnswer, secret_name
from gateway.redis_deadline import redis_deadline
from gateway.request_bodies.reader import RequestBody
from shared.http.errors import problem_response
from shared.problems import BadRequest, Conflict, Problem, UnprocessableContent
from shared.request_context import bound, current_context, new_context

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

_LARGEST_ANSWER = 64 * 1024 * 1024
_IN_MEMORY = 1024 * 1024


@dataclass(slots=True)
class _Recording:
    """An answer, held back until it is stored: on disk beyond a mebibyte. Too large a one is passed on, not stored."""

    send: Send
    extra: list[tuple[bytes, bytes]]
    body: IO[bytes]
    start: Message | None = None
    size: int = 0
    overflowed: bool = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = {**message, "headers": [*message.get("headers", []), *self.extra]}
            return
        if self.overflowed:
            await self.send(message)
            return
        data = message.get("body", b"")
        self.size += len(data)
        if self.size <= _IN_MEMORY:
            self.body.write(data)
        else:
            await anyio.to_thread.run_sync(self.body.write, data)
        if self.size > _LARGEST_ANSWER and self.start is not None:
            self.overflowed = True
            await self._pass_on(more=message.get("more_body", False))

    async def flush(self) -> None:
        """Send what was held back."""
        if not self.overflowed and self.start is not None:
            await self._pass_on(more=False)

    async def _pass_on(self, *, more: bool) -> None:
        assert self.start is not None  # noqa: S101 - for the type checker
        await self.send(self.start)
        self.body.seek(0)
        left = self.size
        while left > _IN_MEMORY:
            part = await anyio.to_thread.run_sync(self.body.read, _IN_MEMORY)
            left -= len(part)
            await self.send({"type": "http.response.body", "body": part, "more_body": True})
        await self.send({"type": "http.response.body", "body": self.body.read(), "more_body": more})

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
        self.body.seek(0)
        return StoredAnswer(status, headers, self.body.read())


class IdempotentRunner:
    """Runs requests under their keys.

    Args:
        store: claims and answers.
    """

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def run(self, call: Call, scope: Scope, body: RequestBody, send: Send) -> None:
        """Run a request that has a key, or answer what was answered to it before.

        Args:
            call: what answers the request (`gateway.calls`).
            scope: of the request.
            body: of the request.
            send: takes the answer.

        Raises:
            BadRequest: the key is not well formed.
            Conflict: the first request with this key is still worked on.
            UnprocessableContent: the key was used for another request.
        """
        key = parse_key(Headers(scope=scope).getlist(HEADER))
        mark = await anyio.to_thread.run_sync(lambda: fingerprint(scope, body.buffer()))
        context = current_context() or new_context()
        async with redis_deadline():
            claim = await self._store.claim(context.caller, key, mark)
        if claim.outcome is Outcome.DONE:
            await self._replay(claim, send)
            return
        if claim.outcome is not Outcome.CLAIMED:
            raise _refusal(claim)
        creation_key = secret_name(context.caller, key, mark)
        with bound(replace(context, creation_key=creation_key)):
            await self._run(claim, call, scope, body, send)

    async def _run(self, claim: Claim, call: Call, scope: Scope, body: RequestBody, send: Send) -> None:
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as held:
            recording = _Recording(send, [_expires(claim)], held)
            answer = None
            try:
                async with self._holding(claim):
                    await _record(recording, call, scope, body)
                    answer = recording.answer()
            finally:
                with anyio.CancelScope(shield=True):
                    await self._settle(claim, answer)
            await recording.flush()

    async def _settle(self, claim: Claim, answer: StoredAnswer | None) -> None:
        """Store the answer or free the key. The work is done by now: what fails here must not take its answer away."""
        try:
            async with redis_deadline():
                await (self._store.release(claim) if answer is None else self._store.finish(claim, answer))
        except (Problem, OSError):
            logger.warning("an answer was not stored under its Idempotency-Key", exc_info=True)

    async def _replay(self, claim: Claim, send: Send) -> None:
        async with redis_deadline():
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
        return Conflict(detail, headers={"Retry-After": "1"})
    return UnprocessableContent(
        "This Idempotency-Key was used for another request. Send each new request with a key of its own.",
    )


def _expires(claim: Claim) -> tuple[bytes, bytes]:
    moment = datetime.now(UTC) + timedelta(seconds=claim.expires_s)
    return EXPIRES.lower().encode(), format_datetime(moment, usegmt=True).encode()


async def _record(recording: _Recording, call: Call, scope: Scope, body: RequestBody) -> None:
    """Run the request into the recording; a problem that it raises is an answer as well."""
    try:
        await call(scope, body, _never_leaves, recording)
    except Problem as problem:
        response = problem_response(problem, path=scope["path"])
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await recording(start)
        await recording({"type": "http.response.body", "body": response.body})


async def _never_leaves() -> Message:
    """The channel of a caller that never leaves: what it began goes on, so that its retry finds an answer."""
    await asyncio.Event().wait()
    raise AssertionError
