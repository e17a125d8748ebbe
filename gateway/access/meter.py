"""What requests take from the quotas of their key's owner."""

from __future__ import annotations

import logging

from gateway.redis_deadline import redis_deadline
from shared.access.keys import ApiKey, Limits
from shared.access.quotas import READS_PER_REQUEST, Grant, Policy, Quotas, limits_of
from shared.problems import QuotaExceeded, ServiceUnavailable
from shared.request_context import RequestContext
from shared.settings import Settings

logger = logging.getLogger(__name__)


class Meter:
    """Counts, and says what is left.

    Args:
        quotas: where it is counted.
        settings: limits of keys that have none of their own.
    """

    def __init__(self, quotas: Quotas, settings: Settings) -> None:
        self._quotas, self._settings = quotas, settings

    def on_behalf_of_owner(self, context: RequestContext, key: ApiKey) -> RequestContext:
        """The same request as one of the key's owner, with the limit of unfinished jobs."""
        return context.on_behalf_of(key.owner, job_limit=str(self._limits(key).jobs))

    async def spend(self, key: ApiKey, *, reads_only: bool, size: int) -> dict[str, str]:
        """Take one request; returns the RateLimit fields of its answer.

        Args:
            key: that it was made with.
            reads_only: whether it changes nothing; such requests have a quota of their own.
            size: bytes of its body, 0 where they are not known yet.

        Raises:
            QuotaExceeded: the quota is used up.
        """
        limits = self._limits(key)
        try:
            async with redis_deadline():
                grant = await self._quotas.spend(key.owner, _amounts(limits, reads_only=reads_only, size=size))
        except ServiceUnavailable:
            # The key is known from before; work that needs no Redis goes on, uncounted.
            logger.warning("quotas are not counted: Redis does not answer")
            return {}
        headers = grant.headers(limits.jobs)
        if not grant.granted:
            raise _exceeded(grant, headers)
        return headers

    async def charge(self, key: ApiKey, *, size: int) -> None:
        """Take the bytes of a body whose size was not known before."""
        limit = self._limits(key).bytes_per_minute or 0
        try:
            async with redis_deadline():
                await self._quotas.spend(key.owner, {Policy("bytes", limit): size}, force=True)
        except ServiceUnavailable:
            logger.warning("quotas are not counted: Redis does not answer")

    def _limits(self, key: ApiKey) -> Limits:
        return limits_of(key.limits, self._settings)


def _amounts(limits: Limits, *, reads_only: bool, size: int) -> dict[Policy, int]:
    requests = limits.requests_per_minute or 0
    if reads_only:
        return {Policy("reads", requests * READS_PER_REQUEST): 1}
    return {Policy("requests", requests): 1, Policy("bytes", limits.bytes_per_minute or 0): size}


def _exceeded(grant: Grant, headers: dict[str, str]) -> QuotaExceeded:
    short = grant.violated
    names = " and ".join(f"{item.policy.limit} {item.policy.name}" for item in short)
    wait = max(item.reset_s for item in short)
    return QuotaExceeded(
        f"The quota of {names} in a minute is used up. It is full again in {wait} s.",
        policies=[item.policy.name for item in short],
        retry_after_s=wait,
        headers=headers,
    )
