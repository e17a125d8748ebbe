"""Connections to Redis: quick to give up where a caller waits, patient where a computation would be lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from shared.problems import ServiceUnavailable

LONGEST_BLOCK_S = 5.0
"""Seconds that one blocking read waits; below the socket timeout, so that a dead connection is told from silence."""

LONGEST_ANSWER_S = 2.0
"""Seconds that a caller waits for a plain question to Redis; the socket timeout must be above blocking reads."""

_SOCKET_TIMEOUT_S = 8.0
_CONNECT_TIMEOUT_S = 1.0


def api_client(url: str) -> redis.asyncio.Redis:
    """A client for coroutines. One retry covers a connection that went stale; then the caller gets its 503."""
    return redis.asyncio.Redis.from_url(
        url,
        decode_responses=True,
        protocol=2,
        max_connections=2000,  # every long poll and event stream holds one
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=25,
        retry=AsyncRetry(ExponentialBackoff(cap=0.2, base=0.05), 1),
    )


def worker_client(url: str, *, retries: int = 12) -> redis.Redis:
    """A client for workers. Twelve retries bridge a restart of Redis of about fifteen seconds."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        protocol=2,
        socket_timeout=_SOCKET_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        health_check_interval=25,
        retry=Retry(ExponentialBackoff(cap=2.0, base=0.05), retries),
    )


@contextmanager
def unavailable_without_redis() -> Iterator[None]:
    """Turn a Redis that does not answer into a 503 problem."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, TimeoutError) as error:
        raise ServiceUnavailable("The job store does not answer at present. Nothing was changed.") from error
