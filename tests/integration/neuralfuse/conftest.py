"""The security service with toy releases of a base, two generators, and a classifier of another domain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.security.app import create_app
from tests.support.capability import running_capability, write_model
from tests.support.neuralfuse_models import base_card, float_model, release_base, release_generators


@dataclass(frozen=True)
class Service:
    """A client of the service, and the folder of its models."""

    client: httpx.AsyncClient
    models: Path
    base_sha256: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    security, perception = (folder / "models" / name for name in ("security", "perception"))
    sha256 = release_base(security)
    release_generators(security, sha256)
    other, odd = float_model(), float_model(side=20)
    normalised = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    write_model(perception, base_card(other, name="other", network=None, **normalised), other)
    write_model(perception, base_card(odd, name="odd-side", network=None), odd)
    async with running_capability(create_app, folder, pixel_limit=100_000) as client:
        yield Service(client, folder / "models", sha256)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unreleased(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """The service where nothing was released for it, and another domain has a classifier."""
    folder = tmp_path_factory.mktemp("unreleased")
    other = float_model()
    write_model(folder / "models" / "perception", base_card(other, name="other", network=None), other)
    async with running_capability(create_app, folder, pixel_limit=100_000) as client:
        yield client
