"""The medical and the uncertainty service behind a gateway on sockets, with Redis and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis

from gateway.app import create_app
from services.declarations import declared_capabilities
from services.medical.app import create_app as create_medical
from services.uncertainty.app import create_app as create_uncertainty
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.integration.jobs.conftest import kill_group
from tests.support.chest_xray_models import release_chest_model
from tests.support.processes import until
from tests.support.serving import FLEET_TOKEN
from tests.support.workers import start_worker

ROUTE = "/v1/medical/chest-xray/diagnoses"
QUEUE = "medical.onnx"


@dataclass(frozen=True)
class ChestFleet:
    """What runs.

    Attributes:
        client: of the gateway.
        sha256: digest of the model.
    """

    client: httpx.Client
    sha256: str

    def post(
        self, *films: bytes, accept: str = "application/json", prefer: str | None = None, **form: str
    ) -> httpx.Response:
        """Post films."""
        files = [("file", ("film", film)) for film in films]
        headers = {"Accept": accept} | ({"Prefer": prefer} if prefer else {})
        return self.client.post(ROUTE, files=files, data=form, headers=headers)

    def finish(self, answer: httpx.Response) -> dict[str, Any]:
        """The job that an answer is about, once it has ended."""
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = {}

        def ended() -> bool:
            job.update(self.client.get(answer.headers["location"]).json())
            return job["finished_at"] is not None

        until(ended, said=job)
        return job


@pytest.fixture(scope="module")
def fleet(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChestFleet]:
    folder = tmp_path_factory.mktemp("chest")
    sha256 = release_chest_model(folder / "models" / "medical")
    values: dict[str, Any] = {
        "redis_url": f"{redis_server}/12",
        "blob_url": str(folder / "blobs"),
        "models": folder / "models",
        "inference_threads": 1,
        "worker_heartbeat_s": 0.3,
        "fleet_token": FLEET_TOKEN,
        "quota_requests_per_minute": 1_000_000,
    }
    with ExitStack() as stack:
        values["uncertainty_url"] = stack.enter_context(serve(create_uncertainty(Settings(_env_file=None, **values))))
        values["medical_url"] = stack.enter_context(serve(create_medical(Settings(_env_file=None, **values))))
        settings = Settings(_env_file=None, **values)
        worker = start_worker(settings, QUEUE)
        stack.callback(kill_group, worker)
        gateway = create_app(settings, capabilities=declared_capabilities())
        url = stack.enter_context(serve(gateway))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=60, trust_env=False))
        for domain in ("medical", "uncertainty"):
            ready = f"{values[f'{domain}_url']}/health/ready"
            until(lambda ready=ready: httpx.get(ready).status_code == 200, said=domain)  # type: ignore[misc]
        with redis.Redis.from_url(settings.redis_url) as store:
            until(lambda: bool(store.zcard(f"facet:queue:{QUEUE}:workers")), said="no worker")
        yield ChestFleet(client, sha256)
