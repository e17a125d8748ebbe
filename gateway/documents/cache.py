"""The merged document as it is served: asked for lazily, kept for a moment, asked for once at a time."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request, Response

from gateway.access.documentation import describe_access
from gateway.documents.forms import describe_lists
from gateway.documents.merging import Document, merge
from gateway.documents.samples import describe_samples
from gateway.documents.sharing import share_components
from gateway.upstream.services import ServiceUnreadable, Upstreams
from shared.access.scopes import AccessPolicy
from shared.capabilities.collection import Capabilities
from shared.request_context import public_path
from shared.settings import DOMAINS, Domain

_TIMEOUT_S = 3.0
_KEPT_WHOLE_S = 30.0
_KEPT_INCOMPLETE_S = 2.0

OWN_TAGS = {
    "jobs": "Long work of all services: follow it, wait for it, read what it made, cancel it.",
    "webhooks": "Be told of your jobs by signed requests; see what arrived, and have it sent again.",
    "messages": "What your webhooks receive.",
    "models": "What is served: each model's paper, training, measured quality beside its baseline, digest and limits; "
    "models of your own, their versions, aliases and canaries.",
    "audit": "Who ran what on which digest.",
    "gateway": "The way in.",
    "health": "Alive and ready, kept apart.",
    "metrics": "What Prometheus scrapes.",
    "inference protocol": "Every model on plain tensors, as clients of Triton, KServe and MLServer ask (OIP v2).",
}


@dataclass(frozen=True, slots=True)
class CachedDocument:
    """The document at one moment."""

    document: Document
    content: bytes
    etag: str
    good_until: float

    def below(self, prefix: str) -> CachedDocument:
        """The edition for callers who find the gateway below a path."""
        if not prefix:
            return self
        servers = [{"url": prefix, "description": "This gateway"}]
        return CachedDocument.of({**self.document, "servers": servers}, good_until=self.good_until)

    @classmethod
    def of(cls, document: Document, *, good_until: float) -> CachedDocument:
        """The edition of a document."""
        content = orjson.dumps(document)
        return cls(document, content, f'"{hashlib.sha256(content).hexdigest()[:32]}"', good_until)


class OpenApiDocumentCache:
    """Makes the merged document.

    Args:
        own: makes the gateway's own document.
        upstreams: the services.
        capabilities: whose chapters and samples it has.
        access: says which scope a route needs; None where callers are not asked for API keys.
    """

    def __init__(
        self,
        own: Callable[[], Document],
        upstreams: Upstreams,
        *,
        capabilities: Capabilities | None = None,
        access: AccessPolicy | None = None,
    ) -> None:
        self._capabilities, self._access = capabilities or Capabilities(), access
        self._own = own
        self._upstreams = upstreams
        self._edition: CachedDocument | None = None
        self._asking = asyncio.Lock()

    async def edition(self) -> CachedDocument:
        """The current document, at most half a minute old; two seconds while a service is missing from it."""
        async with self._asking:
            if self._edition is None or time.monotonic() >= self._edition.good_until:
                self._edition = await self._make()
            return self._edition

    async def _make(self) -> CachedDocument:
        answers = await asyncio.gather(*(self._ask(domain) for domain in DOMAINS))
        tags = {**self._capabilities.tags, **OWN_TAGS}
        document = merge(self._own(), dict(zip(DOMAINS, answers, strict=True)), tags=tags)
        describe_samples(document, self._capabilities)
        describe_lists(document)
        describe_access(document, self._access)
        share_components(document)
        whole = "x-unavailable" not in document
        kept_s = _KEPT_WHOLE_S if whole else _KEPT_INCOMPLETE_S
        return CachedDocument.of(document, good_until=time.monotonic() + kept_s)

    async def _ask(self, domain: Domain) -> Document | str:
        try:
            document: Any = await self._upstreams.get_json(domain, "/openapi.json", timeout_s=_TIMEOUT_S)
        except ServiceUnreadable as failure:
            return str(failure)
        return document if isinstance(document, dict) else "its answer is not a document"


router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The OpenAPI 3.1 document of the whole fleet."""
    catalogue: OpenApiDocumentCache = request.app.state.catalogue
    edition = (await catalogue.edition()).below(public_path(""))
    headers = {"ETag": edition.etag, "Cache-Control": "no-cache"}
    if if_none_match and edition.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(edition.content, media_type="application/json", headers=headers)
