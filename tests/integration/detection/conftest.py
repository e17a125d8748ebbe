"""The perception service with detectors whose boxes are known, without a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.detection import Bench, open_bench


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    async with open_bench(f"{redis_server}/10", tmp_path_factory.mktemp("detection")) as opened:
        yield opened
