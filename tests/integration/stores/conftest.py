"""Stores of a made-up capability on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from shared.jobs.connection import api_client
from shared.stores.owned_records import RecordKind

KIND = RecordKind(capability="geometry", name="triangle", path="/v1/geometry/triangles", limit=3)


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = api_client(redis_url)
    yield client
    await client.aclose()
