from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import orjson
import pytest

from gateway.job_routes.events import event_stream
from shared.jobs.events import BEGINNING
from tests.integration.gateway.conftest import Bench


@dataclass
class Event:
    id: str
    type: str
    data: dict[str, object]


async def read(response: httpx.Response) -> AsyncIterator[Event]:
    """Parse a stream the way a browser does, comments and retry left out."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "id" in fields:
                yield Event(fields["id"], fields["event"], orjson.loads(fields["data"]))
            fields = {}


async def follow(client: httpx.AsyncClient, job_id: str, **options: object) -> list[Event]:
    async with client.stream("GET", f"/v1/jobs/{job_id}/events", **options) as response:  # type: ignore[arg-type]
        assert response.status_code == 200
        return [event async for event in read(response)]


async def test_events_come_as_they_happen_and_end_with_done(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    async with client.stream("GET", f"/v1/jobs/{attempt.record.id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        events = read(response)
        assert [(await anext(events)).data for _ in range(2)] == [
            {"status": "queued"},
            {"status": "running", "attempt": 1},
        ]
        attempt.note({"step": 1}, event="progress", data={"step": 1, "total": 2, "message": "a\nb\r\nc"})
        progress = await anext(events)
        assert (progress.type, progress.data["message"]) == ("progress", "a\nb\r\nc")
        attempt.succeed({})
        assert [event.type async for event in events] == ["status", "done"]


async def test_every_event_is_read_once_and_in_order_over_reconnects(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    for step in range(20):
        attempt.note(event="progress", data={"step": step})
    attempt.succeed({})
    path = f"/v1/jobs/{attempt.record.id}/events"
    seen: list[Event] = []
    while not seen or seen[-1].type != "done":
        headers = {"Last-Event-ID": seen[-1].id} if seen else {}
        async with client.stream("GET", path, headers=headers) as response:
            events = read(response)
            for _ in range(3):
                event = await anext(events, None)
                if event is not None:
                    seen.append(event)
    steps = [event.data["step"] for event in seen if event.type == "progress"]
    assert steps == list(range(20))
    ids = [tuple(map(int, event.id.split("-"))) for event in seen]
    assert ids == sorted(set(ids))


async def test_after_the_end_there_is_nothing_to_reconnect_for(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    attempt.succeed({})
    *_, last = await follow(client, attempt.record.id)
    path = f"/v1/jobs/{attempt.record.id}/events"
    assert (await client.get(path, headers={"Last-Event-ID": last.id})).status_code == 204
    assert (await client.get(path, params={"last_event_id": last.id})).status_code == 204


async def test_the_parameter_does_what_the_header_does(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    attempt.succeed({})
    everything = await follow(client, attempt.record.id)
    later = await follow(client, attempt.record.id, params={"last_event_id": everything[1].id})
    assert later == everything[2:]


@pytest.mark.parametrize("given", ["yesterday", "1-2-3", "-1", "1-0\x00"])
async def test_an_id_that_no_event_had_is_400(client: httpx.AsyncClient, bench: Bench, given: str) -> None:
    record = await bench.create()
    answer = await client.get(f"/v1/jobs/{record.id}/events", params={"last_event_id": given})
    assert answer.status_code == 400


async def test_a_reader_that_goes_away_leaves_the_job_alone(client: httpx.AsyncClient, bench: Bench) -> None:
    attempt = await bench.start()
    path = f"/v1/jobs/{attempt.record.id}"
    async with client.stream("GET", f"{path}/events") as response:
        await anext(read(response))
    assert (await client.get(path)).json()["status"] == "running"
    assert not attempt.note()


async def collect(bench: Bench, job_id: str, *, longest_s: float, ping_s: float) -> bytes:
    stream = event_stream(bench.store.events, job_id, after=BEGINNING, longest_s=longest_s, ping_s=ping_s)
    return b"".join([part async for part in stream])


async def test_silence_is_broken_by_comments_and_the_connection_ends_in_time(bench: Bench) -> None:
    attempt = await bench.start()
    async with asyncio.timeout(30):
        text = await collect(bench, attempt.record.id, longest_s=0.5, ping_s=0.05)
    assert text.startswith(b"retry: 2000\n\n")
    assert text.count(b": ping\n\n") >= 2
    assert text.endswith(b": reconnect\n\n")
    assert b"event: done" not in text
