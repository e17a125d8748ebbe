"""HTTP/1.0 (RFC 9112, appendix C.2) and Expect (RFC 9110, section 10.1.1)."""

from __future__ import annotations

import asyncio

import pytest

from tests.hostile import messages
from tests.hostile.client import Caller
from tests.hostile.fleet import Fleet
from tests.hostile.jobs import cancelled_job

_OLD = b"HTTP/1.0"


def _infer_old(fleet: Fleet, nonce: str, *fields: bytes) -> bytes:
    body = messages.infer_json(nonce, 1.0)
    own = [*fleet.credentials(), messages.JSON_TYPE, *fields, b"Content-Length: %d" % len(body)]
    return messages.head("POST", messages.INFER, own, version=_OLD) + body


def test_the_old_version_gets_one_answer_and_the_end(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(_infer_old(fleet, nonce))
    assert (outcome.statuses, outcome.followed) == ([200], False)
    assert "transfer-encoding" not in outcome.answers[0].fields
    assert nonce.encode() in outcome.answers[0].body


def test_the_old_version_may_keep_the_connection(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(_infer_old(fleet, nonce, b"Connection: keep-alive"))
    assert outcome.statuses == [200]
    assert "transfer-encoding" not in outcome.answers[0].fields
    assert outcome.followed <= (outcome.answers[0].fields.get("connection", "").lower() == "keep-alive")


@pytest.mark.parametrize("fields", [[], [b"Connection: keep-alive"]], ids=["close", "keep-alive"])
def test_a_stream_of_events_is_not_chunked_for_the_old_version(open_fleet: Fleet, fields: list[bytes]) -> None:
    job = asyncio.run(cancelled_job(open_fleet.redis_url))
    data = messages.head("GET", f"/v1/jobs/{job}/events", fields, version=_OLD)
    outcome = open_fleet.exchange(data, follow=False)
    assert outcome.statuses == [200]
    assert "transfer-encoding" not in outcome.answers[0].fields
    assert outcome.answers[0].body.startswith(b"retry:")


def test_the_old_version_without_host(fleet: Fleet) -> None:
    outcome = fleet.exchange(messages.head("GET", "/health/live", [], host=None, version=_OLD), follow=False)
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {200, 400, 421}


@pytest.mark.parametrize("length", [[], [b"Content-Length: 5"]], ids=["alone", "with a length"])
def test_the_old_version_knows_no_chunks(fleet: Fleet, length: list[bytes]) -> None:
    nonce = fleet.nonce()
    fields = [*fleet.credentials(), messages.JSON_TYPE, *length, b"Transfer-Encoding: chunked"]
    fields.append(b"Connection: keep-alive")
    data = messages.head("POST", messages.INFER, fields, version=_OLD)
    outcome = fleet.exchange(data + messages.chunked(messages.infer_json(nonce, 1.0)))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {200, 400}
    assert not outcome.followed


def _expecting(fleet: Fleet, nonce: str, value: bytes, *, version: bytes = b"HTTP/1.1") -> tuple[bytes, bytes]:
    body = messages.infer_json(nonce, 1.0)
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Expect: " + value, b"Content-Length: %d" % len(body)]
    return messages.head("POST", messages.INFER, fields, version=version), body


def test_who_expects_is_told_to_go_on(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    head, body = _expecting(fleet, nonce, b"100-continue")
    with fleet.connect() as caller:
        caller.send(head)
        assert caller.receive_raw().startswith(b"HTTP/1.1 100 ")
        caller.send(body)
        answer = caller.answer()
    assert answer is not None
    assert answer.status == 200
    assert nonce.encode() in answer.body


def test_who_expects_and_does_not_wait_is_served(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(b"".join(_expecting(fleet, nonce, b"100-continue")))
    assert (outcome.statuses, outcome.followed) == ([200], True)
    assert set(outcome.answers[0].interim) <= {100}


@pytest.mark.parametrize("value", [b"100-Continue", b"200-ok", b"100-continue, 200-ok", b"", b"100-continue\x0b"])
def test_odd_expectations_are_served_or_refused(fleet: Fleet, value: bytes) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(b"".join(_expecting(fleet, nonce, value)))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in {200, 400, 417}
    assert len(fleet.seen(nonce)) == outcome.statuses.count(200)


def test_the_old_version_gets_no_interim_answer(fleet: Fleet) -> None:
    outcome = fleet.exchange(b"".join(_expecting(fleet, fleet.nonce(), b"100-continue", version=_OLD)))
    assert outcome.statuses == [200]
    assert outcome.answers[0].interim == ()


def test_without_a_key_nobody_is_told_to_go_on(keyed_fleet: Fleet) -> None:
    fields = [messages.JSON_TYPE, b"Expect: 100-continue", b"Content-Length: 1000"]
    answer = keyed_fleet.first_answer(messages.head("POST", messages.INFER, fields))
    assert (answer.status, answer.interim) == (401, ())


def test_too_much_is_refused_before_it_is_sent(fleet: Fleet) -> None:
    fields = [*fleet.credentials(), messages.JSON_TYPE, b"Expect: 100-continue", b"Content-Length: 9000000000"]
    answer = fleet.first_answer(messages.head("POST", messages.INFER, fields))
    assert (answer.status, answer.interim) == (413, ())


def test_callers_of_both_versions_on_one_fleet_do_not_mix(fleet: Fleet) -> None:
    nonces = [fleet.nonce() for _ in range(20)]
    callers: list[Caller] = [fleet.connect() for _ in nonces]
    for place, (caller, nonce) in enumerate(zip(callers, nonces, strict=True)):
        caller.send(fleet.infer(nonce) if place % 2 else _infer_old(fleet, nonce))
    for caller, nonce in zip(callers, nonces, strict=True):
        answer = caller.answer()
        caller.close()
        assert answer is not None
        assert nonce.encode() in answer.body
