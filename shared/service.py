"""The frame of a domain service: what each `services/<domain>/app.py` has in common with its neighbours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.middleware import Middleware

from shared.deployments.follower import Follower
from shared.deployments.store import PlanStore
from shared.http.application import Lifespan, create_application
from shared.http.direct import DirectRoute, EndpointsByPath
from shared.http.fleet import FleetOnly, require_fleet_token
from shared.http.health import Check
from shared.http.image_bodies import endpoints_of
from shared.inference_protocol.inference import DirectInference, Inference
from shared.inference_protocol.routes import inference_router
from shared.jobs.connection import api_client
from shared.jobs.store import JobStore, open_job_store
from shared.memory import release_regularly
from shared.runtime.batch_items import BatchLimits
from shared.runtime.batchers import Batchers
from shared.runtime.compute_pool import ComputePool
from shared.runtime.listing import models_router
from shared.runtime.metrics import BatchMetrics, QueueMetrics
from shared.runtime.preparation import TrialLimits
from shared.runtime.registry import ModelRegistry
from shared.settings import Domain, Settings, get_settings
from shared.storage.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the routes of a service work with; found at `app.state.service`."""

    settings: Settings
    models: ModelRegistry
    compute_pool: ComputePool
    """For numerics, and for what is large in memory: its budget is in pixels, as many as one image may have."""
    decode_pool: ComputePool
    """For reading posted pictures of batched models: as many may wait as may wait for a batch."""
    batchers: Batchers
    jobs: JobStore
    blobs: BlobStore


def _state(app: FastAPI) -> ServiceState:
    state: ServiceState = app.state.service
    return state


def service_state(request: Request) -> ServiceState:
    """The state of the service that got this request."""
    return _state(request.app)


Service = Annotated[ServiceState, Depends(service_state)]
"""Annotate a route's parameter with this to get the service's state."""


def jobs_check(app: FastAPI) -> Check:
    """Readiness: does the job store answer? It is opened with the application, so it is asked for late."""

    async def check() -> str | None:
        return await _state(app).jobs.check()

    return check


async def _open_models(registry: ModelRegistry, follower: Follower) -> None:
    await registry.open_in_background()
    await follower.follow()


@asynccontextmanager
async def open_follower(
    domain: Domain, settings: Settings, registry: ModelRegistry, batchers: Batchers, blobs: BlobStore
) -> AsyncIterator[Follower]:
    """A follower of the domain's plan with a connection of its own."""
    redis = api_client(settings.redis_url)
    yield Follower(
        domain,
        plans=PlanStore(redis),
        registry=registry,
        batchers=batchers,
        blobs=blobs,
        limits=TrialLimits(
            threads=settings.inference_threads,
            timeout_s=settings.model_trial_timeout_s,
            memory_bytes=settings.model_trial_memory_bytes,
        ),
        most_bytes=settings.model_limit_bytes,
        poll_s=settings.models_poll_s,
    )
    await redis.aclose()


def create_service(
    domain: Domain,
    *,
    title: str,
    description: str,
    models: Path,
    routers: Sequence[APIRouter] = (),
    warm_ups: Sequence[Callable[[], object]] = (),
    lifespans: Sequence[Lifespan] = (),
    direct: Sequence[DirectRoute] = (),
    settings: Settings | None = None,
) -> FastAPI:
    """Build the application of a domain.

    Args:
        domain: which of the five services this is.
        title: title of its OpenAPI document.
        description: what it is for, Markdown.
        models: folder of the models released with its code; the setting `models` names others.
        routers: the routes of its capabilities.
        warm_ups: what to call once before the service says that it is ready, such as compiling loops.
        lifespans: what its capabilities open after the state of the service is there, and close before it goes.
        direct: busy routes that are answered without the framework.
        settings: settings of the process, read from the environment by default.

    Raises:
        FleetTokenMissing: the settings have no token.
    """
    settings = settings or get_settings()
    folder = settings.models_folder(domain, beside=models)
    registry = ModelRegistry(folder, threads=settings.inference_threads, warm_ups=warm_ups)
    checks: dict[str, Check] = {"models": registry.check}
    inference = Inference(registry)
    limits = BatchLimits(rows=settings.batch_rows, queue=settings.batch_queue, tolerated_s=settings.batch_tolerated_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batchers, blobs = Batchers(limits, batch_metrics), BlobStore(settings.blob_url)
        pool_of = partial(ComputePool, threads=settings.inference_threads, budget=settings.pixel_limit)
        compute_pool, decode_pool = pool_of(queue=settings.inference_queue), pool_of(queue=settings.batch_queue)
        queue_metrics.watch(lambda: batchers.known, {"compute": compute_pool, "decode": decode_pool})
        async with (
            open_job_store(settings) as jobs,
            open_follower(domain, settings, registry, batchers, blobs) as follower,
            anyio.create_task_group() as tasks,
        ):
            checks["uploaded models"] = follower.check
            app.state.service = ServiceState(
                settings=settings,
                models=registry,
                compute_pool=compute_pool,
                decode_pool=decode_pool,
                batchers=batchers,
                jobs=jobs,
                blobs=blobs,
            )
            tasks.start_soon(_open_models, registry, follower)
            tasks.start_soon(release_regularly)
            async with AsyncExitStack() as further:
                for opened in lifespans:
                    await further.enter_async_context(opened(app))
                yield
            tasks.cancel_scope.cancel()
            await batchers.close()

    app = create_application(
        process=domain,
        title=title,
        description=description,
        settings=settings,
        routers=[inference_router(registry, inference), models_router(registry), *routers],
        checks=checks,
        lifespan=lifespan,
        layers=[Middleware(FleetOnly, token=require_fleet_token(settings))],
        direct=[DirectInference(inference), EndpointsByPath(endpoints_of(routers)), *direct],
    )
    checks["redis"] = jobs_check(app)
    batch_metrics = BatchMetrics(app.state.metrics.registry)
    queue_metrics = QueueMetrics(app.state.metrics.registry)
    return app
