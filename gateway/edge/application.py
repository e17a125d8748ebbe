"""The edge as an ASGI layer: one object, one order of calls, for every request (see `gateway.edge`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.authentication import Authenticator
from gateway.access.event_links import EventLinks
from gateway.access.meter import Meter
from gateway.access.record import record
from gateway.calls import Call, Router
from gateway.edge.browsers import BrowserPolicy
from gateway.edge.formats import accept_format
from gateway.edge.heads import check_head
from gateway.idempotency.runner import HEADER as IDEMPOTENCY_KEY
from gateway.idempotency.runner import IdempotentRunner
from gateway.request_bodies.reader import NO_BODY, BodyReader, ClientDisconnected, HeldBody, RequestBody
from gateway.state import KEY_IN_SCOPE
from gateway.upstream.admission import Admission
from shared.access.audit import AUDIT_NOTE_HEADER, AuditLog
from shared.access.keys import ApiKey
from shared.access.scopes import PUBLIC, AccessPolicy, grants
from shared.http.errors import problem_response
from shared.problems import Forbidden, Problem
from shared.request_context import bound, current_context, new_context
from shared.settings import Settings

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Seen in logs, metrics and the audit log only: the caller was gone before there was an answer."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_AUDIT_NOTE: Final = AUDIT_NOTE_HEADER.lower().encode()
_IDEMPOTENCY_KEY: Final = IDEMPOTENCY_KEY.lower().encode()
_DRAIN_BYTES: Final = 1024 * 1024
_DRAIN_S: Final = 2.0


class AnswerNotRead(Exception):
    """The caller did not take a part of its answer in time."""


@dataclass(slots=True)
class _Exchange:
    """One request while it is answered, and what the audit log is told of it."""

    scope: Scope
    send: Send
    send_timeout_s: float
    held: HeldBody = field(default_factory=lambda: HeldBody(NO_BODY))
    body_pending: bool = False
    key: ApiKey | None = None
    owner: str | None = None
    quota_headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    job: str = ""
    note: str = ""

    async def write(self, message: Message) -> None:
        """Pass a part of the answer on, with what is left of the quotas.

        Raises:
            AnswerNotRead: the caller does not read, and the connection's buffers are full.
        """
        if message["type"] == "http.response.start":
            self._begin(message)
        elif message.get("more_body", False):
            try:
                async with asyncio.timeout(self.send_timeout_s):
                    await self.send(message)
            except TimeoutError:
                raise AnswerNotRead from None
            return
        await self.send(message)

    def _begin(self, message: Message) -> None:
        self.status = message["status"]
        if self.quota_headers:
            MutableHeaders(scope=message).update(self.quota_headers)
        if any(name == _AUDIT_NOTE for name, _ in message["headers"]):
            headers = MutableHeaders(scope=message)
            self.note = unquote(headers[AUDIT_NOTE_HEADER])
            del headers[AUDIT_NOTE_HEADER]
        location = next((value for name, value in message["headers"] if name == b"location"), b"")
        path = location.decode("latin-1")
        self.job = path[path.find("/v1/jobs/") :] if "/v1/jobs/" in path else ""


class Edge:
    """The layer.

    Args:
        app: the gateway's own routes.
        settings: limits, and whether keys are asked for.
        router: finds the service that a request is for.
        authenticator: finds keys.
        meter: counts against quotas.
        audit: the log.
        admission: knows which services are full.
        idempotency: runs requests that have a key for that.
        bodies: reads bodies.
        browsers: knows what pages of other origins may not do.
        event_links: let browsers read events of jobs without a key.
        access: knows which scope a request needs.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        router: Router,
        authenticator: Authenticator,
        meter: Meter,
        audit: AuditLog,
        admission: Admission,
        idempotency: IdempotentRunner,
        bodies: BodyReader,
        browsers: BrowserPolicy,
        event_links: EventLinks,
        access: AccessPolicy,
    ) -> None:
        self._app = app
        self._settings, self._router = settings, router
        self._authenticator, self._meter, self._audit = authenticator, meter, audit
        self._admission, self._idempotency, self._bodies = admission, idempotency, bodies
        self._browsers, self._event_links, self._access = browsers, event_links, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._settings.send_timeout_s, body_pending=_announces_body(scope))
        try:
            await self._serve(exchange, receive)
        except Problem as problem:
            await self._refuse(exchange, problem, receive)
        except ClientDisconnected:
            await self._note_departure(exchange)
        except AnswerNotRead:
            logger.info("an answer was not read in time: its connection is closed")
        finally:
            self._record(exchange)
            exchange.held.close()

    async def _serve(self, exchange: _Exchange, receive: Receive) -> None:
        scope = exchange.scope
        check_head(scope, self._settings)
        self._browsers.check(scope)
        if self._settings.api_keys:
            await self._admit(exchange)
        call = self._router.find(scope)
        if call is not None and scope["method"] == "POST":
            self._admission.check(scope["path"])
        if exchange.body_pending:
            exchange.held = await self._bodies.read(scope, receive)
            exchange.body_pending = False
            await self._charge(exchange)
        accept_format(scope)
        with self._on_behalf_of_caller(exchange):
            await self._call(call or self._answer_here, exchange, receive)

    @contextmanager
    def _on_behalf_of_caller(self, exchange: _Exchange) -> Iterator[None]:
        """Make the caller, as far as it is known, part of the request's context."""
        if exchange.key is None and exchange.owner is None:
            yield
            return
        context = current_context() or new_context()
        if exchange.key is not None:
            exchange.scope[KEY_IN_SCOPE] = exchange.key
            context = self._meter.on_behalf_of_owner(context, exchange.key)
        else:
            context = context.on_behalf_of(exchange.owner)
        with bound(context):
            yield

    async def _call(self, call: Call, exchange: _Exchange, receive: Receive) -> None:
        scope, body = exchange.scope, exchange.held.body
        if scope["method"] == "POST" and any(name == _IDEMPOTENCY_KEY for name, _ in scope["headers"]):
            await self._idempotency.run(call, scope, body, exchange.write)
            return
        await call(scope, body, receive, exchange.write)

    async def _answer_here(self, scope: Scope, body: RequestBody, receive: Receive, send: Send) -> None:
        await self._app(scope, body.receive(receive), send)

    async def _admit(self, exchange: _Exchange) -> None:
        """Let the request in, or say why not."""
        scope = exchange.scope
        needed = self._access.needed_scope(scope["method"], scope["path"])
        exchange.owner = self._event_links.owner_of(scope)
        if needed == PUBLIC or exchange.owner is not None:
            return
        headers, client = Headers(scope=scope), scope.get("client")
        key = await self._authenticator.identify(headers, address=client[0] if client else "")
        exchange.key = key
        if not grants(key.scopes, needed):
            challenge = f'Bearer realm="facet", error="insufficient_scope", scope="{needed}"'
            raise Forbidden(
                f"This API key lacks the scope {needed}. It has: {', '.join(key.scopes)}.",
                headers={"WWW-Authenticate": challenge},
            )
        length = headers.get("content-length", "")
        size = int(length[:20]) if length.isascii() and length.isdigit() else 0
        exchange.quota_headers = await self._meter.spend(key, reads_only=scope["method"] in _SAFE, size=size)

    async def _charge(self, exchange: _Exchange) -> None:
        """Charge a body whose size no header told; what was told has been charged."""
        chunked = any(name == b"transfer-encoding" for name, _ in exchange.scope["headers"])
        if exchange.key is not None and chunked and exchange.held.body.size:
            await self._meter.charge(exchange.key, size=exchange.held.body.size)

    async def _refuse(self, exchange: _Exchange, problem: Problem, receive: Receive) -> None:
        """Answer a problem; what is still to come of the body is read and dropped for a moment.

        A connection that is closed while its client writes may lose the answer, and a new one costs more than a small
        body.
        """
        if exchange.status:
            raise problem  # the answer has begun
        response = problem_response(problem, path=exchange.scope["path"])
        start = {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        await exchange.write(start)
        await exchange.write({"type": "http.response.body", "body": response.body})
        if exchange.body_pending and problem.status not in {400, 408}:
            await _drain(receive)

    async def _note_departure(self, exchange: _Exchange) -> None:
        """The server drops what is sent to a caller that is gone; the status is for the log line."""
        if not exchange.status:
            await exchange.write({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})

    def _record(self, exchange: _Exchange) -> None:
        """Write into the audit log what ran, or was refused."""
        scope = exchange.scope
        if scope["method"] in _SAFE and exchange.status not in {401, 403, 421}:
            return
        context, body = current_context(), exchange.held.body
        record(
            self._audit,
            scope,
            request_id=context.request_id if context else "",
            key=exchange.key,
            status=exchange.status or CLIENT_CLOSED_REQUEST,
            digest=body.digest,
            size=body.size,
            job=exchange.job,
            note=exchange.note,
        )


def _announces_body(scope: Scope) -> bool:
    """Whether a body comes with the request (RFC 9112, section 6)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ") != b"")
        for name, value in scope["headers"]
    )


async def _drain(receive: Receive) -> None:
    dropped = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            while dropped <= _DRAIN_BYTES:
                message = await receive()
                dropped += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
