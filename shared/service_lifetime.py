"""What a service opens when it starts and closes when it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial, update_wrapper
from pathlib import Path

import anyio
from fastapi import APIRouter, FastAPI

from shared.answers.stored_files import AnswerFiles, open_answer_files
from shared.deployments.reconciler import Reconciler
from shared.deployments.store import DesiredStateStore
from shared.http.direct import DirectRoute
from shared.http.health import Check
from shared.jobs.connection import api_client
from shared.jobs.store import JobStore, open_job_store
from shared.memory import released_regularly
from shared.runtime.batching.items import BatchLimits
from shared.runtime.batching.metrics import BatchMetrics, QueueMetrics
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.compute_pool import ComputePool
from shared.runtime.inspection.preparation import TrialLimits
from shared.runtime.models.registry import ModelRegistry
from shared.service_state import ServiceState, ServiceWarmUp, StateOpener, state_of_application
from shared.settings import Domain, Settings
from shared.storage.blobs import BlobStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """What capabilities add to a service."""

    routers: Sequence[APIRouter] = ()
    warm_ups: Sequence[ServiceWarmUp] = ()
    states: Sequence[StateOpener] = ()
    direct: Sequence[DirectRoute] = ()
    """Busy routes that are answered without the framework."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of chapters of the OpenAPI document."""
    body_limit: Callable[[str], int] | None = None
    """Most bytes of a body by the path of its request."""


class ServiceLifetime:
    """The lifespan of a service.

    Args:
        domain: which of the five services this is.
        settings: of the process.
        folders: of released models.
        parts: of its capabilities.

    Attributes:
        registry: its models.
        checks: what its readiness depends on.
    """

    def __init__(self, domain: Domain, settings: Settings, folders: Sequence[Path], parts: ServiceParts) -> None:
        self._domain, self._settings, self._parts = domain, settings, parts
        warm_ups = [self._bind(warm_up) for warm_up in parts.warm_ups]
        self.registry = ModelRegistry(*folders, threads=settings.inference_threads, warm_ups=warm_ups)
        self.checks: dict[str, Check] = {"models": self.registry.check}
        self._state: ServiceState | None = None
        self._batch_metrics: BatchMetrics | None = None
        self._queue_metrics: QueueMetrics | None = None

    def attach(self, app: FastAPI) -> None:
        """Register the metrics and the last check with the finished application."""
        self._batch_metrics = BatchMetrics(app.state.metrics.registry)
        self._queue_metrics = QueueMetrics(app.state.metrics.registry)
        self.checks["redis"] = jobs_check(app)

    @asynccontextmanager
    async def __call__(self, app: FastAPI) -> AsyncIterator[None]:
        """Open everything, and close it behind the last request."""
        settings, blobs = self._settings, BlobStore(self._settings.blob_url)
        async with (
            open_job_store(settings) as jobs,
            open_answer_files(settings, blobs) as answer_files,
            self._open_batchers() as batchers,
            open_reconciler(self._domain, settings, self.registry, batchers, blobs) as follower,
            released_regularly(),
            anyio.create_task_group() as tasks,
        ):
            self.checks["uploaded models"] = follower.check
            state = app.state.service = self._state = self._make_state(jobs, batchers, answer_files)
            async with AsyncExitStack() as states:
                for opener in self._parts.states:
                    state.states.add(await states.enter_async_context(opener(state)))
                tasks.start_soon(_open_models, self.registry, follower)
                yield
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _open_batchers(self) -> AsyncIterator[Batchers]:
        settings = self._settings
        assert self._batch_metrics is not None  # noqa: S101 - `attach` comes first
        limits = BatchLimits(
            rows=settings.batch_rows, queue=settings.batch_queue, tolerated_s=settings.batch_tolerated_s
        )
        batchers = Batchers(limits, self._batch_metrics)
        yield batchers
        await batchers.close()

    def _make_state(self, jobs: JobStore, batchers: Batchers, answer_files: AnswerFiles) -> ServiceState:
        settings = self._settings
        pool_of = partial(ComputePool, threads=settings.inference_threads, budget=settings.pixel_limit)
        compute_pool, decode_pool = pool_of(queue=settings.inference_queue), pool_of(queue=settings.batch_queue)
        assert self._queue_metrics is not None  # noqa: S101 - `attach` comes first
        self._queue_metrics.watch(lambda: batchers.known, {"compute": compute_pool, "decode": decode_pool})
        return ServiceState(
            settings=settings,
            models=self.registry,
            compute_pool=compute_pool,
            decode_pool=decode_pool,
            batchers=batchers,
            jobs=jobs,
            blobs=answer_files.blobs,
            answer_files=answer_files,
        )

    def _bind(self, warm_up: ServiceWarmUp) -> Callable[[], object]:
        """A warm-up for the registry, under its own name."""

        def run() -> object:
            assert self._state is not None  # noqa: S101 - models open after the state is made
            return warm_up(self._state)

        return update_wrapper(run, warm_up)


def jobs_check(app: FastAPI) -> Check:
    """Readiness: does the job store answer? It is opened with the application, so it is asked for late."""

    async def check() -> str | None:
        return await state_of_application(app).jobs.check()

    return check


async def _open_models(registry: ModelRegistry, follower: Reconciler) -> None:
    await registry.open_in_background()
    await follower.follow()


@asynccontextmanager
async def open_reconciler(
    domain: Domain, settings: Settings, registry: ModelRegistry, batchers: Batchers, blobs: BlobStore
) -> AsyncIterator[Reconciler]:
    """A follower of the domain's plan with a connection of its own."""
    redis = api_client(settings.redis_url)
    yield Reconciler(
        domain,
        plans=DesiredStateStore(redis),
        registry=registry,
        batchers=batchers,
        blobs=blobs,
        limits=TrialLimits.of(settings),
        most_bytes=settings.model_limit_bytes,
        poll_s=settings.models_poll_s,
    )
    await redis.aclose()
