"""Questions that tell whether a process is ready or still alive."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.jobs.kinds import Weight, queues_of
from shared.settings import Settings

Probe = Callable[[], str | None]
"""Returns None when all is well, else what is missing. Must not raise nor take more than a few seconds."""

_TIMEOUT_S = 3.0

# A proxy of the environment must not stand between the supervisor and its own machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_probe(url: str) -> Probe:
    """Well when a GET of this URL answers 200; else says what the answer's checks name as missing."""

    def ask() -> str | None:
        try:
            with _OPENER.open(url, timeout=_TIMEOUT_S) as answer:
                return None if answer.status == 200 else f"answers {answer.status}"
        except urllib.error.HTTPError as error:
            return f"answers {error.code}{_missing(error.read())}"
        except (OSError, http.client.HTTPException):
            return "does not answer yet"

    return ask


def redis_probe(url: str) -> Probe:
    """Well when Redis answers PING, which it does not while it still loads its data."""

    def ask() -> str | None:
        try:
            with _client(url) as client:
                client.ping()
        except redis.RedisError as error:
            return str(error)
        return None

    return ask


def worker_probe(settings: Settings, weight: Weight) -> Probe:
    """Well when a worker of this weight left a sign of life lately. Without Redis nobody can tell, so it is not asked.

    Args:
        settings: where Redis is, and how often workers leave signs of life.
        weight: class of the worker.
    """
    key = f"facet:queue:{queues_of(weight)[0]}:workers"

    def ask() -> str | None:
        try:
            with _client(settings.redis_url) as client:
                seconds, _ = client.time()
                beats = client.zcount(key, (seconds - settings.worker_gone_after_s) * 1000, "+inf")
        except redis.RedisError:
            return None
        return None if beats else "no sign of life yet"

    return ask


def _client(url: str) -> redis.Redis:
    """A connection that says at once what is wrong instead of trying again."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _missing(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        return ": " + ", ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
