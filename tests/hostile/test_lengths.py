"""Content-Length and Transfer-Encoding in all combinations (RFC 9112, section 6; RFC 9110, section 8.6)."""

from __future__ import annotations

import pytest

from tests.hostile import messages
from tests.hostile.fleet import Fleet

_NO_SUCH_CODING = frozenset({400, 501})
_EITHER = frozenset({200, 400})
_LARGEST_COUNTED = 1 << 50
"""Beyond it a quota of bytes may refuse as well (429), and servers for which it is no number of bytes (400, 431)."""

REFUSED_LENGTHS = {
    "plus": b"+%d", "minus": b"-%d", "minus one": b"-1", "hexadecimal": b"0x%x", "space inside": b"%d 5",
    "list of two values": b"%d, 5", "separator": b"1_0%d", "exponent": b"%de0", "fraction": b"%d.0",
    "parameter": b"%d;q=1", "quoted": b'"%d"', "empty": b"", "words": b"all", "comma": b"%d,",
    "form feed": b"%d\x0c", "vertical tab": b"\x0b%d", "NUL": b"%d\x00", "full width digits": "５５".encode(),
    "over 2^64": b"18446744073709551616", "30 digits": b"9" * 30,
}  # fmt: skip

SERVED_LENGTHS = {"spaces": b"   %d   ", "tabs": b"\t%d\t"}

TOLERATED_LENGTHS = {"zeros before": b"000000%d", "list of equals": b"%d, %d"}


def value_of(template: bytes, length: int) -> bytes:
    return template % tuple([length] * template.count(b"%"))


def message(fleet: Fleet, nonce: str, lines: list[bytes], body: bytes) -> bytes:
    own = [*fleet.fields(nonce), messages.JSON_TYPE]
    return messages.head("POST", messages.INFER, [*own, *lines]) + body


@pytest.mark.parametrize("name", REFUSED_LENGTHS)
def test_a_length_that_is_no_number_is_refused_and_the_connection_closed(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    line = b"Content-Length: " + value_of(REFUSED_LENGTHS[name], len(body))
    outcome = open_fleet.exchange(message(open_fleet, nonce, [line], body))
    assert (outcome.statuses, outcome.followed) == ([400], False)
    assert open_fleet.seen(nonce) == []


@pytest.mark.parametrize("name", SERVED_LENGTHS)
def test_white_space_around_a_length_is_none_of_it(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    line = b"Content-Length:" + value_of(SERVED_LENGTHS[name], len(body))
    outcome = open_fleet.exchange(message(open_fleet, nonce, [line], body))
    assert (outcome.statuses, outcome.followed) == ([200], True)


@pytest.mark.parametrize("name", TOLERATED_LENGTHS)
def test_a_length_said_oddly_is_served_or_refused(open_fleet: Fleet, name: str) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    line = b"Content-Length: " + value_of(TOLERATED_LENGTHS[name], len(body))
    outcome = open_fleet.exchange(message(open_fleet, nonce, [line], body))
    assert outcome.statuses in ([200], [400])
    assert outcome.followed == (outcome.statuses == [200])
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


@pytest.mark.parametrize("length", [1 << 31, 1 << 40, (1 << 53) + 1, (1 << 63) - 1, (1 << 64) - 1])
def test_more_than_may_be_sent_is_refused_before_it_comes(fleet: Fleet, length: int) -> None:
    nonce = fleet.nonce()
    lines = [b"Content-Length: %d" % length]
    answer = fleet.first_answer(message(fleet, nonce, lines, messages.infer_json(nonce, 1.0)))
    assert answer.status == 413 or length > _LARGEST_COUNTED
    assert answer.status in {400, 413, 429, 431}
    assert fleet.seen(nonce) == []


def test_a_length_that_wraps_around_is_refused(open_fleet: Fleet) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    answer = open_fleet.first_answer(
        message(open_fleet, nonce, [b"Content-Length: %d" % ((1 << 64) + len(body))], body)
    )
    assert answer.status in {400, 413, 431}
    assert open_fleet.seen(nonce) == []


def test_two_equal_lengths_are_one_or_refused(fleet: Fleet) -> None:
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    outcome = fleet.exchange(message(fleet, nonce, [b"Content-Length: %d" % len(body)] * 2, body))
    assert outcome.statuses in ([200], [400])
    assert outcome.followed == (outcome.statuses == [200])


@pytest.mark.parametrize("second", [0, 1, 5, 10_000])
@pytest.mark.parametrize("swapped", [False, True])
def test_two_different_lengths_are_refused(open_fleet: Fleet, second: int, *, swapped: bool) -> None:
    nonce = open_fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    lines = [b"Content-Length: %d" % len(body), b"content-length: %d" % second]
    outcome = open_fleet.exchange(message(open_fleet, nonce, lines[::-1] if swapped else lines, body))
    assert (outcome.statuses, outcome.followed) == ([400], False)
    assert open_fleet.seen(nonce) == []


CODINGS = {
    "chunked": ([b"chunked"], frozenset({200})),
    "upper case": ([b"CHUNKED"], frozenset({200})),
    "mixed case": ([b"cHuNkEd"], frozenset({200})),
    "space after": ([b"chunked "], frozenset({200})),
    "tab after": ([b"chunked\t"], frozenset({200})),
    "tab before": ([b"\tchunked"], frozenset({200})),
    "comma after": ([b"chunked,"], _EITHER | _NO_SUCH_CODING),
    "comma before": ([b",chunked"], _EITHER | _NO_SUCH_CODING),
    "twice in a list": ([b"chunked, chunked"], _NO_SUCH_CODING),
    "twice in lines": ([b"chunked", b"chunked"], _NO_SUCH_CODING),
    "xchunked": ([b"xchunked"], _NO_SUCH_CODING),
    "chunkedx": ([b"chunkedx"], _NO_SUCH_CODING),
    "chunked inside": ([b"x chunked"], _NO_SUCH_CODING),
    "identity": ([b"identity"], _NO_SUCH_CODING),
    "identity before": ([b"identity, chunked"], _NO_SUCH_CODING),
    "identity after": ([b"chunked, identity"], _NO_SUCH_CODING),
    "identity in a line after": ([b"chunked", b"identity"], _NO_SUCH_CODING),
    "gzip": ([b"gzip"], _NO_SUCH_CODING),
    "gzip before": ([b"gzip, chunked"], _NO_SUCH_CODING),
    "gzip after": ([b"chunked, gzip"], _NO_SUCH_CODING),
    "unknown before": ([b"foo, chunked"], _NO_SUCH_CODING),
    "parameter": ([b"chunked;q=1"], _NO_SUCH_CODING),
    "quoted": ([b'"chunked"'], _NO_SUCH_CODING),
    "empty": ([b""], _NO_SUCH_CODING),
    "empty and chunked": ([b"", b"chunked"], _EITHER | _NO_SUCH_CODING),
    "vertical tab before": ([b"\x0bchunked"], _NO_SUCH_CODING),
    "vertical tab after": ([b"chunked\x0b"], _NO_SUCH_CODING),
    "form feed after": ([b"chunked\x0c"], _NO_SUCH_CODING),
    "NUL after": ([b"chunked\x00"], _NO_SUCH_CODING),
    "no-break space": ([b"\xa0chunked"], _NO_SUCH_CODING),
    "delete": ([b"chunked\x7f"], _NO_SUCH_CODING),
    "folded": ([b"\r\n chunked"], _EITHER),
    "folded by a tab": ([b"\r\n\tchunked"], _EITHER),
}


@pytest.mark.parametrize("name", CODINGS)
def test_one_chunked_and_nothing_else_frames_a_body(open_fleet: Fleet, name: str) -> None:
    values, statuses = CODINGS[name]
    nonce = open_fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, 1.0))
    lines = [b"Transfer-Encoding: " + value for value in values]
    outcome = open_fleet.exchange(message(open_fleet, nonce, lines, body))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in statuses
    assert outcome.statuses[0] == 200 or not outcome.followed
    assert len(open_fleet.seen(nonce)) == outcome.statuses.count(200)


