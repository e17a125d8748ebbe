"""API keys: made once, shown once, kept as hashes.

A key reads `facet_<id>_<secret>`. The secret has 256 random bits, so a fast hash keeps it: there is nothing to guess
that a slow one would protect, and every request has to be checked.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from redis.asyncio import Redis

from shared.jobs.connection import unavailable_without_redis
from shared.problems import NotFound

_KEY = re.compile(r"facet_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
_OWNER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INDEX = "facet:keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one owner may use. None stands for the fleet's setting."""

    requests_per_minute: int | None = None
    """Requests that run or write something; those that read have ten times as many."""
    bytes_per_minute: int | None = None
    """Bytes of request bodies."""
    jobs: int | None = None
    """Unfinished jobs at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; its secret is not among it."""

    id: str
    owner: str
    """Several keys may be one owner's: jobs, webhooks and quotas are by owner."""
    scopes: tuple[str, ...]
    digest: str
    """SHA-256 of the secret, in hexadecimal."""
    note: str = ""
    limits: Limits = Limits()
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def proves(self, secret: str) -> bool:
        """Whether the secret is this key's, compared in constant time."""
        return hmac.compare_digest(self.digest, _digest(secret))

    def fault(self, now: datetime) -> str | None:
        """Why it is no longer good, if it is not."""
        if self.revoked_at is not None:
            return "was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "has expired"
        return None


def parse_key(text: str) -> tuple[str, str] | None:
    """Id and secret of a key as its owner sends it; None if it is no key."""
    match = _KEY.fullmatch(text)
    return (match["id"], match["secret"]) if match else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


class KeyStore:
    """Keys in Redis.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.

    Every method raises `ServiceUnavailable` when Redis does not answer.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def create(
        self,
        owner: str,
        scopes: Sequence[str],
        *,
        note: str = "",
        limits: Limits | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, ApiKey]:
        """Make a key.

        Returns:
            The key as its owner is to send it, which nobody can read again, and what is kept.

        Raises:
            ValueError: an owner that cannot be, or no scope.
        """
        if not _OWNER.fullmatch(owner):
            raise ValueError("an owner is 1 to 64 of the characters A-Z a-z 0-9 . _ -")
        if not scopes:
            raise ValueError("a key needs at least one scope")
        identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        key = ApiKey(
            id=identifier,
            owner=owner,
            scopes=tuple(dict.fromkeys(scopes)),
            digest=_digest(secret),
            note=note,
            limits=limits or Limits(),
            created_at=datetime.now(UTC),
            expires_at=expires_at,
        )
        with unavailable_without_redis():
            fields: dict[Any, Any] = _to_hash(key)
            await self._redis.hset(_name(identifier), mapping=fields)
            await self._redis.sadd(_INDEX, identifier)
        return f"facet_{identifier}_{secret}", key

    async def find(self, identifier: str) -> ApiKey | None:
        """The key of an id."""
        with unavailable_without_redis():
            fields = cast("dict[str, str]", await self._redis.hgetall(_name(identifier)))
        return _from_hash(identifier, fields) if fields else None

    async def get(self, identifier: str) -> ApiKey:
        """The key of an id.

        Raises:
            NotFound: there is none.
        """
        key = await self.find(identifier)
        if key is None:
            raise NotFound(f"There is no key {identifier}.")
        return key

    async def list_keys(self, *, owner: str | None = None) -> list[ApiKey]:
        """All keys, or those of an owner; oldest first."""
        with unavailable_without_redis():
            identifiers = cast("set[str]", await self._redis.smembers(_INDEX))
        keys = [key for identifier in identifiers if (key := await self.find(identifier)) is not None]
        return sorted((key for key in keys if owner in {None, key.owner}), key=lambda key: key.created_at)

    async def revoke(self, identifier: str) -> ApiKey:
        """Make a key worthless; gateways know within seconds. It stays listed.

        Raises:
            NotFound: there is none.
        """
        await self.get(identifier)
        with unavailable_without_redis():
            await self._redis.hsetnx(_name(identifier), "revoked_at", datetime.now(UTC).isoformat())
        return await self.get(identifier)


def _name(identifier: str) -> str:
    return f"facet:key:{identifier}"


_LIMITS = ("requests_per_minute", "bytes_per_minute", "jobs")
_TIMES = ("created_at", "expires_at", "revoked_at")


def _to_hash(key: ApiKey) -> dict[str, str]:
    fields: dict[str, Any] = {
        "owner": key.owner,
        "scopes": " ".join(key.scopes),
        "digest": key.digest,
        "note": key.note,
    }
    fields |= {name: getattr(key.limits, name) for name in _LIMITS}
    fields |= {name: moment.isoformat() for name in _TIMES if (moment := getattr(key, name)) is not None}
    return {name: str(value) for name, value in fields.items() if value is not None}


def _from_hash(identifier: str, fields: dict[str, str]) -> ApiKey:
    limits = {name: int(fields[name]) for name in _LIMITS if name in fields}
    times: dict[str, Any] = {name: datetime.fromisoformat(fields[name]) for name in _TIMES if name in fields}
    return ApiKey(
        id=identifier,
        owner=fields["owner"],
        scopes=tuple(fields["scopes"].split()),
        digest=fields["digest"],
        note=fields["note"],
        limits=Limits(**limits),
        **times,
    )
