"""Questions that tell whether a process is ready or still alive."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local.processes import Probe

_TIMEOUT_S = 3.0

# A proxy of the environment must not stand between the supervisor and its own machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def always_well() -> str | None:
    """For processes that can only be seen to run."""
    return None


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
        client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        try:
            client.ping()
        except redis.RedisError as error:
            return str(error)
        finally:
            client.close()
        return None

    return ask


def _missing(body: bytes) -> str:
    try:
        checks = json.loads(body)["checks"]
        return ": " + ", ".join(f"{name}: {state}" for name, state in checks.items() if state != "ok")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
