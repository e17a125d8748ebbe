"""The security service with what campaigns need, without a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.bit_error_campaigns import Bench, open_bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with open_bench(f"{redis_server}/9", tmp_path_factory.mktemp("blobs")) as opened:
        yield opened
