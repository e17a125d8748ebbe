"""What the gateway holds callers to is declared, and holds whether or not the service behind answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import create_app
from shared.access.keys import KeyStore
from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import AccessRule, BodyLimit, Capability, Scope, Tag
from shared.memory import MemoryBudget
from shared.settings import Settings
from tests.integration.gateway.keys import bearer
from tests.support.serving import running

CAMOUFLAGES = "/v1/security/camouflages"

DECLARED = Capabilities(
    (
        Capability(
            name="camouflage",
            domain="security",
            scopes=(Scope(name="attack:run", allows="attack"), Scope(name="attack:read", allows="read attacks")),
            access=(AccessRule(path=CAMOUFLAGES, reading="attack:read", running="attack:run"),),
            body_limits=(BodyLimit(path=CAMOUFLAGES, most_bytes=lambda: 200),),
            tag=Tag(name="camouflage", description="Paint.", order=1),
            memory=MemoryBudget(idle_mib=1, used_mib=1),
        ),
    )
)


@pytest.fixture
async def client(redis_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose services are all down."""
    settings = Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(tmp_path),
        api_keys=True,
        fleet_token=SecretStr("between us"),
        upload_limit_bytes=100,
    )
    async with running(create_app(settings, capabilities=DECLARED)) as started:
        yield started


@pytest.mark.parametrize(
    ("method", "path", "scope", "status"),
    [
        ("POST", CAMOUFLAGES, "attack:run", 503),
        ("POST", CAMOUFLAGES, "attack:read", 403),
        ("GET", f"{CAMOUFLAGES}/1", "attack:read", 503),
        ("GET", f"{CAMOUFLAGES}/1", "attack:run", 403),
        ("POST", f"{CAMOUFLAGES}-of-mine", "attack:run", 403),
        ("POST", f"{CAMOUFLAGES}-of-mine", "admin", 503),
        ("POST", "/v1/medical/anything", "attack:*", 403),
    ],
)
async def test_scopes_hold_while_the_service_is_down(
    client: httpx.AsyncClient, keys: KeyStore, method: str, path: str, scope: str, status: int
) -> None:
    answer = await client.request(method, path, headers=await bearer(keys, scope))
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        (CAMOUFLAGES, 200, 503),
        (CAMOUFLAGES, 201, 413),
        (f"{CAMOUFLAGES}/1/again", 200, 503),
        (f"{CAMOUFLAGES}x", 101, 413),
        ("/v1/medical/x", 101, 413),
    ],
)
async def test_bodies_are_as_large_as_declared(
    client: httpx.AsyncClient, keys: KeyStore, path: str, size: int, status: int
) -> None:
    answer = await client.post(path, content=bytes(size), headers=await bearer(keys, "admin"))
    assert answer.status_code == status, answer.text
