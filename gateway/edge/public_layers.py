"""The gateway's outermost layers: what browsers and reverse proxies need of every answer, whoever gives it."""

from __future__ import annotations

from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.edge.compression import Compression
from gateway.edge.public_addresses import PublicAddresses
from shared.settings import Settings

_EXPOSED: Final = (
    "Location", "Content-Location", "Link", "Allow", "Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-ID",
    "traceparent", "Server-Timing", "ETag", "Preference-Applied", "Idempotency-Expires", "Idempotency-Replayed",
    "Content-Disposition", "Content-Range", "Accept-Ranges", "Repr-Digest", "WWW-Authenticate", "Facet-Model",
    "Facet-Notice", "Inference-Header-Content-Length",
)  # fmt: skip
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_PREFLIGHT_S: Final = 600


def public_layers(settings: Settings) -> list[Middleware]:
    """The layers, outermost first.

    Path prefixes (`gateway.edge.public_addresses`), who a trusted proxy says that the caller is, CORS (which answers
    preflights before any key is asked for, and marks refusals as well), and compression.

    Args:
        settings: `public_url`, `trusted_proxies` and `cors_origins`.
    """
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=_METHODS,
        allow_headers=("*",),
        allow_private_network="*" not in settings.cors_origins,
        expose_headers=_EXPOSED,
        max_age=_PREFLIGHT_S,
    )
    return [
        Middleware(PublicAddresses, settings=settings),
        Middleware(ProxyHeadersMiddleware, trusted_hosts=[str(network) for network in settings.trusted_proxies]),
        *([cors] if settings.cors_origins else []),
        Middleware(Compression),
    ]
