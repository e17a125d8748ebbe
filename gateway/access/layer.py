"""The ASGI layer at the door."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.authentication import Authenticator
from gateway.access.event_links import EventLinks
from gateway.access.meter import Meter
from gateway.access.record import record
from gateway.browsers import BrowserPolicy
from gateway.state import KEY_IN_SCOPE
from shared.access.audit import AuditLog
from shared.access.keys import ApiKey
from shared.access.scopes import PUBLIC, grants, needed_scope
from shared.http.context import bound, current_context, new_context
from shared.http.errors import problem_response
from shared.problems import Forbidden, Problem
from shared.settings import Settings

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class _Visit:
    """What the log is told of a request."""

    receive: Receive
    send: Send
    headers: dict[str, str] = field(default_factory=dict)
    key: ApiKey | None = None
    owner: str | None = None
    status: int = 0
    job: str = ""
    bytes: int = 0
    whole: bool = False
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    async def read(self) -> Message:
        """The next message, its part of the body counted."""
        message = await self.receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self.bytes += len(body)
            self.digest.update(body)
            self.whole = not message.get("more_body", False)
        return message

    async def write(self, message: Message) -> None:
        """Pass an answer on, with what is left of the quotas."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.headers:
                MutableHeaders(scope=message).update(self.headers)
            location = next((value for name, value in message["headers"] if name == b"location"), b"")
            self.job = location.decode("latin-1") if location.startswith(b"/v1/jobs/") else ""
        await self.send(message)


class Access:
    """The layer.

    Args:
        app: the application inside.
        settings: whether keys are asked for.
        authenticator: finds keys.
        meter: counts.
        audit: the log.
        event_links: let browsers read events of jobs without a key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        authenticator: Authenticator,
        meter: Meter,
        audit: AuditLog,
        event_links: EventLinks,
    ) -> None:
        self._app = app
        self._settings = settings
        self._authenticator = authenticator
        self._meter = meter
        self._audit = audit
        self._event_links = event_links
        self._browsers = BrowserPolicy(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(receive, send)
        try:
            self._browsers.check(scope)
            if self._settings.api_keys:
                await self._admit(scope, visit)
            await self._serve(scope, visit)
        except Problem as problem:
            await problem_response(problem, path=scope["path"])(scope, receive, visit.write)
        finally:
            self._note(scope, visit)

    async def _serve(self, scope: Scope, visit: _Visit) -> None:
        reads_only = scope["method"] in _SAFE
        receive = visit.receive if reads_only else visit.read
        context = current_context() or new_context()
        if visit.key is None:
            with bound(context.on_behalf_of(visit.owner)):
                await self._app(scope, receive, visit.write)
            return
        scope[KEY_IN_SCOPE] = visit.key
        with bound(self._meter.on_behalf_of_owner(context, visit.key)):
            await self._app(scope, receive, visit.write)
        if visit.bytes and not _announced(Headers(scope=scope)):
            await self._meter.charge(visit.key, size=visit.bytes)

    async def _admit(self, scope: Scope, visit: _Visit) -> None:
        """Let the request in, or say why not."""
        needed = needed_scope(scope["method"], scope["path"])
        visit.owner = self._event_links.owner_of(scope)
        if needed == PUBLIC or visit.owner is not None:
            return
        headers, client = Headers(scope=scope), scope.get("client")
        key = await self._authenticator.identify(headers, address=client[0] if client else "")
        visit.key = key
        if not grants(key.scopes, needed):
            challenge = f'Bearer realm="facet", error="insufficient_scope", scope="{needed}"'
            raise Forbidden(
                f"This API key lacks the scope {needed}. It has: {', '.join(key.scopes)}.",
                headers={"WWW-Authenticate": challenge},
            )
        reads_only = scope["method"] in _SAFE
        visit.headers = await self._meter.spend(key, reads_only=reads_only, size=_announced(headers))

    def _note(self, scope: Scope, visit: _Visit) -> None:
        """Write into the log what ran, or was refused."""
        if scope["method"] in _SAFE and visit.status not in {401, 403}:
            return
        context = current_context()
        record(
            self._audit,
            scope,
            request_id=context.request_id if context else "",
            key=visit.key,
            status=visit.status or 499,
            digest=f"sha256:{visit.digest.hexdigest()}" if visit.whole else "",
            size=visit.bytes,
            job=visit.job,
        )


def _announced(headers: Headers) -> int:
    """Bytes of the body by its Content-Length; 0 where it has none."""
    length = headers.get("content-length", "")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0
