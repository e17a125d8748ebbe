"""Streams, long polls and parts of files come through nginx and Caddy as the gateway sends them."""

from __future__ import annotations

import asyncio
import gzip
import time

from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.conftest import Backend
from tests.hostile.fleet import Fleet
from tests.hostile.jobs import cancel_job, job_with_file, waiting_job
from tests.hostile.reverse_proxies.requirements import get


def test_events_arrive_at_once(fleet: Fleet) -> None:
    job = asyncio.run(waiting_job(fleet.redis_url))
    with fleet.connect() as caller:
        caller.send(messages.head("GET", f"/v1/jobs/{job}/events", []))
        text = _read_until(caller, b"event: status")
        assert b"\r\ncontent-type: text/event-stream" in text.lower()
        time.sleep(0.5)
        began = time.time()
        asyncio.run(cancel_job(fleet.redis_url, job))
        text = _read_until(caller, b"event: done")
        arrived = time.time()
    happened = int(text.rpartition(b"id: ")[2].partition(b"-")[0]) / 1000
    assert happened >= began - 0.01
    assert arrived - happened < 0.4


def _read_until(caller: Caller, mark: bytes) -> bytes:
    text = b""
    while mark not in text:
        piece = caller.receive_raw()
        assert piece, text
        text += piece
    return text


def _under_way(gateway: Fleet) -> float:
    """Requests that the gateway answers just now, this one among them."""
    text = gateway.first_answer(messages.head("GET", "/metrics", [])).body.decode()
    (line,) = [one for one in text.splitlines() if one.startswith("facet_http_requests_in_flight{")]
    return float(line.rpartition(" ")[2])


def test_who_leaves_a_stream_leaves_the_gateway_too(fleet: Fleet, gateway: Fleet) -> None:
    job = asyncio.run(waiting_job(fleet.redis_url))
    before = _under_way(gateway)
    callers = [fleet.connect() for _ in range(5)]
    for caller in callers:
        caller.send(messages.head("GET", f"/v1/jobs/{job}/events", []))
        _read_until(caller, b"event: status")
    assert _under_way(gateway) == before + 5
    for caller in callers:
        caller.close()
    deadline = time.monotonic() + 5
    while _under_way(gateway) > before:
        assert time.monotonic() < deadline, "streams are left at the gateway"
        time.sleep(0.05)
    asyncio.run(cancel_job(fleet.redis_url, job))


def test_waiting_for_a_job(fleet: Fleet) -> None:
    job = asyncio.run(waiting_job(fleet.redis_url))
    began = time.monotonic()
    answer = fleet.first_answer(messages.head("GET", f"/v1/jobs/{job}", [b"Prefer: wait=2"]))
    assert answer.status == 200
    assert 1.9 < time.monotonic() - began < 15
    asyncio.run(cancel_job(fleet.redis_url, job))


def test_head(fleet: Fleet) -> None:
    whole, head = get(fleet, "/v1/models"), get(fleet, "/v1/models", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-type"] == whole.fields["content-type"]


def test_compression_is_the_gateways(fleet: Fleet) -> None:
    plain, small = get(fleet, "/openapi.json"), get(fleet, "/openapi.json", b"Accept-Encoding: gzip")
    assert "content-encoding" not in plain.fields
    assert small.fields["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body


def test_a_part_of_a_file(fleet: Fleet, backend: Backend) -> None:
    content = bytes(range(256)) * 4096
    job = asyncio.run(job_with_file(fleet.redis_url, backend.folder / "blobs", "a.zip", content))
    target = f"/v1/jobs/{job}/files/a.zip"
    whole = get(fleet, target)
    assert (whole.status, whole.body, whole.fields["content-length"]) == (200, content, str(len(content)))
    part = get(fleet, target, b"Range: bytes=1000-300999", b"If-Range: " + whole.fields["etag"].encode())
    assert (part.status, part.body) == (206, content[1000:301_000])
    assert part.fields["content-range"] == f"bytes 1000-300999/{len(content)}"
    unchanged = get(fleet, target, b"If-None-Match: " + whole.fields["etag"].encode())
    assert unchanged.status == 304
