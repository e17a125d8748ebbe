"""The edge alone, around any application: what `gateway.app` makes, without the gateway's routes behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Scope

from gateway.access.authentication import Authenticator
from gateway.access.event_links import EventLinks
from gateway.access.meter import Meter
from gateway.calls import Call
from gateway.edge.application import Edge
from gateway.edge.browsers import BrowserPolicy
from gateway.idempotency.runner import IdempotentRunner
from gateway.idempotency.store import IdempotencyStore
from gateway.request_bodies.reader import BodyReader
from gateway.upstream.admission import Admission
from services.declarations import declared_capabilities
from shared.access.audit import AuditLog, Entry
from shared.access.keys import KeyStore
from shared.access.quotas import Quotas
from shared.access.scopes import AccessPolicy
from shared.jobs.connection import api_client
from shared.settings import Settings
from shared.storage.blobs import BlobStore


class OneCall:
    """Routes every request to the same call; to the application where there is none."""

    def __init__(self, call: Call | None) -> None:
        self._call = call

    def find(self, scope: Scope) -> Call | None:
        return self._call


@dataclass(frozen=True)
class EdgeParts:
    """An edge, and what it works with.

    Attributes:
        edge: the layer.
        bodies: whose budgets tests look at.
        admission: of its requests.
        audit: its log.
    """

    edge: Edge
    bodies: BodyReader
    admission: Admission
    audit: AuditLog

    async def entries(self) -> list[Entry]:
        """The audit log, oldest first."""
        await self.audit.drain()
        recorded, _ = await self.audit.page(limit=200)
        return [one.entry for one in reversed(recorded)]


@asynccontextmanager
async def edge_around(app: ASGIApp, settings: Settings, *, call: Call | None = None) -> AsyncIterator[EdgeParts]:
    """An edge over a real Redis.

    Args:
        app: answers what no call does.
        settings: of the gateway.
        call: answers all requests, as a service would.
    """
    redis = api_client(settings.redis_url)
    bodies, admission, audit = BodyReader(settings), Admission(), AuditLog(redis, kept=1000)
    edge = Edge(
        app,
        settings=settings,
        router=OneCall(call),
        authenticator=Authenticator(KeyStore(redis)),
        meter=Meter(Quotas(redis), settings),
        audit=audit,
        admission=admission,
        idempotency=IdempotentRunner(IdempotencyStore(redis, BlobStore(settings.blob_url), settings)),
        bodies=bodies,
        browsers=BrowserPolicy(settings),
        event_links=EventLinks(settings),
        access=AccessPolicy(declared_capabilities()),
    )
    try:
        yield EdgeParts(edge, bodies, admission, audit)
    finally:
        await audit.drain()
        await redis.aclose()
