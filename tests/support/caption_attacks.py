"""The security service, its worker, and a captioner of random weights behind a real port, which counts what it sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.perception.app import create_app as create_perception
from services.security.app import create_app
from services.security.caption_attack.capability import ATTACKS, PATH
from services.security.caption_attack.captioners.fleet_target import PATH as CAPTIONS
from shared.jobs.store import open_job_store
from shared.settings import Settings
from shared.storage.blobs import BlobStore
from tests.integration.conftest import free_port
from tests.support.serving import running, serving_on
from tests.support.workers import PATIENCE_S, JobBench

_PICTURE = b'; name="file"'


@dataclass
class CountingCaptioner:
    """A service that counts pictures of its captions route before it answers, as the captioner's owner would.

    Attributes:
        app: the perception service.
        pictures: that it was sent.
        pause_s: before each answer, so that a test can break in.
    """

    app: ASGIApp
    pictures: int = 0
    pause_s: float = 0.0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != CAPTIONS:
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        while not messages or messages[-1].get("more_body", False):
            messages.append(await receive())
        self.pictures += b"".join(message.get("body", b"") for message in messages).count(_PICTURE)
        self.asked.set()
        await asyncio.sleep(self.pause_s)
        left = iter(messages)

        async def replay() -> Message:
            return next(left, None) or await receive()

        await self.app(scope, replay, send)


@dataclass(frozen=True)
class AttackBench(JobBench):
    """The service, what it shares with workers, and whom these ask."""

    QUEUE = ATTACKS.queue

    captioner: CountingCaptioner

    async def send(self, *pictures: bytes, path: str = PATH, **form: str) -> httpx.Response:
        """Post a form."""
        files = [("file", ("picture", content)) for content in pictures]
        return await self.client.post(path, files=files, data=form)

    async def post(self, *pictures: bytes, **form: str) -> str:
        """Create a job; returns its id."""
        answer = await self.send(*pictures, **form)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    async def until_asked(self, pictures: int) -> None:
        """Wait until the captioner has seen more pictures than this."""
        async with asyncio.timeout(PATIENCE_S):
            while self.captioner.pictures <= pictures:
                self.captioner.asked.clear()
                await self.captioner.asked.wait()


@asynccontextmanager
async def open_attack_bench(
    redis_url: str, folder: Path, models: Path | None, *, threads: int = 1
) -> AsyncIterator[AttackBench]:
    """All of it but a worker.

    Args:
        redis_url: an empty database.
        folder: for blobs.
        models: with `perception/`, in place of what is released; None for that.
        threads: of an inference.
    """
    port = free_port()
    settings = Settings(
        _env_file=None,
        redis_url=redis_url,
        blob_url=str(folder / "blobs"),
        perception_url=f"http://127.0.0.1:{port}",
        worker_heartbeat_s=0.3,
        inference_threads=threads,
    )
    perception = create_perception(settings.model_copy(update={"models": models}))
    captioner = CountingCaptioner(perception)
    async with (
        open_job_store(settings) as jobs,
        running(create_app(settings)) as client,
        serving_on(captioner, port),
    ):
        yield AttackBench(client, jobs, BlobStore(settings.blob_url), settings, captioner)