BOTH = {
    "length first": [b"Content-Length: %d", b"Transfer-Encoding: chunked"],
    "coding first": [b"Transfer-Encoding: chunked", b"Content-Length: %d"],
    "short length": [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
    "no length": [b"Content-Length: 0", b"Transfer-Encoding: chunked"],
    "long length": [b"Transfer-Encoding: chunked", b"Content-Length: 90000"],
    "between lengths": [b"Content-Length: %d", b"Transfer-Encoding: chunked", b"Content-Length: %d"],
}


@pytest.mark.parametrize("name", BOTH)
def test_with_both_the_coding_counts_and_the_connection_is_closed(fleet: Fleet, name: str) -> None:
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, 1.0))
    lines = [value_of(line, len(body)) for line in BOTH[name]]
    outcome = fleet.exchange(message(fleet, nonce, lines, body))
    assert outcome.statuses in ([200], [400])
    assert not outcome.followed
    assert len(fleet.seen(nonce)) == outcome.statuses.count(200)


@pytest.mark.parametrize("coding", [b"xchunked", b"identity", b"chunked\x0b", b"chunked, identity"])
def test_both_with_a_coding_that_some_do_not_see(fleet: Fleet, coding: bytes) -> None:
    nonce = fleet.nonce()
    body = messages.chunked(messages.infer_json(nonce, 1.0)) + messages.SMUGGLED
    lines = [b"Content-Length: %d" % len(body), b"Transfer-Encoding: " + coding]
    outcome = fleet.exchange(message(fleet, nonce, lines, body))
    assert len(outcome.answers) == 1
    assert outcome.statuses[0] in _NO_SUCH_CODING
    assert not outcome.followed


@pytest.mark.parametrize("lines", [[], [b"Content-Length: 0"]], ids=["unsaid", "zero"])
def test_a_body_that_nobody_announced_is_no_body(fleet: Fleet, lines: list[bytes]) -> None:
    nonce = fleet.nonce()
    outcome = fleet.exchange(message(fleet, nonce, lines, messages.infer_json(nonce, 1.0)))
    assert len(outcome.answers) <= 2
    assert all(400 <= status < 500 for status in outcome.statuses)
    assert not outcome.followed


@pytest.mark.parametrize("line", [b"Content_Length: %d", b"Content-Length%%3a %d", b"X-Content-Length: %d"])
def test_a_field_of_nearly_the_name_frames_nothing(fleet: Fleet, line: bytes) -> None:
    nonce = fleet.nonce()
    body = messages.infer_json(nonce, 1.0)
    outcome = fleet.exchange(message(fleet, nonce, [line % len(body)], body))
    assert len(outcome.answers) <= 2
    assert all(400 <= status < 500 for status in outcome.statuses)
    assert not outcome.followed
