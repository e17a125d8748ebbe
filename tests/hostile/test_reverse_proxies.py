"""nginx and Caddy before the gateway, as deploy/reverse_proxy configures them: hostile framing comes to nothing there
either, and what callers need of the gateway is left as it is.

Where a proxy does otherwise than the gateway by itself, deploy/reverse_proxy/README.md says so.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.settings import Settings
from tests.hostile import messages
from tests.hostile.client import Answer, Caller
from tests.hostile.conftest import Backend, started
from tests.hostile.fleet import BODY_TIMEOUT_S, Fleet, Outcome, read_outcome
from tests.hostile.framing import Request
from tests.hostile.framing_cases import CHUNKED, HEADS, VALUE
from tests.hostile.jobs import cancel_job, job_with_file, waiting_job
from tests.hostile.reverse_proxies import PREFIX, PROXIES, TLS, caddy_running, installed, needs
from tests.hostile.test_lengths import message
from tests.hostile.test_upgrade import OFFERS

_LIMIT_BYTES = Settings(_env_file=None).upload_limit_bytes
_ELSEWHERE = "127.0.0.9"
"""A caller that is no trusted proxy."""

_PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def gateway(backend: Backend) -> Iterator[Fleet]:
    with started(backend, "proxied", database=3, trusted_proxies="127.0.0.1") as fleet:
        yield fleet


def _behind(gateway: Fleet, port: int) -> Fleet:
    return Fleet(port, gateway.gateway, gateway.tap, gateway.token, gateway.keys, gateway.redis_url)


@pytest.fixture(scope="module", params=list(PROXIES))
def proxy(request: pytest.FixtureRequest) -> str:
    """The name of a program."""
    name: str = request.param
    if not installed(name):
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture(scope="module")
def proxied_gateway(proxy: str, gateway: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with PROXIES[proxy](tmp_path_factory.mktemp(proxy), gateway.port) as port:
        fleet = _behind(gateway, port)
        yield fleet
        fleet.close()


@pytest.fixture
def fleet(proxied_gateway: Fleet) -> Iterator[Fleet]:
    """The gateway behind each of the proxies in turn; all callers come through it."""
    with proxied_gateway.guarded():
        yield proxied_gateway


def _require_one_meaning(fleet: Fleet, nonce: str, outcome: Outcome) -> None:
    """What was served is what was sent, once; what was refused reached nobody, and nothing is read behind it."""
    served = outcome.statuses.count(200)
    assert outcome.statuses in ([], [200]) or outcome.statuses[-1] >= 400
    assert len(outcome.answers) <= 2  # what follows a whole request may be refused as none
    assert [request.body for request in fleet.seen(nonce)] == [messages.infer_json(nonce, VALUE)] * served


@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_one_meaning(fleet: Fleet, proxy: str, name: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(HEADS[name](fleet, nonce))
    _require_one_meaning(fleet, nonce, outcome)
    by_caddy = {502} if (proxy, name) == ("caddy", "field, bare LF before a framing field") else set()
    assert set(outcome.statuses) <= {200, 400, 501, 505} | by_caddy
    # nginx passes control characters in values on: the gateway refuses them, and nginx, which knows where the body
    # ends, keeps its connection.
    by_nginx = proxy == "nginx" and name in {"field, control character in the value", "field, delete in the value"}
    assert outcome.followed <= (outcome.statuses == [200] or by_nginx)


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_have_one_meaning(fleet: Fleet, proxy: str, name: str) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(CHUNKED[name](fleet, nonce))
    _require_one_meaning(fleet, nonce, outcome)
    # Caddy has asked the gateway when it finds that the chunks are none, and blames the gateway.
    assert set(outcome.statuses) <= ({200, 400, 502} if proxy == "caddy" else {200, 400})
    assert outcome.followed <= (outcome.statuses == [200])


@pytest.mark.parametrize("first", ["length", "coding"])
def test_length_and_coding(fleet: Fleet, proxy: str, first: str) -> None:
    """nginx refuses; Caddy reads chunks, passes chunks on, and keeps the connection, which RFC 9112 has it close."""
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, VALUE))
    lines = [b"Content-Length: %d" % (len(body) + 9), b"Transfer-Encoding: chunked"]
    outcome = fleet.exchange(message(fleet, nonce, lines if first == "length" else lines[::-1], body))
    assert (outcome.statuses, outcome.followed) == (([400], False) if proxy == "nginx" else ([200], True))
    _require_one_meaning(fleet, nonce, outcome)


@pytest.mark.parametrize("coding", [b"xchunked", b"identity", b"chunked\x0b", b"chunked, identity"])
def test_a_request_behind_a_coding_that_some_do_not_see(fleet: Fleet, coding: bytes) -> None:
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, VALUE)) + messages.SMUGGLED
    lines = [b"Content-Length: %d" % len(body), b"Transfer-Encoding: " + coding]
    outcome = fleet.exchange(message(fleet, nonce, lines, body))
    assert outcome.statuses in ([400], [501])
    assert not outcome.followed
    assert fleet.seen(nonce) == []


def test_a_request_in_a_body_is_none(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Connection: content-length"]
    outcome = fleet.exchange(messages.request("POST", messages.INFER, messages.SMUGGLED, fields))
    assert len(outcome.answers) == 1
    assert 400 <= outcome.statuses[0] < 500


@pytest.mark.parametrize("cut", [-2, -5, -20, 1])
def test_a_body_that_ends_too_early_is_never_computed(fleet: Fleet, proxy: str, cut: int) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(CHUNKED["extension, name"](fleet, nonce)[:cut], follow=False, end=True)
    # Caddy takes a caller who sends no more for one who has left, and ends what it did not begin by an empty 200.
    answers = [(answer.status, answer.body) for answer in outcome.answers if answer.status != 400]
    assert answers in ([], [(200, b"")] if proxy == "caddy" else [])
    assert not outcome.followed
    assert fleet.seen(nonce) == []


def _half_a_body(fleet: Fleet, caller: Caller) -> str:
    nonce = fleet.nonce()
    caller.send(fleet.infer(nonce)[:-30])
    return nonce


def test_a_body_that_stops_coming(fleet: Fleet, proxy: str) -> None:
    """The gateway ends it with 408. nginx says so at once; Caddy would first read the rest, which does not come."""
    with fleet.connect() as caller:
        nonce = _half_a_body(fleet, caller)
        if proxy == "nginx":
            answer = caller.answer()
            assert answer is not None
            assert answer.status == 408
        assert caller.closed_within(BODY_TIMEOUT_S + 2) == (proxy == "nginx")
    assert fleet.seen(nonce) == []


@needs("caddy")
def test_caddy_ends_a_request_that_lasts_too_long(gateway: Fleet, tmp_path: Path) -> None:
    with (
        caddy_running(tmp_path, gateway.port, longest_request="3s") as port,
        closing(_behind(gateway, port)) as fleet,
        fleet.guarded(),
        fleet.connect() as caller,
    ):
        nonce = _half_a_body(fleet, caller)
        # Of the 30 minutes of the shipped file nothing is left but this; a busy machine takes its time.
        assert caller.closed_within(30)
        assert fleet.seen(nonce) == []


def test_requests_that_come_early_are_answered_in_their_order(fleet: Fleet) -> None:
    nonces = [fleet.nonce() for _ in range(20)]
    outcome = fleet.exchange(b"".join(fleet.infer(nonce) for nonce in nonces))
    assert (outcome.statuses, outcome.followed) == ([200] * len(nonces), True)
    assert [nonce.encode() in answer.body for nonce, answer in zip(nonces, outcome.answers, strict=True)] == [True] * 20


@pytest.mark.parametrize("field", [b"Content-Length: nine", b"Transfer-Encoding: x, chunked", b"X-\x00: a"])
def test_a_request_behind_a_refused_one_is_not_executed(fleet: Fleet, field: bytes) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(messages.head("POST", messages.INFER, [field]) + fleet.infer(nonce))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {400, 501}
    assert not outcome.followed
    assert fleet.seen(nonce) == []


def test_a_request_behind_close_is_not_executed(fleet: Fleet) -> None:
    first, second = fleet.nonce(), fleet.nonce()
    outcome = fleet.exchange(fleet.infer(first, fields=[b"Connection: close"]) + fleet.infer(second))
    assert (outcome.statuses, outcome.followed) == ([200], False)
    assert fleet.seen(second) == []


@pytest.mark.parametrize("name", OFFERS)
def test_an_offer_of_another_protocol_ends_at_the_proxy(fleet: Fleet, name: str) -> None:
    nonce = fleet.nonce()
    with fleet.connect() as caller:
        sentinel = fleet.nonce()
        caller.send(fleet.infer(nonce, fields=OFFERS[name]) + fleet.infer(sentinel))
        outcome = read_outcome(caller, sentinel)
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert outcome.answers[0].interim == ()
    _require_single(fleet, nonce)


def _require_single(fleet: Fleet, nonce: str) -> Request:
    (request,) = fleet.seen(nonce)
    return request


_CLAIMS = (
    b"X-Forwarded-For: 10.1.2.3", b"x-forwarded-for: 10.1.2.3, 127.0.0.1", b"X_Forwarded_For: 10.1.2.3",
    b"X-Forwarded-Proto: https", b"X-Forwarded-Prefix: /evil", b"X-Forwarded-Host: evil.example",
    b"X-Real-IP: 10.1.2.3", b"Forwarded: for=10.1.2.3;proto=https",
)  # fmt: skip


@pytest.mark.parametrize(
    "nominated", [None, b"x-forwarded-for, x-forwarded-proto, x-forwarded-prefix, forwarded, host"]
)
def test_a_caller_does_not_say_who_it_is(fleet: Fleet, nominated: bytes | None) -> None:
    nonce = fleet.nonce()
    fields = [*_CLAIMS, *messages.FORGED, *([b"Connection: " + nominated] if nominated else [])]
    with Caller(fleet.port, address=_ELSEWHERE) as caller:
        caller.send(fleet.infer(nonce, fields=fields))
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    request = _require_single(fleet, nonce)
    assert request.values("x-forwarded-for") == [_ELSEWHERE]
    assert request.values("x-forwarded-proto") == ["http"]
    assert request.values("x-forwarded-host") == ["localhost"]
    assert request.values("forwarded") == [f'for="{_ELSEWHERE}";proto=http;host="localhost"']
    assert request.values("x-forwarded-prefix") == []
    assert "evil" not in answer.body.decode()


def test_the_port_of_the_host_is_kept(fleet: Fleet) -> None:
    """A page of the gateway's own may change things only where Host and Origin agree, port included."""
    nonce = fleet.nonce()
    for origin, status in ((b"http://localhost:8080", 200), (b"http://localhost", 403)):
        fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Origin: " + origin]
        body = messages.infer_json(nonce, VALUE)
        fields.append(b"Content-Length: %d" % len(body))
        answer = fleet.first_answer(messages.head("POST", messages.INFER, fields, host=b"localhost:8080") + body)
        assert answer.status == status


