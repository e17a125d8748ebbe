"""`facet webhooks listen` beside a real gateway: messages are shown, forged ones are not, and nothing stays behind."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.webhooks.conftest import Jobs
from tests.support.serving import PATIENCE_S

ROOT = Path(__file__).parents[3]


async def begin(gateway: str) -> Process:
    command = (sys.executable, "-u", "-m", "deploy.operator", "webhooks", "listen", "--gateway", gateway)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE, start_new_session=True)


async def next_line(process: Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()


@pytest.fixture
async def listener(gateway_url: str) -> AsyncIterator[Process]:
    process = await begin(gateway_url)
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def test_messages_are_shown_until_it_is_ended(listener: Process, client: httpx.AsyncClient, jobs: Jobs) -> None:
    said = re.match(r"listening at (http://127\.0\.0\.1:\d+/) as (\w+)", await next_line(listener))
    assert said is not None
    url, identifier = said.groups()
    trial = (await next_line(listener)).rpartition(" ")[2].strip()
    assert (await client.post(trial)).is_success
    assert "webhook.test" in await next_line(listener)
    attempt = await jobs.start()
    attempt.succeed({})
    assert f'"id":"{attempt.record.id}"' in await next_line(listener)
    forged = {"webhook-id": "msg_1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    async with httpx.AsyncClient(trust_env=False) as stranger:
        assert (await stranger.post(url, content=b"{}", headers=forged)).status_code == 401
        assert (await stranger.post(url, content=b"{}")).status_code == 401
    listener.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(listener.wait(), PATIENCE_S) == 0
    assert (await client.get(f"/v1/webhooks/{identifier}")).status_code == 404


async def test_a_gateway_that_does_not_answer_is_named() -> None:
    process = await begin("http://127.0.0.1:9")
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, b"does not answer at http://127.0.0.1:9" in said) == (3, True)
