"""Quotas per owner in fixed windows, told in the RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from shared.access.keys import Limits
from shared.jobs.connection import unavailable_without_redis
from shared.settings import Settings

WINDOW_S = 60

READS_PER_REQUEST = 10
"""Requests that only read, such as polling a job, have a quota of their own, so many times as large."""

_UNITS = {"requests": "requests", "reads": "requests", "bytes": "content-bytes"}


@dataclass(frozen=True, slots=True)
class Policy:
    """One quota of an owner."""

    name: str
    limit: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of a quota.

    Attributes:
        policy: which.
        remaining: in its unit.
        reset_s: seconds until its window ends.
    """

    policy: Policy
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Whether a request may go on, and what is left."""

    granted: bool
    budgets: tuple[Budget, ...]
    violated: tuple[Budget, ...] = ()

    def headers(self, jobs: int | None) -> dict[str, str]:
        """RateLimit-Policy and RateLimit.

        Args:
            jobs: limit of unfinished jobs, a policy whose state is not told here.
        """
        policies = [
            f'"{item.policy.name}";q={item.policy.limit};w={WINDOW_S};qu="{_UNITS[item.policy.name]}"'
            for item in self.budgets
        ]
        if jobs is not None:
            policies.append(f'"jobs";q={jobs};qu="concurrent-requests"')
        left = [f'"{item.policy.name}";r={item.remaining};t={item.reset_s}' for item in self.budgets]
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


def limits_of(own: Limits, settings: Settings) -> Limits:
    """Limits with the fleet's settings where a key has none of its own."""
    return Limits(
        requests_per_minute=own.requests_per_minute or settings.quota_requests_per_minute,
        bytes_per_minute=own.bytes_per_minute or settings.quota_bytes_per_minute,
        jobs=own.jobs or settings.quota_jobs,
    )


class Quotas:
    """Counts what owners use.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
    """

    def __init__(self, redis: Redis) -> None:
        self._spend = redis.register_script((Path(__file__).parent / "lua" / "spend.lua").read_text("utf-8"))

    async def spend(self, owner: str, amounts: Mapping[Policy, int], *, force: bool = False) -> Grant:
        """Take from all of an owner's quotas, or from none.

        Args:
            owner: whose.
            amounts: how much of each.
            force: take it even where it is not there, for what was used already.

        Raises:
            ServiceUnavailable: Redis does not answer.
        """
        arguments: list[str | int] = [int(force)]
        for policy, amount in amounts.items():
            arguments += [f"facet:quota:{owner}:{policy.name}", policy.limit, WINDOW_S * 1000, amount]
        with unavailable_without_redis():
            granted, *rest = await self._spend(args=arguments)
        budgets = _budgets(tuple(amounts), rest)
        short = tuple(item for item in budgets if amounts[item.policy] > item.remaining) if not granted else ()
        return Grant(bool(granted), budgets, short)


def _budgets(policies: Sequence[Policy], rest: Sequence[int]) -> tuple[Budget, ...]:
    return tuple(
        Budget(policy, remaining, max(1, math.ceil(left / 1000)))
        for policy, remaining, left in zip(policies, rest[::2], rest[1::2], strict=True)
    )
