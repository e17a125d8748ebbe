"""The probes against the real Redis of the supervisor."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from deploy.local.ports import free_ports
from deploy.local.redis_server import local_redis
from deploy.probes import redis_probe, worker_probe
from shared.settings import Settings
from tests.support.processes import until


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    specification, url = local_redis(tmp_path, free_ports(1)[0])
    with subprocess.Popen(specification.command, stdout=subprocess.DEVNULL) as server:
        until(lambda: specification.ready() is None)
        yield url
        server.terminate()


def test_redis_is_well_with_its_password_only(url: str) -> None:
    assert redis_probe(url)() is None
    stranger = redis_probe("redis://" + url.rpartition("@")[2])()
    assert stranger is not None
    assert "uthentication" in stranger


def test_a_worker_is_well_while_its_signs_of_life_are_fresh(url: str) -> None:
    settings = Settings(redis_url=url)
    probe = worker_probe(settings, "onnx")
    assert probe() == "no sign of life yet"
    with redis.Redis.from_url(url) as client:
        seconds, _ = client.time()
        client.zadd("facet:queue:medical.onnx:workers", {"a": (seconds - 2 * settings.worker_gone_after_s) * 1000})
        assert probe() == "no sign of life yet"
        client.zadd("facet:queue:medical.onnx:workers", {"b": seconds * 1000})
        assert probe() is None
    assert worker_probe(settings, "torch")() == "no sign of life yet"


def test_without_redis_no_worker_is_blamed() -> None:
    settings = Settings(redis_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0")
    assert worker_probe(settings, "onnx")() is None
