"""How the whole of the job engine is at a moment, for operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from shared.jobs.connection import unavailable_without_redis
from shared.jobs.scripts import source
from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """One queue."""

    name: str
    waiting: int
    oldest_wait_s: float
    """Age of the job that is next; 0 where none waits."""
    workers: int
    """Live workers that read it."""
    pace_s: float | None
    """Mean run time of its jobs lately; None where none has succeeded yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """One attempt that holds a lease."""

    id: str
    kind: str
    worker: str
    attempt: int
    lease_left_s: float
    """Seconds until the attempt counts as lost; below zero it is about to be taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisState:
    """The store itself."""

    memory_bytes: int
    memory_limit_bytes: int | None
    """None without a limit."""
    uptime_s: int
    append_only: bool
    """Whether acknowledged writes survive a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All of it."""

    queues: list[QueueState]
    running: list[RunningJob]
    jobs: int
    """Jobs with a record, finished ones too."""
    dead_letters: int
    redis: RedisState


async def read_overview(redis: Redis, settings: Settings) -> Overview:
    """Ask Redis.

    Args:
        redis: a client of `connection.api_client`.
        settings: after how long a worker counts as gone.

    Raises:
        ServiceUnavailable: Redis does not answer.
    """
    with unavailable_without_redis():
        return Overview(
            queues=await _queues(redis, settings),
            running=await _running(redis),
            jobs=await redis.zcard("facet:jobs"),
            dead_letters=await redis.zcard("facet:dead"),
            redis=await _redis(redis),
        )


async def _queues(redis: Redis, settings: Settings) -> list[QueueState]:
    gone_after_ms = round(settings.worker_gone_after_s * 1000)
    rows = await redis.register_script(source("gauges"))(args=[gone_after_ms])
    paces: dict[str, str] = await cast("Any", redis.hgetall("facet:pace"))
    return [
        QueueState(
            name=name,
            waiting=waiting,
            oldest_wait_s=age_ms / 1000,
            workers=workers,
            pace_s=float(paces[f"queue:{name}"]) if f"queue:{name}" in paces else None,
        )
        for name, waiting, age_ms, workers in sorted(rows)
    ]


async def _running(redis: Redis) -> list[RunningJob]:
    seconds, microseconds = await redis.time()
    now_ms = seconds * 1000 + microseconds / 1000
    leases = cast("list[tuple[str, float]]", await redis.zrange("facet:leases", 0, -1, withscores=True))
    running = []
    for job_id, until_ms in leases:
        found = await cast("Any", redis.hmget(f"facet:job:{job_id}", ["kind", "worker", "attempt"]))
        kind, worker, attempt = found
        left_s = round((until_ms - now_ms) / 1000, 1)
        running.append(
            RunningJob(id=job_id, kind=kind or "", worker=worker or "", attempt=int(attempt or 0), lease_left_s=left_s)
        )
    return running


async def _redis(redis: Redis) -> RedisState:
    info: dict[str, Any] = await redis.info()
    return RedisState(
        memory_bytes=info["used_memory"],
        memory_limit_bytes=info["maxmemory"] or None,
        uptime_s=info["uptime_in_seconds"],
        append_only=bool(info["aof_enabled"]),
    )
