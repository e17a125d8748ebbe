"""A job of a real worker, told to a real receiver by a real gateway."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import httpx
import orjson
import pytest
from standardwebhooks import Webhook

from gateway.app import create_app
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.gateway.servers import serve
from tests.integration.jobs import job_kinds
from tests.integration.webhooks.receivers import receiving, until

pytestmark = pytest.mark.usefixtures("worker")


async def test_a_job_that_a_worker_did_arrives(jobs: JobStore, fleet_settings: Settings, tmp_path: Path) -> None:
    settings = fleet_settings.model_copy(update={"webhook_allowed_networks": (ip_network("127.0.0.0/8"),)})
    with receiving() as receiver, serve(create_app(settings)) as url:
        async with httpx.AsyncClient(base_url=url) as client:
            wanted = {"url": receiver.url, "events": ["job.started", "job.succeeded", "job.failed"]}
            webhook = (await client.post("/v1/webhooks", json=wanted)).json()
            arguments = {"steps": 2, "step_s": 0.02, "ledger": str(tmp_path / "ledger")}
            done = await jobs.create(job_kinds.COUNT, arguments)
            refused = await jobs.create(job_kinds.REFUSE, {})
            await until(receiver.has(4))
            for request in receiver.received:
                Webhook(webhook["secret"]).verify(request.body, request.headers)
            told = [orjson.loads(request.body) for request in receiver.received]
            result = next(content["data"]["links"]["result"] for content in told if content["type"] == "job.succeeded")
            read = (await client.get(result)).json()
            assert (await client.delete(f"/v1/webhooks/{webhook['id']}")).status_code == 204
    assert {(content["type"], content["data"]["id"]) for content in told} == {
        ("job.started", done.id),
        ("job.succeeded", done.id),
        ("job.started", refused.id),
        ("job.failed", refused.id),
    }
    assert read == {"done": [[1, 0], [1, 1]]}
