"""The short way and the long one: the same answers, and when which is taken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from shared.http.context import current_context
from shared.http.express import LONGEST_BODY, Answered, Asked, Express, ExpressLayer
from shared.http.middleware import Telemetry
from shared.problems import NotFound
from shared.telemetry.lines import RequestLines
from shared.telemetry.metrics import HttpMetrics
from shared.telemetry.timing import timed
from tests.support.lanes import CountingLane

INFER = "/v2/models/tiny/infer"


class Lane(CountingLane):
    def __init__(self, *, willing: bool = True) -> None:
        super().__init__()
        self.willing = willing
        self.asked: list[Asked] = []
        self.statuses: list[int] = []
        self.wait: asyncio.Event | None = None
        self.cancelled = False

    def takes(self, scope: Scope, name: str) -> bool:
        return self.willing

    async def answer(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        if asked.name == "unknown":
            raise NotFound("There is no such model.")
        if asked.name == "broken":
            raise RuntimeError("password=secret")
        if self.wait is not None:
            try:
                await self.wait.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        with timed("infer"):
            context = current_context()
        assert context is not None
        return Answered(200, [(b"content-type", b"text/plain")], b"short " + context.caller.encode())

    def noted(self, asked: Asked, status: int) -> None:
        self.statuses.append(status)


class Ways:
    """An application with both ways."""

    def __init__(self, lane: Lane, **options: Any) -> None:
        self.metrics, self.written = HttpMetrics("test"), list[bytes]()
        self.lines = RequestLines("test", write=self.written.append)

        async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("long")(scope, receive, send)

        telemetry = Telemetry(long_way, metrics=self.metrics, lines=self.lines)
        self.express = Express(lane=lane, telemetry=telemetry, route="/v2/models/{name}/infer", **options)
        self.app = ExpressLayer(long_way, express=self.express)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://facet.example")


async def ask(lane: Lane, path: str = INFER, method: str = "POST", **options: Any) -> httpx.Response:
    async with Ways(lane).client() as client:
        return await client.request(method, path, **({"content": b"x"} | options))


async def test_a_small_request_takes_the_short_way_with_all_that_an_answer_has() -> None:
    lane = Lane()
    answer = await ask(lane, headers={"X-Request-ID": "mine", "Facet-Caller": "radiology"})
    assert answer.text == "short radiology"
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["traceparent"].startswith("00-")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["server-timing"].startswith("infer;dur=")
    assert (lane.asked[0].name, lane.asked[0].version, lane.asked[0].body) == ("tiny", None, b"x")
    assert lane.statuses == [200]
    assert current_context() is None


async def test_a_version_may_be_named() -> None:
    lane = Lane()
    await ask(lane, "/v2/models/tiny/versions/1.0.0/infer")
    assert (lane.asked[0].name, lane.asked[0].version) == ("tiny", "1.0.0")


@pytest.mark.parametrize(
    ("path", "method", "options"),
    [
        ("/v1/perception/classifications", "POST", {}),
        ("/v2/models/tiny", "GET", {}),
        ("/v2/models/tiny/infer", "GET", {}),
        ("/v2/models/infer", "POST", {}),
        ("/v2/models/a/b/c/infer", "POST", {}),
        (INFER, "POST", {"content": b"x" * (LONGEST_BODY + 1)}),
        (INFER, "POST", {"headers": {"Idempotency-Key": "one"}}),
        (INFER, "POST", {"headers": {"Content-Encoding": "gzip"}}),
    ],
)
async def test_everything_else_takes_the_long_one(path: str, method: str, options: dict[str, Any]) -> None:
    assert (await ask(Lane(), path, method, **options)).text == "long"


async def test_also_a_body_that_does_not_say_how_long_it_is() -> None:
    async def parts() -> Any:
        yield b"x"

    assert (await ask(Lane(), content=parts())).text == "long"


async def test_also_what_the_process_does_not_take() -> None:
    assert (await ask(Lane(willing=False))).text == "long"


async def test_problems_are_problems_with_what_clients_of_the_protocol_look_for() -> None:
    lane = Lane()
    answer = await ask(lane, "/v2/models/unknown/infer")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["error"] == answer.json()["detail"] == "There is no such model."
    assert lane.statuses == [404]


async def test_errors_hide_their_text() -> None:
    lane = Lane()
    answer = await ask(lane, "/v2/models/broken/infer")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert lane.statuses == [500]


async def test_it_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "facet.http")
    ways = Ways(Lane())
    async with ways.client() as client:
        await client.post(INFER, content=b"x")
    ways.lines.flush()
    assert b'"route":"/v2/models/{name}/infer"' in b"".join(ways.written)
    text = ways.metrics.render().decode()
    assert (
        'facet_http_requests_total{method="POST",process="test",route="/v2/models/{name}/infer",status="200"}' in text
    )
    assert 'facet_http_requests_in_flight{process="test"} 0.0' in text


async def called(app: ExpressLayer, messages: Sequence[dict[str, Any]]) -> list[Any]:
    """What is sent for a request whose messages come as told; the last one is for ever."""
    left, sent = list(messages), list[Any]()

    async def receive() -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": INFER, "raw_path": INFER.encode(), "query_string": b"",
        "headers": [(b"content-length", b"6")],
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


async def test_a_body_in_parts_is_put_together() -> None:
    lane = Lane()
    first = {"type": "http.request", "body": b"abc", "more_body": True}
    parts: list[dict[str, Any]] = [first, {"type": "http.request", "body": b"def"}]
    await called(Ways(lane).app, parts)
    assert lane.asked[0].body == b"abcdef"


async def test_whoever_leaves_in_the_middle_of_a_body_is_not_answered() -> None:
    lane = Lane()
    ways = Ways(lane)
    first = {"type": "http.request", "body": b"abc", "more_body": True}
    parts: list[dict[str, Any]] = [first, {"type": "http.disconnect"}]
    assert await called(ways.app, parts) == []
    assert (lane.asked, lane.statuses, lane.let_in, ways.express.held) == ([], [], 0, 0)
    assert 'status="499"' in ways.metrics.render().decode()


async def test_work_for_whoever_leaves_is_cancelled() -> None:
    lane = Lane()
    lane.wait = asyncio.Event()
    ways = Ways(lane)
    async with asyncio.timeout(10):
        assert await called(ways.app, [{"type": "http.request", "body": b"abcdef"}, {"type": "http.disconnect"}]) == []
    assert lane.cancelled
    assert (lane.statuses, lane.let_in, ways.express.held) == ([499], 0, 0)
    assert 'status="499"' in ways.metrics.render().decode()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_is_refused_is_not_asked_for_a_body() -> None:
    lane = Lane()
    lane.full = True
    ways = Ways(lane)
    sent = await called(ways.app, [{"type": "nothing may be read"}])
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"3") in sent[0]["headers"]
    assert b"Too many wait." in sent[1]["body"]
    assert (lane.asked, lane.statuses, lane.let_in, ways.express.held) == ([], [503], 0, 0)


async def test_what_is_let_in_is_let_out_whatever_becomes_of_it() -> None:
    lane = Lane()
    ways = Ways(lane)
    async with ways.client() as client:
        for name in ("tiny", "unknown", "broken"):
            await client.post(f"/v2/models/{name}/infer", content=b"x")
    assert (lane.let_in, ways.express.held) == (0, 0)


async def test_bodies_beyond_what_may_be_held_are_streamed() -> None:
    lane = Lane()
    lane.wait = asyncio.Event()
    ways = Ways(lane, most_held=10)
    async with ways.client() as client:
        first = asyncio.create_task(client.post(INFER, content=b"123456"))
        await asyncio.sleep(0.02)
        assert (await client.post(INFER, content=b"12345")).text == "long"
        lane.wait.set()
        assert (await first).status_code == 200
        assert (await client.post(INFER, content=b"12345")).text.startswith("short")
