"""Redis stops, hangs and comes back: what does not need it goes on, what does is refused soon, nothing is restarted."""

from __future__ import annotations

import io
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis

from deploy.local.redis_server import redis_executable
from gateway.app import create_app as create_gateway
from services.medical.app import create_app as create_medical
from shared.settings import Settings
from tests.integration.conftest import free_port
from tests.integration.gateway.servers import serve
from tests.support.tiny_models import release

PATIENCE_S = 6.0
"""Above the two seconds within which every refusal is to come, and below every timeout of a hanging connection."""

UNKNOWN = "019878a1-5b1f-7c3e-9f10-5d0a1c2b3d4e"


class Store:
    """A Redis that can be stopped, frozen and started again on its port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        self._server = subprocess.Popen(
            [redis_executable(), *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        with redis.Redis(port=self.port) as client:
            while True:
                with suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.02)
            client.zadd("facet:queue:medical.onnx:workers", {"by hand": 1e15})

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)
            self._server.kill()
            self._server.wait()

    def freeze(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGSTOP)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def client(store: Store, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of a gateway before the real medical service."""
    release(tmp_path / "models" / "medical")
    settings = Settings(
        _env_file=None, redis_url=store.url, blob_url=str(tmp_path / "blobs"), models=tmp_path / "models"
    )
    with (
        serve(create_medical(settings)) as service,
        serve(create_gateway(settings.model_copy(update={"medical_url": service}))) as gateway,
        httpx.Client(base_url=gateway, timeout=PATIENCE_S) as client,
    ):
        while client.get("/v1/models/low-dose-ct").status_code != 200:
            time.sleep(0.05)
        yield client


def enhance(client: httpx.Client, **headers: str) -> httpx.Response:
    file = io.BytesIO()
    np.save(file, np.zeros((16, 16), np.float32))
    files = {"file": ("slice.npy", file.getvalue())}
    return client.post("/v1/medical/ct/enhancements", files=files, headers=headers)


def fail_soon(client: httpx.Client) -> None:
    asked = [
        enhance(client, Prefer="respond-async"),
        client.get("/v1/jobs"),
        client.get(f"/v1/jobs/{UNKNOWN}"),
        client.get(f"/v1/jobs/{UNKNOWN}/events"),
        client.delete(f"/v1/jobs/{UNKNOWN}"),
        client.post(f"/v1/jobs/{UNKNOWN}/retry"),
    ]
    for answer in asked:
        assert answer.status_code == 503, answer.request.url
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("fault", [Store.stop, Store.freeze])
def test_the_rest_goes_on_and_all_recovers(client: httpx.Client, store: Store, fault: Callable[[Store], None]) -> None:
    created = enhance(client, Prefer="respond-async")
    assert created.status_code == 202
    time.sleep(1.1)  # the append-only file is written down once a second

    fault(store)
    assert enhance(client).status_code == 200, "an inference asks no store"
    fail_soon(client)
    assert client.get("/health/live").status_code == 200
    assert "redis" in client.get("/health/ready").json()["checks"]

    store.stop()
    store.start()
    assert client.get(created.headers["location"]).json()["status"] == "queued"
    assert enhance(client, Prefer="respond-async").status_code == 202
    assert enhance(client).status_code == 200
