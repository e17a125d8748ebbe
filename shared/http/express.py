"""The short way of small tensors: one layer in place of a dozen.

A request that infers on a body of at most a mebibyte is read whole, answered whole, and passes identity, limits,
timing, metrics and the log line in one function; everything else goes the long way through the application, which
gives the same answers. What a layer costs is little; a dozen of them around each message cost more than a small model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.context import bind, unbind
from shared.http.errors import PROTOCOL_PATH, problem_response
from shared.http.middleware import Exchange, Telemetry
from shared.http.presence import PATIENCE_S
from shared.problems import InternalError, Problem
from shared.telemetry import tracing
from shared.telemetry.timing import Timings, collect, uncollect

logger = logging.getLogger("facet.http")

LONGEST_BODY: Final = 1024 * 1024
"""Bytes; larger ones are streamed, for which the long way is made."""

_CALLER_GONE: Final = 499
_PREFIX: Final = f"{PROTOCOL_PATH}models/"
_SUFFIX: Final = "/infer"
_LONG_WAY: Final = frozenset({b"idempotency-key", b"content-encoding", b"transfer-encoding", b"expect"})

RawHeaders = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """An inference request, read whole.

    Attributes:
        scope: of ASGI.
        headers: fields by name in small letters.
        name: of the model.
        version: as asked for, None where it was not.
        body: of the request.
    """

    scope: Scope
    headers: Mapping[bytes, bytes]
    name: str
    version: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """What it is answered with."""

    status: int
    headers: RawHeaders
    body: bytes


class Lane(Protocol):
    """What a process does with a request on the short way."""

    def takes(self, scope: Scope, name: str) -> bool:
        """Whether it does; otherwise the request goes the long way."""

    def answer(self, asked: Asked) -> Awaitable[Answered]:
        """Answer; problems are answered like those of any route."""

    def noted(self, asked: Asked, status: int) -> None:
        """Told of each request that was answered, or whose caller left."""


class Express:
    """ASGI layer; the outermost of an application.

    Args:
        app: the application inside.
        lane: of this process.
        telemetry: whose identity, metrics and log lines it shares.
        route: what metrics and logs know these requests by.
    """

    def __init__(self, app: ASGIApp, *, lane: Lane, telemetry: Telemetry, route: str) -> None:
        self._app, self._lane, self._telemetry, self._route = app, lane, telemetry, route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        target = _target(scope) if tracing.active is None else None  # spans are made on the long way
        if target is None or not self._lane.takes(scope, target[0]):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if not _LONG_WAY.isdisjoint(headers) or not _is_short(headers.get(b"content-length", b"")):
            await self._app(scope, receive, send)
            return
        context = self._telemetry.identify(scope)
        timings = Timings()
        tokens = bind(context), collect(timings)
        exchange = self._telemetry.exchange(send, context, timings, scope)
        began = self._telemetry.begin()
        try:
            await self._serve(scope, receive, exchange, headers, target)
        finally:
            self._telemetry.end(scope, exchange, self._route, time.perf_counter() - began)
            uncollect(tokens[1])
            unbind(tokens[0])

    async def _serve(
        self,
        scope: Scope,
        receive: Receive,
        exchange: Exchange,
        headers: Mapping[bytes, bytes],
        target: tuple[str, str | None],
    ) -> None:
        body = await _read(receive)
        if body is None:
            exchange.status = _CALLER_GONE
            return
        asked = Asked(scope, headers, *target, body)
        try:
            answered = await _while_present(self._lane.answer(asked), receive)
        except Problem as problem:
            self._lane.noted(asked, problem.status)
            await problem_response(problem, path=scope["path"])(scope, receive, exchange)
            return
        except Exception:
            logger.exception("unhandled error")
            failure = InternalError("Facet failed on this request. The log holds the reason under the request id.")
            self._lane.noted(asked, failure.status)
            await problem_response(failure, path=scope["path"])(scope, receive, exchange)
            return
        if answered is None:
            exchange.status = _CALLER_GONE
            self._lane.noted(asked, _CALLER_GONE)
            return
        self._lane.noted(asked, answered.status)
        await exchange({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
        await exchange({"type": "http.response.body", "body": answered.body})


def _target(scope: Scope) -> tuple[str, str | None] | None:
    """Name and version of the model that a request infers with."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path: str = scope["path"]
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    match path[len(_PREFIX) : -len(_SUFFIX)].split("/"):
        case [name] if name:
            return name, None
        case [name, "versions", version] if name and version:
            return name, version
    return None


def _is_short(length: bytes) -> bool:
    return length.isdigit() and len(length) < 8 and int(length) <= LONGEST_BODY


async def _read(receive: Receive) -> bytes | None:
    """The body; not copied where it came in one part. None if the caller left before its end."""
    message = await receive()
    parts: list[bytes] = []
    while message["type"] == "http.request" and message.get("more_body", False):
        parts.append(message.get("body", b""))
        message = await receive()
    if message["type"] != "http.request":
        return None
    last: bytes = message.get("body", b"")
    return b"".join([*parts, last]) if parts else last


async def _while_present(work: Awaitable[Answered], receive: Receive) -> Answered | None:
    """What the work gives; None if the caller leaves before, for whom it is cancelled."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    watcher = _Watcher(task, receive)
    timer = asyncio.get_running_loop().call_later(PATIENCE_S, watcher.begin)
    try:
        return await work
    except asyncio.CancelledError:
        if watcher.gone and task.uncancel() == 0:
            return None
        raise
    finally:
        timer.cancel()
        watcher.end()


class _Watcher:
    """Looks whether the caller is still there once an answer takes longer than a moment."""

    def __init__(self, task: asyncio.Task[object], receive: Receive) -> None:
        self._task, self._receive = task, receive
        self._watching: asyncio.Task[None] | None = None
        self.gone = False

    def begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    def end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        message: Message = {"type": "http.request"}
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self.gone = True
        self._task.cancel()
