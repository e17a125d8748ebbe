"""Bodies on their way through nginx and Caddy: large, late, cut off, compressed, announced."""

from __future__ import annotations

import gzip
import io
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.settings import Settings
from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.fleet import BODY_TIMEOUT_S, Fleet
from tests.hostile.framing_cases import CHUNKED, VALUE
from tests.hostile.reverse_proxies.conftest import behind
from tests.hostile.reverse_proxies.programs import caddy_running, needs
from tests.hostile.reverse_proxies.requirements import PROBLEM, require_one_meaning, require_problem, require_single

_LIMIT_BYTES = Settings(_env_file=None).upload_limit_bytes


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
        closing(behind(gateway, port)) as fleet,
        fleet.guarded(),
        fleet.connect() as caller,
    ):
        nonce = _half_a_body(fleet, caller)
        # Of the 30 minutes of the shipped file 3 s are left. Now and then Caddy keeps the connection after them as one
        # between two requests, which may be idle for 75 s.
        assert caller.closed_within(90)
        fleet.close()  # also the other callers' connections may have been idle for too long
        fleet.open_victims()
        assert fleet.seen(nonce) == []


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
    assert picture in require_single(fleet, nonce).body


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
    require_problem(answer, 413)
    assert fleet.reached() == []


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
        assert answer.fields["content-type"] == PROBLEM
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
    require_single(fleet, nonce)


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
    require_one_meaning(fleet, nonce, outcome)


def test_a_compressed_request(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.fields(nonce), messages.JSON_TYPE, b"Content-Encoding: gzip"]
    body = gzip.compress(messages.infer_json(nonce, VALUE))
    outcome = fleet.exchange(messages.request("POST", messages.INFER, body, fields))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    require_one_meaning(fleet, nonce, outcome)
