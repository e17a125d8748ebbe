"""Two gateways, one that asks for API keys and one that does not, before one service; all of them real processes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.access.keys import KeyStore, Limits
from shared.jobs.connection import api_client
from shared.settings import DOMAINS
from tests.hostile import fleet as fleets
from tests.hostile.fleet import ATTACKER, VICTIM, Fleet
from tests.hostile.models import release_models
from tests.hostile.processes import free_port, raise_descriptor_limit, redis_running, serving
from tests.hostile.scripted_answers import SCRIPTS
from tests.hostile.scripts import scripted
from tests.hostile.tap import tapped

_MANY = 1_000_000_000
_SCOPES = (
    "models:run",
    "models:read",
    "perception:run",
    "perception:read",
    "medical:run",
    "jobs:read",
    "webhooks:write",
)


@dataclass(frozen=True)
class Backend:
    """What gateways of the tests have behind them.

    Attributes:
        folder: for logs and blobs.
        redis: URL without a database number.
        token: of the fleet.
        perception_port: of the service.
        scripted_port: of the service that misbehaves, in the place of all others.
    """

    folder: Path
    redis: str
    token: str
    perception_port: int
    scripted_port: int


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    raise_descriptor_limit()
    folder = tmp_path_factory.mktemp("hostile")
    release_models(folder / "models")
    token, port = secrets.token_urlsafe(24), free_port()
    with ExitStack() as stack:
        redis = stack.enter_context(redis_running(folder))
        environment = {
            "FACET_REDIS_URL": f"{redis}/0",
            "FACET_BLOB_URL": str(folder / "blobs"),
            "FACET_MODELS": str(folder / "models"),
            "FACET_PERCEPTION_PORT": str(port),
            "FACET_FLEET_TOKEN": token,
            "FACET_LOG_LEVEL": "WARNING",
        }
        ready = f"http://127.0.0.1:{port}/health/ready"
        stack.enter_context(serving("perception", folder, environment, ready=ready))
        script = stack.enter_context(scripted(SCRIPTS))
        yield Backend(folder, redis, token, port, script.port)


@contextmanager
def started(backend: Backend, name: str, *, database: int, **settings: str) -> Iterator[Fleet]:
    """A gateway of its own with a tap of its own.

    Args:
        backend: what is behind it.
        name: of its folder.
        database: number in Redis.
        settings: of the gateway, by name.
    """
    folder = backend.folder / name
    folder.mkdir()
    redis_url, port = f"{backend.redis}/{database}", free_port()
    keys = asyncio.run(_make_keys(redis_url)) if settings.get("api_keys") == "true" else {}
    with tapped(backend.perception_port) as tap, ExitStack() as stack:
        environment = _environment(backend, redis_url, port, tap.port, settings)
        ready = f"http://127.0.0.1:{port}/health/live"
        gateway = stack.enter_context(serving("gateway", folder, environment, ready=ready))
        fleet = Fleet(port, gateway, tap, backend.token, keys, redis_url)
        stack.callback(fleet.close)
        yield fleet


def _environment(
    backend: Backend, redis_url: str, port: int, tap_port: int, settings: Mapping[str, str]
) -> dict[str, str]:
    urls = {f"{domain}_url": f"http://127.0.0.1:{backend.scripted_port}" for domain in DOMAINS}
    urls |= {"perception_url": f"http://127.0.0.1:{tap_port}"}
    values = {
        "redis_url": redis_url,
        "blob_url": str(backend.folder / "blobs"),
        "gateway_port": str(port),
        "fleet_token": backend.token,
        "log_level": "WARNING",
        "body_timeout_s": str(fleets.BODY_TIMEOUT_S),
        "body_least_bytes_per_s": "400",
        "send_timeout_s": str(fleets.SEND_TIMEOUT_S),
        "proxy_read_timeout_s": "1.5",
        "quota_requests_per_minute": str(_MANY),
        "quota_bytes_per_minute": str(1 << 50),
    }
    return {f"FACET_{name.upper()}": value for name, value in (values | urls | dict(settings)).items()}


async def _make_keys(redis_url: str) -> dict[str, str]:
    client = api_client(redis_url)
    limits = Limits(requests_per_minute=_MANY, bytes_per_minute=1 << 50)
    keys = {owner: (await KeyStore(client).create(owner, _SCOPES, limits=limits))[0] for owner in (ATTACKER, VICTIM)}
    await client.aclose()
    return keys


@pytest.fixture(scope="session")
def open_gateway(backend: Backend) -> Iterator[Fleet]:
    with started(backend, "open", database=1) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def keyed_gateway(backend: Backend) -> Iterator[Fleet]:
    with started(backend, "keyed", database=2, api_keys="true") as fleet:
        yield fleet


@pytest.fixture
def open_fleet(open_gateway: Fleet) -> Iterator[Fleet]:
    """Asks for no key. After the test, all other callers must be as well off as before."""
    with open_gateway.guarded():
        yield open_gateway


@pytest.fixture
def keyed_fleet(keyed_gateway: Fleet) -> Iterator[Fleet]:
    """Asks for keys; otherwise as `open_fleet`."""
    with keyed_gateway.guarded():
        yield keyed_gateway


@pytest.fixture(params=["open", "keyed"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Each of the two in turn."""
    gateway: Fleet = request.getfixturevalue(f"{request.param}_gateway")
    with gateway.guarded():
        yield gateway
