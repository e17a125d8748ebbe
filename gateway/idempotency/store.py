"""Claims of keys and stored answers: small ones in Redis, large ones in the blob store."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, cast

import anyio
import orjson
from redis.asyncio import Redis

from shared.jobs.connection import unavailable_without_redis
from shared.problems import Gone
from shared.settings import Settings
from shared.storage.blobs import BlobMissing, BlobStore

LEASE_S = 15.0
"""Seconds after which the request of a gateway that died no longer holds its key."""

_IN_REDIS_BYTES = 64 * 1024

_SCRIPTS = ("claim", "settle")


class Outcome(StrEnum):
    """What a request with a key is told."""

    CLAIMED = "claimed"
    """It is the first: go on."""
    OTHER = "other"
    """The key was used for another request."""
    RUNNING = "running"
    """The first is still at it."""
    DONE = "done"
    """There is an answer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim.

    Attributes:
        outcome: what became of it.
        key: the key's name in Redis.
        token: proves that a later step is the holder's.
        expires_s: seconds until the key is forgotten.
        lost_s: seconds after which a running request counts as lost.
    """

    outcome: Outcome
    key: str
    token: str
    expires_s: float
    lost_s: float


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was given."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class IdempotencyStore:
    """Keys of all callers.

    Args:
        redis: a client of `shared.jobs.connection.api_client`.
        blobs: for large answers.
        settings: how long answers are kept.

    Every method raises `ServiceUnavailable` when Redis does not answer.
    """

    def __init__(self, redis: Redis, blobs: BlobStore, settings: Settings) -> None:
        self._redis = redis
        self._blobs = blobs
        self._retention_ms = settings.idempotency_retention_s * 1000
        self._scripts = {name: redis.register_script(_source(name)) for name in _SCRIPTS}

    async def claim(self, caller: str, key: str, fingerprint: str) -> Claim:
        """Take a key for a request.

        Args:
            caller: keys of different callers have nothing to do with each other.
            key: as the client chose it.
            fingerprint: of the request.
        """
        name, token = f"facet:idempotency:{secret_name(caller, key)}", secrets.token_hex(8)
        found = await self._run("claim", name, fingerprint, token, _ms(LEASE_S), self._retention_ms)
        outcome, left, lost = found
        return Claim(Outcome(outcome), name, token, left / 1000, lost / 1000)

    async def renew(self, claim: Claim) -> bool:
        """Say that the request is still at work; False where somebody else has the key by now."""
        return bool(await self._run("settle", claim.key, claim.token, "renew", _ms(LEASE_S)))

    async def release(self, claim: Claim) -> None:
        """Forget the key: a retry is to run."""
        await self._run("settle", claim.key, claim.token, "release", 0)

    async def finish(self, claim: Claim, answer: StoredAnswer) -> None:
        """Keep the answer for the rest of the key's time."""
        fields: dict[str, str] = {"status": str(answer.status), "headers": orjson.dumps(answer.headers).decode()}
        if len(answer.body) <= _IN_REDIS_BYTES:
            fields["body"] = base64.b64encode(answer.body).decode("ascii")
        else:
            fields["blob"] = (await anyio.to_thread.run_sync(self._blobs.put, answer.body)).digest
        flat = [part for item in fields.items() for part in item]
        await self._run("settle", claim.key, claim.token, "finish", 0, *flat)

    async def answer(self, claim: Claim) -> StoredAnswer:
        """The stored answer of a key that is done.

        Raises:
            Gone: it was deleted from the blob store, or forgotten since the claim.
        """
        with unavailable_without_redis():
            fields = cast("dict[str, str]", await self._redis.hgetall(claim.key))
        try:
            if "blob" in fields:
                body = await anyio.to_thread.run_sync(self._blobs.get, fields["blob"])
            else:
                body = base64.b64decode(fields["body"])
            headers = [(name, value) for name, value in orjson.loads(fields["headers"])]
            return StoredAnswer(int(fields["status"]), headers, body)
        except (BlobMissing, KeyError):
            raise Gone(
                "The answer to this Idempotency-Key is no longer kept. Send the request with a new key."
            ) from None

    async def _run(self, script: str, *arguments: Any) -> Any:
        with unavailable_without_redis():
            return await self._scripts[script](args=arguments)


def secret_name(*parts: str) -> str:
    """64 hexadecimal digits in place of what callers wrote."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@cache
def _source(name: str) -> str:
    return (Path(__file__).parent / "lua" / f"{name}.lua").read_text("utf-8")