def test_names_of_others_are_not_answered(fleet: Fleet) -> None:
    answer = fleet.first_answer(messages.head("GET", "/v1/models", [], host=b"evil.example"))
    assert answer.status == 421


def _large_picture() -> bytes:
    content, pixels = io.BytesIO(), np.random.default_rng(0).integers(0, 256, (1344, 1344, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_a_picture_of_five_mebibytes(fleet: Fleet) -> None:
    fleet.exempt_memory("the picture itself is in it")
    nonce, picture = fleet.nonce(), _large_picture()
    assert len(picture) > 5 << 20
    fields = [*fleet.fields(nonce), messages.FORM_TYPE]
    outcome = fleet.exchange(messages.request("POST", messages.IMAGES, messages.form(nonce, picture), fields))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert picture in _require_single(fleet, nonce).body


def _too_large(fleet: Fleet, how: str) -> list[bytes]:
    fields, size = [*fleet.fields(fleet.nonce()), messages.RAW_TYPE], _LIMIT_BYTES + 1
    if how == "announced":
        return [messages.head("POST", messages.INFER, [*fields, b"Content-Length: %d" % size])]
    if how == "sent":
        return [messages.head("POST", messages.INFER, [*fields, b"Content-Length: %d" % size]), bytes(size)]
    return [
        messages.head("POST", messages.INFER, [*fields, b"Transfer-Encoding: chunked"]),
        messages.chunked(bytes(size)),
    ]


@pytest.mark.parametrize("how", ["announced", "sent", "chunks"])
def test_too_large_a_body_is_a_problem(fleet: Fleet, how: str) -> None:
    fleet.exempt_memory("64 MiB went through")
    with fleet.connect() as caller:
        for part in _too_large(fleet, how):
            caller.send(part)
        answer = caller.answer()
    _require_problem(answer, 413)
    assert fleet.reached() == []


def _require_problem(answer: Answer | None, status: int) -> None:
    assert answer is not None
    assert (answer.status, answer.fields["content-type"]) == (status, _PROBLEM)
    assert json.loads(answer.body)["status"] == status


@pytest.mark.parametrize("size", [100_000, 1 << 20, 8 << 20])
def test_an_early_refusal_reaches_who_is_still_sending(fleet: Fleet, size: int) -> None:
    """The gateway answers before it has the body, takes a mebibyte more, and closes: beyond, a proxy that still writes
    may lose the answer and say so.
    """
    fleet.exempt_memory("much went through")
    data = messages.head("POST", messages.INFER, [b"Content-Length: %d" % size], host=b"evil.example") + bytes(size)
    statuses = set()
    for _ in range(10):
        with fleet.connect() as caller:
            caller.send(data)
            answer = caller.answer()
        assert answer is not None
        assert answer.fields["content-type"] == _PROBLEM
        statuses.add(answer.status)
    assert statuses <= ({421} if size <= 1 << 20 else {421, 502})


def test_who_expects_is_told_to_go_on(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    head, _, body = fleet.infer(nonce, fields=[b"Expect: 100-continue"]).partition(b"\r\n\r\n")
    with fleet.connect() as caller:
        caller.send(head + b"\r\n\r\n")
        assert caller.receive_raw().startswith(b"HTTP/1.1 100 ")
        caller.send(body)
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    _require_single(fleet, nonce)


@pytest.mark.parametrize("size", [50, 1000, 8 << 20])
def test_what_who_expects_does_not_send_is_not_taken_from_others(fleet: Fleet, proxy: str, size: int) -> None:
    """A connection to the gateway on which a body is missing must not be used again (CVE-2024-24791)."""
    fields = [b"Expect: 100-continue", b"Content-Length: %d" % size]
    for _ in range(5):
        with fleet.connect() as caller:
            caller.send(messages.head("POST", messages.INFER, fields, host=b"evil.example"))
            if proxy == "nginx":
                answer = caller.answer()
                assert answer is not None
                assert (answer.status, answer.interim) == (421, (100,))
            else:  # the answer follows when more of the body comes
                assert caller.receive_raw() == b"HTTP/1.1 100 Continue\r\n\r\n"
        fleet.require_own_answers()


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"200-ok", b""])
def test_who_expects_and_does_not_wait_is_served_or_refused(fleet: Fleet, value: bytes) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(fleet.infer(nonce, VALUE, fields=[b"Expect: " + value]))
    assert outcome.statuses in ([200], [417])
    assert set(outcome.answers[0].interim) <= {100}
    _require_one_meaning(fleet, nonce, outcome)


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
    assert 1.9 < time.monotonic() - began < 4
    asyncio.run(cancel_job(fleet.redis_url, job))


def _get(fleet: Fleet, target: str, *fields: bytes, method: str = "GET") -> Answer:
    outcome = fleet.exchange(messages.head(method, target, fields), methods=[method])
    assert outcome.followed
    (answer,) = outcome.answers
    return answer


def test_head(fleet: Fleet) -> None:
    whole, head = _get(fleet, "/v1/models"), _get(fleet, "/v1/models", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-type"] == whole.fields["content-type"]


def test_compression_is_the_gateways(fleet: Fleet) -> None:
    plain, small = _get(fleet, "/openapi.json"), _get(fleet, "/openapi.json", b"Accept-Encoding: gzip")
    assert "content-encoding" not in plain.fields
    assert small.fields["content-encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body


def test_a_compressed_request(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Content-Encoding: gzip"]
    body = gzip.compress(messages.infer_json(nonce, VALUE))
    outcome = fleet.exchange(messages.request("POST", messages.INFER, body, fields))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    _require_one_meaning(fleet, nonce, outcome)


def test_a_part_of_a_file(fleet: Fleet, backend: Backend) -> None:
    content = bytes(range(256)) * 4096
    job = asyncio.run(job_with_file(fleet.redis_url, backend.folder / "blobs", "a.zip", content))
    target = f"/v1/jobs/{job}/files/a.zip"
    whole = _get(fleet, target)
    assert (whole.status, whole.body, whole.fields["content-length"]) == (200, content, str(len(content)))
    part = _get(fleet, target, b"Range: bytes=1000-300999", b"If-Range: " + whole.fields["etag"].encode())
    assert (part.status, part.body) == (206, content[1000:301_000])
    assert part.fields["content-range"] == f"bytes 1000-300999/{len(content)}"
    unchanged = _get(fleet, target, b"If-None-Match: " + whole.fields["etag"].encode())
    assert unchanged.status == 304


@pytest.mark.parametrize("size", [20_000, 60_000])
def test_a_long_head_is_served(fleet: Fleet, size: int) -> None:
    assert _get(fleet, "/health/live", b"X-Long: " + b"a" * size).status == 200


def test_a_head_over_the_limit_is_refused(fleet: Fleet) -> None:
    lines = [b"X-%d: " % number + b"a" * 9000 for number in range(8)]
    assert fleet.first_answer(messages.head("GET", "/health/live", lines)).status == 431


@pytest.fixture(scope="module")
def prefixed(proxy: str, gateway: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Serves below /facet as well, by the lines that are there for it."""
    with PROXIES[proxy](tmp_path_factory.mktemp(proxy), gateway.port, PREFIX) as port:
        yield _behind(gateway, port)


def test_below_a_path(prefixed: Fleet) -> None:
    for _ in range(2):
        asyncio.run(waiting_job(prefixed.redis_url))
    claim = b"X-Forwarded-Prefix: /evil"
    for path in ("/facet", ""):
        answer = prefixed.first_answer(messages.head("GET", f"{path}/v1/jobs?limit=1", [claim]))
        assert answer.status == 200
        assert answer.fields["link"].startswith(f"<{path}/v1/jobs?")


def _certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", f"{folder}/privkey.pem", "-out", f"{folder}/fullchain.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *files, *names, "-days", "2"], check=True, capture_output=True)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="needs openssl and curl")
def test_with_a_certificate(proxy: str, gateway: Fleet, tmp_path: Path, version: str) -> None:
    _certificate(tmp_path)
    with gateway.guarded(), PROXIES[proxy](tmp_path, gateway.port, TLS) as port:
        nonce = gateway.nonce()
        asked = tmp_path / "asked.json"
        asked.write_bytes(messages.infer_json(nonce, VALUE))
        command = [
            "curl",
            "-sS",
            version,
            "--cacert",
            f"{tmp_path}/fullchain.pem",
            "-w",
            "%{http_version} %{http_code}",
        ]
        fields = ["-H", "Content-Type: application/json", "-o", "/dev/null", "--data-binary", f"@{asked}"]
        address = f"https://localhost:{port}{messages.INFER}"
        said = subprocess.run([*command, *fields, address], check=True, capture_output=True, text=True, timeout=30)
        assert said.stdout == ("2 200" if version == "--http2" else "1.1 200")
        assert _require_single(gateway, nonce).values("x-forwarded-proto") == ["https"]
