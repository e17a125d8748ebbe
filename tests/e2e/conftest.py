from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.fleet import Fleet, start_fleet


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The whole fleet; one for all tests, so leave it well."""
    running = start_fleet(tmp_path_factory.mktemp("fleet"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(fleet: Fleet) -> Iterator[httpx.Client]:
    """A client of the fleet's gateway."""
    with httpx.Client(base_url=fleet.url, timeout=60, trust_env=False) as http:
        yield http
