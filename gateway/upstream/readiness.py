"""Ready is: Redis answers and every service is ready. What is not is named; what works is served all the same."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.upstream.services import ServiceUnreadable, Upstreams
from shared.http.health import Check
from shared.jobs.store import JobStore
from shared.settings import DOMAINS, Domain

_TIMEOUT_S = 1.5


def readiness_checks(upstreams: Upstreams, jobs: JobStore) -> Mapping[str, Check]:
    """One check for Redis and one for each domain."""
    return {"redis": jobs.check} | {domain: _service(upstreams, domain) for domain in DOMAINS}


def _service(upstreams: Upstreams, domain: Domain) -> Check:
    async def check() -> str | None:
        try:
            answer = await upstreams.get_json(
                domain, "/health/ready", timeout_s=_TIMEOUT_S, statuses=frozenset({200, 503})
            )
            if answer["status"] == "ready":
                return None
            missing = [f"{name}: {state}" for name, state in answer["checks"].items() if state != "ok"]
            return "not ready: " + "; ".join(missing)
        except ServiceUnreadable as failure:
            return str(failure)
        except (LookupError, TypeError, AttributeError):
            return "its answer cannot be read"

    return check
