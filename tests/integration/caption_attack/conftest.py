"""The security service and a captioner of random weights that it may attack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio

from tests.support.capability import png
from tests.support.caption_attacks import AttackBench, open_attack_bench
from tests.support.captioners import mosaic, release_tiny

PICTURES = [png(mosaic(seed)) for seed in range(3)]


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `perception/`: two captioners."""
    place = tmp_path_factory.mktemp("models")
    release_tiny(place / "perception", "tiny-lstm")
    release_tiny(place / "perception", "tiny-transformer", decoder="transformer")
    return place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(
    redis_server: str, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AttackBench]:
    url = f"{redis_server}/8"
    async with redis.asyncio.from_url(url) as store:
        await store.flushdb()
    async with open_attack_bench(url, tmp_path_factory.mktemp("attacks"), models) as opened:
        yield opened
