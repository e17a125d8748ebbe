"""The short way of small tensors: one layer in place of a dozen.

A request that infers on a body of a few mebibytes at most is read whole, answered whole, and passes identity, timing,
metrics and the log line in one object; everything else goes the long way through the application, which gives the same
answers. What a layer costs is little; a dozen of them around each message cost more than a small model.

Requests come here from the socket (`shared.http.front`), or from any ASGI server (`ExpressLayer`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.context import RequestContext, bind, unbind
from shared.http.errors import PROTOCOL_PATH, problem_response
from shared.http.middleware import Telemetry
from shared.http.presence import PATIENCE_S
from shared.problems import InternalError, Problem, RequestTimeout
from shared.telemetry import tracing
from shared.telemetry.timing import Timings, collect, uncollect

logger = logging.getLogger("facet.http")

LONGEST_BODY: Final = 4 * 2**20 + 2**16
"""Bytes; larger ones are streamed, for which the long way is made. Four mebibytes, and what is said about them."""

_CALLER_GONE: Final = 499
_PREFIX: Final = f"{PROTOCOL_PATH}models/"
_SUFFIX: Final = "/infer"
_LONG_WAY: Final = frozenset({b"idempotency-key", b"content-encoding", b"transfer-encoding", b"expect"})

RawHeaders = Sequence[tuple[bytes, bytes]]
Body = bytes | bytearray | memoryview


@dataclass(slots=True)
class Asked:
    """An inference request.

    Attributes:
        scope: of ASGI.
        context: who it is.
        headers: fields by name in small letters.
        name: of the model.
        version: as asked for, None where it was not.
        body: of the request; empty where it is refused before it was read.
        digest: of the body, where a lane has computed one.
        before: how many were in when it was let in, where a lane counts them.
    """

    scope: Scope
    context: RequestContext
    headers: Mapping[bytes, bytes]
    name: str
    version: str | None
    body: Body = b""
    digest: str = ""
    before: int = 0


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

    def refusal(self, asked: Asked) -> Problem | None:
        """Why a request is refused before its body is read; None where it is let in, until `ended`."""

    def answer(self, asked: Asked) -> Awaitable[Answered]:
        """Answer; problems are answered like those of any route."""

    def noted(self, asked: Asked, status: int) -> None:
        """Told of each request that was answered, or whose caller left while it was."""

    def ended(self, asked: Asked) -> None:
        """Told of each request that was let in, when it is over."""


class Express:
    """The short way of one process.

    Args:
        lane: what it does there.
        telemetry: whose identity, metrics and log lines it shares.
        route: what metrics and logs know these requests by.
        most_held: bytes of bodies that are held at once; further ones are streamed.
    """

    def __init__(self, *, lane: Lane, telemetry: Telemetry, route: str, most_held: float = math.inf) -> None:
        self.lane, self.telemetry, self.route = lane, telemetry, route
        self._most_held = most_held
        self.held = 0

    def enter(self, scope: Scope) -> Passage | None:
        """A request whose head is there; None if it has to go the long way."""
        if tracing.active is not None:  # spans are made there
            return None
        target = _target(scope)
        if target is None or not self.lane.takes(scope, target[0]):
            return None
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        if not _LONG_WAY.isdisjoint(headers) or not length.isdigit() or len(length) > len(str(LONGEST_BODY)):
            return None
        size = int(length)
        if size > LONGEST_BODY or self.held + size > self._most_held:
            return None
        context = self.telemetry.identify(scope)
        return Passage(self, Asked(scope, context, headers, *target), size)


class Passage:
    """One request on the short way: first `refused`, then `answer`, and `end` when its answer is written.

    Attributes:
        length: bytes of its body, as announced.
    """

    __slots__ = ("_asked", "_began", "_exchange", "_express", "_let_in", "length")

    def __init__(self, express: Express, asked: Asked, length: int) -> None:
        self._express, self._asked, self.length = express, asked, length
        self._exchange = express.telemetry.exchange(asked.context, Timings(), asked.scope)
        self._began = express.telemetry.begin()
        self._let_in = False
        express.held += length

    def refused(self) -> Answered | None:
        """What it is answered without its body having been read; None if it has to be read."""
        problem = self._express.lane.refusal(self._asked)
        if problem is None:
            self._let_in = True
            return None
        return self._told(problem)

    def stalled(self) -> Answered:
        """What it is answered when its body stops coming."""
        return self._told(
            RequestTimeout("The rest of the body did not come. Send the request again, over a new connection.")
        )

    async def answer(self, body: Body) -> Answered:
        """What it is answered with; problems are answers too.

        Args:
            body: all of it.
        """
        self._asked.body = body
        tokens = bind(self._asked.context), collect(self._exchange.timings)
        try:
            return self._finished(await self._express.lane.answer(self._asked))
        except Problem as problem:
            return self._told(problem)
        except Exception:
            logger.exception("unhandled error")
            return self._told(InternalError.unforeseen())
        finally:
            uncollect(tokens[1])
            unbind(tokens[0])

    def end(self) -> None:
        """Its answer is written, or its caller has left: count it, and note it."""
        express, asked, exchange = self._express, self._asked, self._exchange
        if not exchange.started:
            exchange.status = _CALLER_GONE
        if exchange.started or asked.body:
            express.lane.noted(asked, exchange.status)
        if self._let_in:
            express.lane.ended(asked)
        express.held -= self.length
        express.telemetry.end(asked.scope, exchange, express.route, perf_counter() - self._began)

    def _finished(self, answered: Answered) -> Answered:
        return Answered(answered.status, self._exchange.begin(answered.status, answered.headers), answered.body)

    def _told(self, problem: Problem) -> Answered:
        token = bind(self._asked.context)
        try:
            response = problem_response(problem, path=self._asked.scope["path"])
        finally:
            unbind(token)
        return self._finished(Answered(response.status_code, response.raw_headers, bytes(response.body)))


class ExpressLayer:
    """ASGI layer; the outermost of an application.

    Args:
        app: the application inside.
        express: the short way.
    """

    def __init__(self, app: ASGIApp, *, express: Express) -> None:
        self._app, self._express = app, express

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        passage = self._express.enter(scope)
        if passage is None:
            await self._app(scope, receive, send)
            return
        try:
            answered = passage.refused() or await _answered(passage, receive)
            if answered is not None:
                await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
                await send({"type": "http.response.body", "body": answered.body})
        finally:
            passage.end()


async def _answered(passage: Passage, receive: Receive) -> Answered | None:
    """The answer; None if the caller left before."""
    body = await _read(receive)
    return None if body is None else await _while_present(passage.answer(body), receive)


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
