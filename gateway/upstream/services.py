"""The services behind the gateway, and how they are asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from gateway.request_bodies.reader import NO_BODY
from gateway.upstream.aiohttp_transport import AiohttpTransport
from gateway.upstream.transport import (
    RawHeaders,
    TimedOut,
    TransportFailure,
    Unreachable,
    UpstreamRequest,
    UpstreamTransport,
)
from shared.http.fleet import FLEET_TOKEN_HEADER, require_fleet_token
from shared.request_context import current_context
from shared.settings import DOMAINS, Domain, Settings


class ServiceUnreadable(Exception):
    """A service did not answer a question of the gateway's own; the message says why, without addresses."""


class Upstreams:
    """Where each domain's service is and how it is asked.

    Args:
        settings: addresses and timeouts.
        wire: what carries the requests; sockets by default.
    """

    def __init__(self, settings: Settings, *, wire: UpstreamTransport | None = None) -> None:
        self.wire: UpstreamTransport = wire or AiohttpTransport()
        self.urls: Mapping[Domain, str] = {domain: settings.service_url(domain) for domain in DOMAINS}
        token = require_fleet_token(settings).get_secret_value()
        self.credentials: RawHeaders = [(FLEET_TOKEN_HEADER.encode(), token.encode())]
        self.connect_timeout_s = settings.proxy_connect_timeout_s
        self.answer_timeout_s = settings.proxy_read_timeout_s

    def host(self, domain: Domain) -> bytes:
        """The Host of a service."""
        return self.urls[domain].partition("://")[2].partition("/")[0].encode("ascii")

    async def get_json(
        self, domain: Domain, path: str, *, timeout_s: float, statuses: Collection[int] = frozenset({200})
    ) -> Any:
        """A service's JSON answer to a GET; arguments as of `get`.

        Raises:
            ServiceUnreadable: as `get`, or it is not JSON.
        """
        content = await self.get(domain, path, timeout_s=timeout_s, statuses=statuses, accept="application/json")
        try:
            return orjson.loads(content)
        except ValueError:
            raise ServiceUnreadable("its answer cannot be read") from None

    async def get(
        self,
        domain: Domain,
        path: str,
        *,
        timeout_s: float,
        statuses: Collection[int] = frozenset({200}),
        accept: str = "*/*",
    ) -> bytes:
        """A service's answer to a GET.

        Args:
            domain: whose service.
            path: what to get.
            timeout_s: seconds for each of connecting and every part of the answer.
            statuses: of an answer that is meant.
            accept: media types that are meant.

        Raises:
            ServiceUnreadable: no answer, or one with another status.
        """
        context = current_context()
        identity = context.onward_headers() if context else {}
        request = UpstreamRequest(
            method="GET",
            base=self.urls[domain],
            target=path,
            headers=[
                (b"Host", self.host(domain)),
                (b"Accept", accept.encode()),
                *self.credentials,
                *((name.encode(), value.encode()) for name, value in identity.items()),
            ],
            body=NO_BODY,
            connect_timeout_s=timeout_s,
            answer_timeout_s=timeout_s,
        )
        try:
            reply = await self.wire.open(request)
            try:
                content = b"".join([part async for part in reply.parts()])
            finally:
                await reply.close()
            if reply.status not in statuses:
                raise ServiceUnreadable(f"answers {reply.status}")
            return content
        except TimedOut:
            raise ServiceUnreadable(f"no answer within {timeout_s:.0f} s") from None
        except Unreachable:
            raise ServiceUnreadable("not reachable") from None
        except TransportFailure:
            raise ServiceUnreadable("its answer cannot be read") from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.wire.close()
