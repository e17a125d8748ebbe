"""The services behind the gateway, and the one pool of kept-alive connections to them.

The proxy calls the transport directly: `httpx.AsyncClient` adds redirects, cookies (shared among all callers!) and
decompression, none of which a hop may do. The transport is also the seam at which tests put applications in place of
sockets, and where another HTTP client could be put in place of httpx.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import httpx

from shared.http.context import current_context
from shared.http.fleet import FLEET_TOKEN_HEADER
from shared.settings import DOMAINS, Domain, Settings

CONNECTIONS_LIMIT = 512
"""Most requests that are with services at the same time; further ones wait for the connect timeout, then get 503."""

_KEEPALIVE_S = 4.0
"""Below the five seconds after which uvicorn closes idle connections, so that none is used as it closes."""


class UpstreamFailure(Exception):
    """A service did not answer a question of the gateway's own; the message says why, without addresses."""


def transport_for(settings: Settings) -> httpx.AsyncHTTPTransport:
    """The pool of connections: HTTP/1.1, kept alive, blind to proxy variables of the environment."""
    del settings
    limits = httpx.Limits(
        max_connections=CONNECTIONS_LIMIT, max_keepalive_connections=64, keepalive_expiry=_KEEPALIVE_S
    )
    return httpx.AsyncHTTPTransport(limits=limits, http1=True, http2=False, trust_env=False)


def timeout_for(settings: Settings) -> httpx.Timeout:
    """All four limits, stated."""
    return httpx.Timeout(
        connect=settings.proxy_connect_timeout_s,
        read=settings.proxy_read_timeout_s,
        write=settings.proxy_read_timeout_s,
        pool=settings.proxy_connect_timeout_s,
    )


class Upstreams:
    """Where each domain's service is and how it is asked.

    Args:
        settings: addresses and timeouts.
        transport: what carries the requests; sockets by default.
    """

    def __init__(self, settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.transport = transport or transport_for(settings)
        self.urls: Mapping[Domain, httpx.URL] = {domain: httpx.URL(settings.service_url(domain)) for domain in DOMAINS}
        token = settings.fleet_token
        self.credentials = {FLEET_TOKEN_HEADER: token.get_secret_value()} if token else {}
        self.timeouts: dict[str, float | None] = timeout_for(settings).as_dict()

    async def get_json(
        self, domain: Domain, path: str, *, timeout_s: float, statuses: Collection[int] = frozenset({200})
    ) -> Any:
        """A service's JSON answer to a GET.

        Args:
            domain: whose service.
            path: what to get.
            timeout_s: seconds for each of connecting, sending and every part of the answer.
            statuses: of an answer that is meant.

        Raises:
            UpstreamFailure: no answer, one with another status, or one that is not JSON.
        """
        context = current_context()
        request = httpx.Request(
            "GET",
            self.urls[domain].copy_with(raw_path=path.encode("ascii")),
            headers={
                "Accept": "application/json",
                **self.credentials,
                **(context.onward_headers() if context else {}),
            },
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)},
        )
        try:
            response = await self.transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
            if response.status_code not in statuses:
                raise UpstreamFailure(f"answers {response.status_code}")
            return response.json()
        except httpx.TimeoutException:
            raise UpstreamFailure(f"no answer within {timeout_s:.0f} s") from None
        except httpx.ConnectError:
            raise UpstreamFailure("not reachable") from None
        except (httpx.HTTPError, ValueError):
            raise UpstreamFailure("its answer cannot be read") from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self.transport.aclose()
