"""Whatever fields a caller sends: a service gets one well-framed request, with nothing of the fleet's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.request_bodies.reader import NO_BODY, RequestBody
from gateway.upstream.aiohttp_transport import AiohttpTransport
from gateway.upstream.headers import onward_headers
from gateway.upstream.transport import UpstreamRequest
from shared.request_context import RequestContext
from tests.integration.gateway.exchanges import OK, on_disk
from tests.integration.gateway.servers import serve_bytes
from tests.unit.gateway.edge.channels import scope_of

CONTEXT = RequestContext("request-1", "a" * 32, "b" * 16, "01", "")
OWN = {
    "host", "content-length", "transfer-encoding", "content-encoding", "connection", "facet-caller", "facet-job-limit",
    "facet-creation-key", "facet-fleet-token", "x-request-id", "traceparent", "tracestate", "forwarded",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-prefix", "x-real-ip",
    "authorization", "x-api-key", "idempotency-key", "expect", "upgrade", "keep-alive", "te", "trailer",
    "proxy-authorization", "proxy-connection", "http2-settings",
}  # fmt: skip
FORGED = "forged"
END_TO_END = [
    "accept",
    "content-type",
    "prefer",
    "if-match",
    "cookie",
    "user-agent",
    "x-own",
    "inference-header-content-length",
]

names = st.sampled_from(sorted(OWN) + END_TO_END)
values = st.one_of(
    st.just(FORGED),
    st.sampled_from(["0", "5", "chunked", "gzip", "close", "keep-alive", "100-continue", "h2c", "a, b", ""]),
    names,
    st.lists(names, max_size=3).map(", ".join),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f\x80\x85\xa0"), max_size=12),
)
headers = st.lists(st.tuples(names, values), max_size=12)
bodies = st.one_of(st.just(b""), st.binary(max_size=50), st.just(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"))


@dataclass
class Recorder:
    """A service that keeps the bytes of a connection, and answers whatever is a request in them."""

    received: bytearray
    url: str


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    received = bytearray()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while data := await reader.read(65536):
            received.extend(data)
            connection.receive_data(data)
            while (event := connection.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
                if isinstance(event, h11.EndOfMessage):
                    writer.write(OK)
                    await writer.drain()
                    connection = h11.Connection(h11.SERVER)
                    break
        writer.close()

    with ExitStack() as stack:
        yield Recorder(received, stack.enter_context(serve_bytes(handler)))


def requests_in(data: bytes) -> list[tuple[h11.Request, bytes]]:
    """All requests of a connection, as a strict parser reads them; fails where something is left over."""
    found: list[tuple[h11.Request, bytes]] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            found.append((head, body))
            rest, _ = connection.trailing_data
            if not rest:
                return found
            connection, head, body = h11.Connection(h11.SERVER), None, b""
            connection.receive_data(rest)
        else:
            raise AssertionError(f"no whole request: {event}")


async def sent(recorder: Recorder, given_headers: list[tuple[str, str]], method: str, body: RequestBody) -> bytes:
    """The bytes that reach the service."""
    recorder.received.clear()
    scope = scope_of(*given_headers, method=method)
    host = recorder.url.partition("://")[2].encode()
    onward = [*onward_headers(scope, host=host, context=CONTEXT), (b"Facet-Fleet-Token", b"secret")]
    sockets = AiohttpTransport()
    try:
        async with asyncio.timeout(10):
            reply = await sockets.open(UpstreamRequest(method, recorder.url, "/v1/medical/x?a=1", onward, body, 5, 5))
            assert (reply.status, b"".join([part async for part in reply.parts()])) == (200, b"ok")
            await reply.close()
    finally:
        await sockets.close()
    return bytes(recorder.received)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_headers=headers, content=bodies, spooled=st.booleans())
async def test_one_request_with_nothing_of_the_fleets_own(
    recorder: Recorder, method: str, given_headers: list[tuple[str, str]], content: bytes, *, spooled: bool
) -> None:
    body = NO_BODY if not content else on_disk(content) if spooled else RequestBody(content)
    with closing(body):
        data = await sent(recorder, given_headers, method, body)
    ((request, arrived),) = requests_in(data)
    assert (request.method.decode(), request.target, arrived) == (method, b"/v1/medical/x?a=1", content)
    found: dict[str, list[str]] = {}
    for name, value in request.headers:
        found.setdefault(name.decode(), []).append(value.decode("utf-8"))
    assert not any(
        FORGED in value for name in (OWN & found.keys()) - {"x-forwarded-host", "forwarded"} for value in found[name]
    )
    assert [value.partition(";host=")[0] for value in found["forwarded"]] == ['for="127.0.0.1";proto=http']
    assert len(found.get("x-forwarded-host", [])) <= 1
    assert found["facet-fleet-token"] == ["secret"]
    assert (found["facet-caller"], found["x-request-id"]) == (["anonymous"], ["request-1"])
    assert found["host"] == [recorder.url.partition("://")[2]]
    assert "transfer-encoding" not in found
    assert found.get("content-length", ["0"]) == [str(len(content))]
    assert not {"facet-job-limit", "facet-creation-key", "authorization", "x-api-key", "upgrade", "te"} & found.keys()
