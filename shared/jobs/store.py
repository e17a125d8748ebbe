"""The API side of jobs: create, read, list, cancel, retry, wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from shared.jobs.admission import Backlog, no_worker, queue_full, too_many_jobs
from shared.jobs.connection import LONGEST_ANSWER_S, api_client, unavailable_without_redis
from shared.jobs.cursors import decode_cursor, encode_cursor
from shared.jobs.events import JobEvents
from shared.jobs.identifiers import is_job_id, new_job_id
from shared.jobs.kinds import JobKind, JobKinds
from shared.jobs.publishing import DeferredPublisher, Publisher
from shared.jobs.records import JobRecord, JobStatus
from shared.jobs.scripts import as_fields, source
from shared.problems import Conflict, Gone, NotFound, ServiceUnavailable
from shared.request_context import ANONYMOUS, RequestContext, current_context
from shared.settings import Settings
from shared.telemetry.spans import job_creation

PAGE_LIMIT = 100
"""Most jobs on one page of a listing."""

_SCAN_LIMIT = 5000
_SCRIPTS = ("cancel", "create", "page", "read", "retry")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a listing, newest first."""

    records: list[JobRecord]
    next_cursor: str | None
    """Continues the listing; None on the last page. With a filter a page may be short and yet not the last."""


class JobStore:
    """Jobs as a caller sees them.

    Args:
        redis: a client of `connection.api_client`.
        kinds: the kinds that this process creates; none where it only reads.
        settings: retention and limits.
        publisher: tells the workers; through Celery where not given.

    Raises:
        ValueError: a kind's time limit is not below the visibility timeout.
    """

    def __init__(
        self, redis: Redis, kinds: JobKinds, settings: Settings, *, publisher: Publisher | None = None
    ) -> None:
        kinds.check_time_limits(settings.visibility_timeout_s)
        self._redis = redis
        self._publisher = publisher or DeferredPublisher(settings)
        self._settings = settings
        self.events = JobEvents(redis)
        self._scripts = {name: redis.register_script(source(name)) for name in _SCRIPTS}

    async def create(
        self,
        kind: JobKind,
        arguments: Mapping[str, Any],
        *,
        owner: str | None = None,
        context: RequestContext | None = None,
    ) -> JobRecord:
        """Record a job, then tell the workers.

        Args:
            kind: what to do.
            arguments: JSON for the function; large things by their blob digest.
            owner: who may see it; the caller of the request behind it where not given.
            context: the request behind it, for logs and traces too; the current one where not given.

        Raises:
            QuotaExceeded: the owner has as many unfinished jobs as the context allows.
            ReducedCapacity: as many jobs of this kind wait as may.
            ServiceUnavailable: no worker reads the kind's queue, or Redis does not answer.
            Gone: the context's creation key made a job before, which is forgotten by now.

        Returns:
            The job; with a creation key that made one before, that one.
        """
        context = context or current_context()
        owner = owner or (context.caller if context else ANONYMOUS)
        with job_creation(context, kind=kind.name, queue=kind.queue) or nullcontext() as span:
            record = await self._create(kind, arguments, owner=owner, context=span.context if span else context)
            if span is not None:
                span.attributes["facet.job.id"] = record.id
            return record

    async def _create(
        self, kind: JobKind, arguments: Mapping[str, Any], *, owner: str, context: RequestContext | None
    ) -> JobRecord:
        settings = self._settings
        limit = context.job_limit if context else None
        queue_limit = settings.job_queue_limit or kind.queue_limit
        outcome, subject, *numbers = await self._run(
            "create",
            new_job_id(),
            kind.queue,
            owner,
            self._gone_after_ms,
            settings.job_queue_timeout_s * 1000,
            (context.creation_key if context else None) or "",
            settings.idempotency_retention_s * 1000,
            "" if limit is None else limit,
            kind.name,
            queue_limit,
            *_fields_of(kind, arguments, context),
        )
        match outcome:
            case "no worker":
                raise no_worker(kind.queue)
            case "too many":
                raise too_many_jobs(await self._oldest(subject), limit=limit or 0)
            case "full":
                raise queue_full(kind.name, Backlog.of(subject, *numbers))
            case "created":
                await self._publish(subject, queue=kind.queue, time_limit_s=kind.time_limit_s)
        return await self.get(subject, owner=owner)

    async def get(self, job_id: str, *, owner: str | None = None) -> JobRecord:
        """One job.

        Args:
            job_id: its id.
            owner: whose jobs to look among; None for everybody's.

        Raises:
            NotFound: there never was one, or it is another caller's.
            Gone: it was kept for its retention time and is forgotten.
        """
        records = await self._read([job_id]) if is_job_id(job_id) else []
        if records and owner in {None, records[0].owner}:
            return records[0]
        if not records and is_job_id(job_id):
            with unavailable_without_redis():
                former_owner = await self._redis.get(f"facet:gone:{job_id}")
            if former_owner is not None and owner in {None, former_owner}:
                raise Gone("This job finished and its retention time is over.")
        raise NotFound("There is no job with this id.")

    async def list_jobs(
        self,
        *,
        owner: str | None = None,
        status: JobStatus | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> JobPage:
        """A page of jobs, newest first; jobs that are created while one pages neither repeat nor hide any.

        Args:
            owner: whose; None for everybody's.
            status: only those.
            kind: only those.
            cursor: from the page before.
            limit: most jobs on the page, 1 to `PAGE_LIMIT`.

        Raises:
            UnprocessableContent: the cursor is none of ours.
        """
        after = decode_cursor(cursor) if cursor else ""
        limit = max(1, min(limit, PAGE_LIMIT))
        following, *ids = await self._run("page", owner or "", after, limit, _SCAN_LIMIT, status or "", kind or "")
        return JobPage(await self._read(ids), encode_cursor(following) if following else None)

    async def request_cancel(self, job_id: str, *, owner: str | None = None) -> JobRecord:
        """Cancel a queued job at once, or ask a running one to stop at its next step.

        Returns:
            The record afterwards: cancelled, or running with `cancel_requested`.

        Raises:
            NotFound: as for `get`.
            Gone: as for `get`.
            Conflict: it is finished.
        """
        record = await self.get(job_id, owner=owner)
        outcome = await self._run("cancel", job_id, self._settings.job_retention_s * 1000)
        if outcome == "finished":
            record = await self.get(job_id, owner=owner)
            raise Conflict(f"This job has already {_ENDED[record.status]}.")
        return await self.get(job_id, owner=owner)

    async def retry(self, job_id: str, *, owner: str | None = None) -> JobRecord:
        """Give a job that failed, expired or was cancelled a further attempt, from its last checkpoint.

        It keeps its id and its place in listings; the count of lost workers begins anew.

        Raises:
            NotFound: as for `get`.
            Gone: as for `get`.
            Conflict: it is unfinished, or succeeded.
            QuotaExceeded: as for `create`.
            ServiceUnavailable: as for `create`.
        """
        record = await self.get(job_id, owner=owner)
        context = current_context()
        limit = context.job_limit if context else None
        timeout_ms = self._settings.job_queue_timeout_s * 1000
        outcome, subject = await self._run(
            "retry", job_id, self._gone_after_ms, timeout_ms, "" if limit is None else limit
        )
        match outcome:
            case "unfinished":
                raise Conflict("This job is not finished. Only a finished job can be retried.")
            case "succeeded":
                raise Conflict("This job has succeeded. There is nothing to retry; post it again.")
            case "no worker":
                raise no_worker(subject)
            case "too many":
                raise too_many_jobs(await self._oldest(subject), limit=limit or 0)
            case "queued":
                await self._publish(job_id, queue=record.queue, time_limit_s=record.time_limit_s)
        return await self.get(job_id, owner=owner)

    async def dead_letters(self, *, limit: int = PAGE_LIMIT) -> list[JobRecord]:
        """Jobs that were given up because they lost too many workers or were killed by their time limit, newest first.

        They are kept for `dead_letter_retention_s`; a retry takes a job off the list.
        """
        with unavailable_without_redis():
            ids = cast("list[str]", await self._redis.zrevrange("facet:dead", 0, limit - 1))
        return await self._read(ids)

    async def wait(self, job_id: str, *, seconds: float, owner: str | None = None) -> JobRecord:
        """The job as soon as it is finished, or as it is after `seconds`. Woken by its events, never polling."""
        # The id is read first: what happens between the two reads is then among the events that follow.
        after = await self.events.last_id(job_id) if is_job_id(job_id) else ""
        record = await self.get(job_id, owner=owner)
        if record.status.is_final or seconds <= 0:
            return record
        try:
            async with asyncio.timeout(seconds):
                async for _ in self.events.follow(job_id, after=after):
                    pass
        except TimeoutError:
            pass
        return await self.get(job_id, owner=owner)

    async def live_workers(self, queue: str) -> int:
        """How many workers read this queue now."""
        with unavailable_without_redis():
            seconds, microseconds = await self._redis.time()
            since = seconds * 1000 + microseconds // 1000 - self._gone_after_ms
            return await self._redis.zcount(f"facet:queue:{queue}:workers", since, "+inf")

    async def check(self) -> str | None:
        """Readiness: None when Redis answers, else what is wrong."""
        try:
            await self.ping()
        except ServiceUnavailable as problem:
            return problem.detail
        return None

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            ServiceUnavailable: it does not.
        """
        with unavailable_without_redis():
            await self._redis.time()

    @property
    def _gone_after_ms(self) -> int:
        return round(self._settings.worker_gone_after_s * 1000)

    async def _run(self, script: str, *arguments: Any) -> Any:
        with unavailable_without_redis():
            async with asyncio.timeout(LONGEST_ANSWER_S):
                return await self._scripts[script](args=arguments)

    async def _read(self, ids: Sequence[str]) -> list[JobRecord]:
        found = await self._run("read", *ids) if ids else []
        return [JobRecord.from_hash(as_fields(flat)) for flat in found if flat]

    async def _oldest(self, job_id: str) -> JobRecord | None:
        """The job if it is still there; it may have ended a moment ago."""
        return next(iter(await self._read([job_id] if job_id else [])), None)

    async def _publish(self, job_id: str, *, queue: str, time_limit_s: int) -> None:
        """Tell the workers. The record is safe, so a failure is the sweeper's business and not the caller's."""
        try:
            async with asyncio.timeout(LONGEST_ANSWER_S):
                await asyncio.to_thread(self._publisher.publish, job_id, queue=queue, time_limit_s=time_limit_s)
        except Exception:
            _logger.warning("job recorded but not published; the sweeper will", extra={"job_id": job_id}, exc_info=True)


_ENDED = {
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "been cancelled",
    JobStatus.EXPIRED: "expired",
}


def _fields_of(kind: JobKind, arguments: Mapping[str, Any], context: RequestContext | None) -> list[str | int | float]:
    """Fields and values of a new record, alternating."""
    fields: dict[str, str | int | float] = {
        "title": kind.title,
        "time_limit_s": kind.time_limit_s,
        "cancel_bound_s": kind.cancel_bound_s,
        "step_unit": kind.step_unit,
        "arguments": orjson.dumps(dict(arguments)).decode("utf-8"),
    }
    if context is not None:
        fields |= {"request_id": context.request_id, "traceparent": context.traceparent}
        fields |= {"tracestate": context.tracestate} if context.tracestate else {}
    return [part for item in fields.items() for part in item]


@asynccontextmanager
async def open_job_store(settings: Settings, kinds: JobKinds | None = None) -> AsyncIterator[JobStore]:
    """A job store with a connection of its own, closed at the end."""
    redis = api_client(settings.redis_url)
    try:
        yield JobStore(redis, kinds or JobKinds(()), settings)
    finally:
        await redis.aclose()
