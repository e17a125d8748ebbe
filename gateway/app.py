"""The gateway: the application behind the one public port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.middleware import Middleware

from gateway import audit_routes as audit
from gateway.access.authentication import Authenticator
from gateway.access.event_links import EventLinks
from gateway.access.meter import Meter
from gateway.documents import cache, home, samples, swagger
from gateway.documents.cache import OpenApiDocumentCache
from gateway.edge.application import Edge
from gateway.edge.browsers import BrowserPolicy
from gateway.edge.public_layers import public_layers
from gateway.idempotency.runner import IdempotentRunner
from gateway.idempotency.store import IdempotencyStore
from gateway.job_routes import answer_files, events, files, jobs
from gateway.models import inference_protocol, listing, repository, traffic, uploads, versions
from gateway.request_bodies.reader import BodyReader
from gateway.state import GatewayState
from gateway.upstream.admission import Admission
from gateway.upstream.model_locator import ModelLocator
from gateway.upstream.proxy import Proxy
from gateway.upstream.readiness import readiness_checks
from gateway.upstream.routing import UpstreamRouter, unknown_address
from gateway.upstream.services import Upstreams
from gateway.upstream.transport import UpstreamTransport
from gateway.webhooks import deliveries, routes
from gateway.webhooks.description import describe_messages
from shared.access.audit import AuditLog
from shared.access.keys import KeyStore
from shared.access.quotas import Quotas
from shared.access.scopes import AccessPolicy
from shared.answers.stored_files import AnswerFiles
from shared.capabilities.collection import Capabilities
from shared.deployments.store import DesiredStateStore
from shared.http.application import VERSION, create_application
from shared.jobs.connection import api_client
from shared.jobs.kinds import JobKinds
from shared.jobs.metrics import register_job_metrics
from shared.jobs.store import JobStore
from shared.memory import released_regularly
from shared.network_exposure import require_safe_binding
from shared.settings import DOMAINS, Settings, get_settings
from shared.storage.blobs import BlobStore
from shared.webhooks.delivery_worker import DeliveryWorker
from shared.webhooks.metrics import register_webhook_metrics
from shared.webhooks.queue import DeliveryQueue
from shared.webhooks.sender import Sender
from shared.webhooks.ssrf_guard import Resolver, SsrfGuard
from shared.webhooks.store import WebhookStore

DESCRIPTION = """\
Inference microservices for vision research systems behind one gateway.

- **Long work**: send `Prefer: respond-async` (or `wait=N`); the answer is `202 Accepted`, and `Location` names the job.
- **Webhooks** tell your own server when a job starts and ends, signed by the Standard Webhooks specification.
- **Errors** are `application/problem+json` (RFC 9457); `request_id` is what to name when you report one. Only what
  is no HTTP at all (`400`), or has more than 100 header fields or 128 KiB of them (`431`), is refused without a body.
- **Every answer** carries `X-Request-ID`, `traceparent` and `Server-Timing`: `queue`, `pre`, `infer` and `post` are the
  service's phases, `gateway` is the time from the request's arrival until the service's answer began.
- Research use only; nothing here is a medical device.
"""

_ROUTED = (
    home, jobs, events, files, answer_files, routes, deliveries, listing, uploads, versions, traffic,
    inference_protocol, repository, audit, cache, swagger, samples,
)  # fmt: skip


def create_app(
    settings: Settings | None = None, *, wire: UpstreamTransport | None = None, capabilities: Capabilities | None = None
) -> FastAPI:
    """Build the application; `deploy.serve` runs it.

    Args:
        settings: settings of the process, read from the environment by default.
        wire: carries requests to the services; sockets by default.
        capabilities: of the services behind. The routes of others need the scope `admin`, take bodies of the usual size
            and are documented as far as their service does.

    Raises:
        UnsafeBinding: `host` is not loopback, and the operator has not said that the network is trusted.
    """
    settings, capabilities = settings or get_settings(), capabilities or Capabilities()
    require_safe_binding(settings)
    redis, resolver, access = api_client(settings.redis_url), Resolver(), AccessPolicy(capabilities)
    state = _state_of(settings, redis, Upstreams(settings, wire=wire), resolver)
    checks = readiness_checks(state.upstreams, state.jobs)
    worker = DeliveryWorker(DeliveryQueue(redis, settings), _sender(state), settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with worker.working(), released_regularly():
            yield
        await state.audit.close()
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
        layers=[_edge(settings, state, redis, access=access, limit_of=capabilities.body_limits(settings))],
        outermost=public_layers(settings),
        limit_bodies=False,
    )
    app.state.gateway, app.state.capabilities = state, capabilities
    describe_messages(app.webhooks)
    register_job_metrics(app.state.metrics.registry, settings)
    register_webhook_metrics(app.state.metrics.registry, settings)
    app.state.catalogue = OpenApiDocumentCache(
        lambda: _own_document(app),
        state.upstreams,
        capabilities=capabilities,
        access=access if settings.api_keys else None,
    )
    app.router.redirect_slashes = False
    app.router.routes.append(swagger.static_files())
    app.add_exception_handler(404, unknown_address)
    return app


def _edge(
    settings: Settings, state: GatewayState, redis: Redis, *, access: AccessPolicy, limit_of: Callable[[str], int]
) -> Middleware:
    """What every request passes through first."""
    admission = Admission()
    proxies = {domain: Proxy(domain, state.upstreams, admission) for domain in DOMAINS}
    return Middleware(
        Edge,
        settings=settings,
        router=UpstreamRouter(state.locator, proxies),
        authenticator=Authenticator(KeyStore(redis)),
        meter=Meter(Quotas(redis), settings),
        audit=state.audit,
        admission=admission,
        idempotency=IdempotentRunner(IdempotencyStore(redis, state.blobs, settings)),
        bodies=BodyReader(settings, limit_of=limit_of),
        browsers=BrowserPolicy(settings),
        event_links=state.event_links,
        access=access,
    )


def _state_of(settings: Settings, redis: Redis, upstreams: Upstreams, resolver: Resolver) -> GatewayState:
    """What the gateway's own routes work with."""
    blobs = BlobStore(settings.blob_url)
    return GatewayState(
        settings=settings,
        upstreams=upstreams,
        locator=ModelLocator(upstreams),
        jobs=JobStore(redis, JobKinds(()), settings),
        blobs=blobs,
        answer_files=AnswerFiles(redis, blobs, settings.job_retention_s),
        webhooks=WebhookStore(redis, settings),
        audit=AuditLog(redis, kept=settings.audit_entries),
        guard=SsrfGuard(resolver, settings.webhook_allowed_networks),
        plans=DesiredStateStore(redis),
        event_links=EventLinks(settings),
    )


def _sender(state: GatewayState) -> Sender:
    return Sender(state.guard, timeout_s=state.settings.webhook_timeout_s, version=VERSION)


def _own_document(app: FastAPI) -> dict[str, Any]:
    document = app.openapi()
    document["info"]["summary"] = "Vision research systems as inference microservices"
    document["info"]["contact"] = {"name": "Whoever runs this fleet"}
    document["info"]["license"] = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    return document
