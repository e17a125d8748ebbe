"""A real Redis for the integration tests: the server of `make run`, on a free port, without persistence."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis

from deploy.local.redis_server import redis_executable


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(port: int, server: subprocess.Popen[bytes]) -> None:
    with redis.Redis(port=port) as client:
        while True:
            assert server.poll() is None, "redis-server did not start"
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.02)
            else:
                return


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the server, without a database number."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path_factory.mktemp("redis"))]
    with subprocess.Popen([redis_executable(), *options], stdout=subprocess.DEVNULL) as server:
        _wait_until_up(port, server)
        yield f"redis://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """URL of an empty database."""
    url = f"{redis_server}/0"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
