"""What several benchmarks need."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.ports import free_ports
from deploy.local.redis_server import local_redis


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of the benchmark's own."""
    specification, url = local_redis(tmp_path / "redis", free_ports(1)[0])
    with subprocess.Popen(specification.command, stdout=subprocess.DEVNULL) as server:
        while specification.ready():
            time.sleep(0.05)
        yield url
        server.terminate()
