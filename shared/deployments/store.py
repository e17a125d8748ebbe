"""Plans and reports in Redis: one hash for each domain, so that it is read and changed as a whole."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import orjson
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import WatchError

from shared.deployments.desired_state import Deployment, DesiredState
from shared.jobs.connection import unavailable_without_redis
from shared.problems import Conflict, FieldError
from shared.runtime.cards import UploadedCard
from shared.runtime.models.version_routing import Canary
from shared.runtime.states import ModelState
from shared.settings import Domain

REPORT_KEPT_S: Final = 6.0
"""A replica that says nothing for so long is not counted any more."""

_TRIES: Final = 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VersionReport:
    """What a replica says of one uploaded version.

    Attributes:
        state: of it there.
        errors: why it failed.
    """

    state: ModelState
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What one replica has come to.

    Attributes:
        revision: of the plan that it follows.
        versions: by name and version.
    """

    revision: int
    versions: Mapping[tuple[str, str], VersionReport]


class DesiredStateStore:
    """Plans of all domains.

    Args:
        redis: a client of `connection.api_client`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def revision(self, domain: Domain) -> int:
        """The plan's revision; 0 where there is no plan.

        Raises:
            ServiceUnavailable: Redis does not answer; likewise below.
        """
        with unavailable_without_redis():
            return int(cast("str | None", await self._redis.hget(_plan(domain), "revision")) or 0)

    async def read(self, domain: Domain) -> DesiredState:
        """The plan of a domain."""
        with unavailable_without_redis():
            return _decoded(cast("dict[str, str]", await self._redis.hgetall(_plan(domain))))

    async def change(self, domain: Domain, alter: Callable[[DesiredState], DesiredState]) -> DesiredState:
        """Change the plan of a domain; nobody else's change comes in between.

        Args:
            domain: whose.
            alter: makes the new plan of the old one; called again where somebody was quicker. May raise problems.

        Raises:
            Conflict: too many change it at once.

        Returns:
            The plan as it is now.
        """
        key = _plan(domain)
        with unavailable_without_redis():
            async with self._redis.pipeline(transaction=True) as pipeline:
                for _ in range(_TRIES):
                    await pipeline.watch(key)
                    before = _decoded(cast("dict[str, str]", await pipeline.hgetall(key)))
                    after = alter(before)
                    if after == before:
                        return before
                    # Above what any earlier Redis may have given out, in case this one was emptied.
                    after = replace(after, revision=max(before.revision + 1, time.time_ns() // 1_000_000))
                    wanted = _encoded(after)
                    pipeline.multi()  # type: ignore[no-untyped-call]
                    pipeline.hset(key, mapping=cast("dict[Any, Any]", wanted))
                    if gone := _encoded(before).keys() - wanted.keys():
                        pipeline.hdel(key, *gone)
                    try:
                        await pipeline.execute()
                    except WatchError:
                        continue
                    return after
        raise Conflict("Others change the models of this service at the same time. Try again.")

    async def report(self, domain: Domain, replica: str, report: Report) -> None:
        """Say what a replica has come to; it is remembered for a few seconds."""
        content = orjson.dumps(
            {
                "revision": report.revision,
                "versions": [
                    [*key, one.state, [error.model_dump() for error in one.errors]]
                    for key, one in report.versions.items()
                ],
            }
        )
        with unavailable_without_redis():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.sadd(_replicas(domain), replica)
                pipeline.set(_replica(domain, replica), content, px=int(REPORT_KEPT_S * 1000))
                await pipeline.execute()

    async def leave(self, domain: Domain, replica: str) -> None:
        """Say that a replica is no more."""
        with unavailable_without_redis():
            await self._redis.srem(_replicas(domain), replica)
            await self._redis.delete(_replica(domain, replica))

    async def reports(self, domain: Domain) -> list[Report]:
        """What the replicas that are alive have come to."""
        with unavailable_without_redis():
            replicas = sorted(cast("set[str]", await self._redis.smembers(_replicas(domain))))
            if not replicas:
                return []
            contents = await self._redis.mget([_replica(domain, replica) for replica in replicas])
            silent = [replica for replica, content in zip(replicas, contents, strict=True) if content is None]
            if silent:
                await self._redis.srem(_replicas(domain), *silent)
        return [_reported(orjson.loads(content)) for content in contents if content is not None]


def _plan(domain: Domain) -> str:
    return f"facet:models:{domain}"


def _replicas(domain: Domain) -> str:
    return f"facet:models:{domain}:replicas"


def _replica(domain: Domain, replica: str) -> str:
    return f"facet:models:{domain}:replica:{replica}"


def _reported(document: dict[str, Any]) -> Report:
    versions = {
        (name, version): VersionReport(state, tuple(FieldError.model_validate(error) for error in errors))
        for name, version, state, errors in document["versions"]
    }
    return Report(document["revision"], versions)


def _encoded(plan: DesiredState) -> dict[str, str]:
    """A plan as fields of a hash."""
    fields = {"revision": str(plan.revision)}
    for (name, version), one in plan.deployments.items():
        document = {
            "card": one.card.model_dump(mode="json"),
            "blob": one.blob,
            "loaded": one.loaded,
            "attempt": one.attempt,
        }
        fields[f"version:{name}/{version}"] = orjson.dumps(document).decode()
    for name, aliases in plan.aliases.items():
        fields |= {f"alias:{name}/{alias}": version for alias, version in aliases.items()}
    for name, canary in plan.canaries.items():
        fields[f"canary:{name}"] = orjson.dumps({"version": canary.version, "share": canary.share}).decode()
    return fields


def _decoded(fields: Mapping[str, str]) -> DesiredState:
    deployments: dict[tuple[str, str], Deployment] = {}
    aliases: dict[str, dict[str, str]] = {}
    canaries: dict[str, Canary] = {}
    for field, text in fields.items():
        kind, _, rest = field.partition(":")
        name, _, last = rest.partition("/")
        if kind == "alias":
            aliases.setdefault(name, {})[last] = text
        elif kind == "canary":
            canaries[name] = Canary(**orjson.loads(text))
        elif kind == "version" and (deployment := _deployment(text)) is not None:
            deployments[name, last] = deployment
    return DesiredState(int(fields.get("revision", 0)), deployments, aliases, canaries)


def _deployment(text: str) -> Deployment | None:
    try:
        document = orjson.loads(text)
        card = UploadedCard.model_validate(document["card"])
        return Deployment(card, document["blob"], document["loaded"], document["attempt"])
    except (ValidationError, KeyError, ValueError):  # written by another version of Facet: the others are served
        logger.exception("unreadable deployment")
        return None
