"""Fifty readers whose connections are cut anywhere, also inside an event, and a gateway that restarts meanwhile."""

from __future__ import annotations

import asyncio
import random
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.app import create_app
from shared.settings import Settings
from tests.integration.gateway.conftest import Bench
from tests.integration.gateway.servers import serve

READERS = 50
STEPS = 120
PAUSE_S = 0.02


class Reader:
    """Reads as a browser does: an event counts when its blank line is there; what is cut off before is dropped."""

    def __init__(self, path: str, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.events: list[tuple[str, str, bytes]] = []
        self.cuts = 0

    async def read(self, address: list[str]) -> None:
        """Connect, be cut off, and connect again, until the end was read."""
        while not self.events or self.events[-1][1] != "done":
            try:
                await self._connect(address[0], cut_after=self.random.randint(1, 3000))
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)  # the gateway is being restarted

    async def _connect(self, url: str, *, cut_after: int) -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            last = f"Last-Event-ID: {self.events[-1][0]}\r\n" if self.events else ""
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n{last}Connection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            await self._events(reader, cut_after)
        finally:
            writer.close()

    async def _events(self, reader: asyncio.StreamReader, cut_after: int) -> None:
        """Undo the chunks, and stop in the middle of whatever comes after so many bytes."""
        text = b""
        while size := int(await reader.readline() or b"0", 16):
            data = await reader.readexactly(size)
            await reader.readexactly(2)
            room = cut_after - len(data)
            text += data[: max(0, cut_after)]
            cut_after = room
            *whole, text = text.split(b"\n\n")
            for block in whole:
                self._take(block)
            if room <= 0:
                self.cuts += 1
                return

    def _take(self, block: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if not line.startswith(b":"))
        if b"id" in fields:
            self.events.append((fields[b"id"].decode(), fields[b"event"].decode(), fields[b"data"]))


@pytest.mark.slow
async def test_fifty_readers_see_each_event_once_and_in_order(bench: Bench, settings: Settings) -> None:
    attempt = await bench.start()
    readers = [Reader(f"/v1/jobs/{attempt.record.id}/events", seed) for seed in range(READERS)]
    address: list[str] = []

    async def work() -> None:
        for step in range(STEPS):
            attempt.note(event="progress", data={"step": step, "message": "x" * (step % 50)})
            await asyncio.sleep(PAUSE_S)
        attempt.succeed({})

    first = serve(create_app(settings))
    address.append(first.__enter__())
    reading = asyncio.gather(*(reader.read(address) for reader in readers))
    working = asyncio.create_task(work())
    try:
        await asyncio.sleep(STEPS * PAUSE_S / 2)
        await asyncio.to_thread(first.__exit__, None, None, None)
        with serve(create_app(settings)) as url:
            address[0] = url
            await asyncio.wait_for(reading, timeout=60)
            await working
            async with httpx.AsyncClient(base_url=url) as client:
                over = await client.get(readers[0].path, headers={"Last-Event-ID": readers[0].events[-1][0]})
            assert over.status_code == 204
    finally:
        reading.cancel()
    expected = readers[0].events
    steps = [data for _, kind, data in expected if kind == "progress"]
    assert [data.split(b":")[1].split(b",")[0] for data in steps] == [str(step).encode() for step in range(STEPS)]
    ids = [tuple(map(int, identifier.split("-"))) for identifier, _, _ in expected]
    assert ids == sorted(set(ids))
    for reader in readers:
        assert reader.events == expected
    assert min(reader.cuts for reader in readers) >= 1
    assert sum(reader.cuts for reader in readers) >= 3 * READERS
