"""The perception service with captioners of random weights, released as trained ones are, and the route of captions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from services.application import create_domain_service
from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import Capability, Tag
from shared.memory import MemoryBudget
from shared.settings import Settings
from tests.support.capability import running_capability
from tests.support.captioners import change_card, release_tiny
from tests.support.tiny_models import release

_CAPTIONING = Capability(
    name="captioning",
    domain="perception",
    routers=("services.perception.captioning.routes:router",),
    tag=Tag(name="captioning", description="What is on a picture, in words", order=41),
    memory=MemoryBudget(idle_mib=10, used_mib=100),
)


def create_app(settings: Settings) -> FastAPI:
    """The service with this capability alone."""
    return create_domain_service(
        "perception",
        title="Captions",
        description="For tests",
        settings=settings,
        capabilities=Capabilities([_CAPTIONING]),
    )


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `models/perception/`: two captioners that see the whole picture, one that sees its middle, a denoiser."""
    place = tmp_path_factory.mktemp("captioning")
    models = place / "models" / "perception"
    release_tiny(models, "tiny-lstm")
    release_tiny(models, "tiny-transformer", decoder="transformer")
    encoder, _ = release_tiny(models, "tiny-middle", seed=2)
    middle = {"region": "centre", "share": 0.5, "filter": "bicubic"}
    change_card(encoder, lambda parameters: parameters.update(preprocessing=middle))
    release(models, "low-dose-ct", kind="mean")
    return place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with running_capability(create_app, folder, pixel_limit=256 * 256) as started:
        yield started
