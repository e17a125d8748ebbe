"""The gateway: the application behind the one public port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.middleware import Middleware

from gateway import catalogue, documentation, events, files, home, inference_protocol, jobs
from gateway.access import routes as audit
from gateway.access.authentication import Authenticator
from gateway.access.event_links import EventLinks
from gateway.access.meter import Meter
from gateway.browsers import BrowserPolicy
from gateway.catalogue import Catalogue
from gateway.directory import Directory
from gateway.edge.admission import Admission
from gateway.edge.application import Edge
from gateway.edge.bodies import BodyReader
from gateway.idempotency.runner import IdempotentRunner
from gateway.idempotency.store import IdempotencyStore
from gateway.models import listing, repository, traffic, uploads, versions
from gateway.proxy import Proxy
from gateway.public_layers import public_layers
from gateway.readiness import readiness_checks
from gateway.routing import UpstreamRouter, unknown_address
from gateway.state import GatewayState
from gateway.upstreams import Upstreams
from gateway.webhooks import deliveries, routes
from gateway.webhooks.description import describe_messages
from gateway.wire import Wire
from shared.access.audit import AuditLog
from shared.access.keys import KeyStore
from shared.access.quotas import Quotas
from shared.binding import require_safe_binding
from shared.deployments.store import PlanStore
from shared.http.application import VERSION, create_application
from shared.jobs.connection import api_client
from shared.jobs.kinds import JobKinds
from shared.jobs.metrics import register_job_metrics
from shared.jobs.store import JobStore
from shared.settings import DOMAINS, Settings, get_settings
from shared.storage.blobs import BlobStore
from shared.webhooks.courier import Courier
from shared.webhooks.guard import Guard, Resolver
from shared.webhooks.metrics import register_webhook_metrics
from shared.webhooks.queue import DeliveryQueue
from shared.webhooks.sender import Sender
from shared.webhooks.store import WebhookStore

DESCRIPTION = """\
Inference microservices for ten vision research systems behind one gateway.

- **Long work**: send `Prefer: respond-async` (or `wait=N`); the answer is `202 Accepted`, and `Location` names the job.
- **Webhooks** tell your own server when a job starts and ends, signed by the Standard Webhooks specification.
- **Errors** are `application/problem+json` (RFC 9457); `request_id` is what to name when you report one. Only what
  is no HTTP at all (`400`), or has more than 100 header fields or 128 KiB of them (`431`), is refused without a body.
- **Every answer** carries `X-Request-ID`, `traceparent` and `Server-Timing`: `queue`, `pre`, `infer` and `post` are the
  service's phases, `gateway` is the time from the request's arrival until the service's answer began.
- Research use only; nothing here is a medical device.
"""

_ROUTED = (
    home, jobs, events, files, routes, deliveries, listing, uploads, versions, traffic, inference_protocol, repository,
    audit, catalogue, documentation,
)  # fmt: skip


def create_app(settings: Settings | None = None, *, wire: Wire | None = None) -> FastAPI:
    """Build the application; run it with `uvicorn --factory gateway.app:create_app`.

    Args:
        settings: settings of the process, read from the environment by default.
        wire: carries requests to the services; sockets by default.

    Raises:
        UnsafeBinding: `host` is not loopback, and the operator has not said that the network is trusted.
    """
    settings = settings or get_settings()
    require_safe_binding(settings)
    redis, resolver = api_client(settings.redis_url), Resolver()
    state = _state_of(settings, redis, Upstreams(settings, wire=wire), resolver)
    checks = readiness_checks(state.upstreams, state.jobs)
    courier = Courier(DeliveryQueue(redis, settings), _sender(state), settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with courier.working():
            yield
        await state.audit.drain()
        resolver.close()
        await state.upstreams.aclose()
        await redis.aclose()

    app = create_application(
        process="gateway",
        title="Facet",
        description=DESCRIPTION,
        settings=settings,
        routers=[module.router for module in _ROUTED] + [inference_protocol.add_readiness(checks)],
        checks=checks,
        lifespan=lifespan,
        own_openapi=False,
        layers=[_edge(settings, state, redis)],
        outermost=public_layers(settings),
        limit_bodies=False,
    )
    app.state.gateway = state
    describe_messages(app.webhooks)
    register_job_metrics(app.state.metrics.registry, settings)
    register_webhook_metrics(app.state.metrics.registry, settings)
    app.state.catalogue = Catalogue(lambda: _own_document(app), state.upstreams, keys=settings.api_keys)
    app.router.redirect_slashes = False
    app.router.routes.append(documentation.static_files())
    app.add_exception_handler(404, unknown_address)
    return app


def _edge(settings: Settings, state: GatewayState, redis: Redis) -> Middleware:
    """What every request passes through first."""
    admission = Admission()
    proxies = {domain: Proxy(domain, state.upstreams, admission) for domain in DOMAINS}
    return Middleware(
        Edge,
        settings=settings,
        router=UpstreamRouter(state.directory, proxies),
        authenticator=Authenticator(KeyStore(redis)),
        meter=Meter(Quotas(redis), settings),
        audit=state.audit,
        admission=admission,
        idempotency=IdempotentRunner(IdempotencyStore(redis, state.blobs, settings)),
        bodies=BodyReader(settings),
        browsers=BrowserPolicy(settings),
        event_links=state.event_links,
    )


def _state_of(settings: Settings, redis: Redis, upstreams: Upstreams, resolver: Resolver) -> GatewayState:
    """What the gateway's own routes work with."""
    return GatewayState(
        settings=settings,
        upstreams=upstreams,
        directory=Directory(upstreams),
        jobs=JobStore(redis, JobKinds(()), settings),
        blobs=BlobStore(settings.blob_url),
        webhooks=WebhookStore(redis, settings),
        audit=AuditLog(redis, kept=settings.audit_entries),
        guard=Guard(resolver, settings.webhook_allowed_networks),
        plans=PlanStore(redis),
        event_links=EventLinks(settings),
    )


def _sender(state: GatewayState) -> Sender:
    return Sender(state.guard, timeout_s=state.settings.webhook_timeout_s, version=VERSION)


def _own_document(app: FastAPI) -> dict[str, Any]:
    document = app.openapi()
    document["info"]["summary"] = "Vision research systems as inference microservices"
    document["info"]["license"] = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    return document
