"""The gateway behind nginx and behind Caddy, as deploy/reverse_proxy configures them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.conftest import Backend, started
from tests.hostile.fleet import Fleet
from tests.hostile.reverse_proxies.programs import PREFIX, PROXIES, installed


@pytest.fixture(scope="session")
def gateway(backend: Backend) -> Iterator[Fleet]:
    with started(backend, "proxied", database=4, trusted_proxies="127.0.0.1") as fleet:
        yield fleet


def behind(gateway: Fleet, port: int) -> Fleet:
    return Fleet(port, gateway.gateway, gateway.tap, gateway.token, gateway.keys, gateway.redis_url)


@pytest.fixture(scope="session", params=list(PROXIES))
def proxy(request: pytest.FixtureRequest) -> str:
    """The name of a program."""
    name: str = request.param
    if not installed(name):
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture(scope="session")
def proxied_gateway(proxy: str, gateway: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with PROXIES[proxy](tmp_path_factory.mktemp(proxy), gateway.port) as port:
        fleet = behind(gateway, port)
        yield fleet
        fleet.close()


@pytest.fixture
def fleet(proxied_gateway: Fleet) -> Iterator[Fleet]:
    """The gateway behind each of the proxies in turn; all callers come through it."""
    with proxied_gateway.guarded():
        yield proxied_gateway


@pytest.fixture(scope="session")
def prefixed(proxy: str, gateway: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Serves below /facet as well, by the lines that are there for it."""
    with PROXIES[proxy](tmp_path_factory.mktemp(proxy), gateway.port, PREFIX) as port:
        yield behind(gateway, port)
