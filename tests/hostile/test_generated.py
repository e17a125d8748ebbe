"""Generated requests: a grammar of framings, and bytes that are put in, taken out and changed anywhere.

The reference is what two parsers read (h11 and llhttp) in the bytes that are sent in the end: no more requests than
either reads are answered, plus one refusal; nothing reaches the service that neither reads as a request, or more often
than one of them does, and its caller is who sent it; the other callers are as well off as before. The marks of the
requests (canary, nonce, Facet-Caller) may be spoilt by mutations like all else, so nothing is concluded from them.

The same examples are tried at each run. `FACET_HOSTILE_EXAMPLES` tries so many other ones.
"""

from __future__ import annotations

import os
import select
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from tests.hostile import messages
from tests.hostile.client import BrokenAnswer, Caller
from tests.hostile.fleet import Fleet
from tests.hostile.framing import FramingError, H11Reader, LlhttpReader, Request

_EXAMPLES = int(os.environ.get("FACET_HOSTILE_EXAMPLES", "0"))
_USUAL_EXAMPLES = 60
_QUIET_S = 0.05
"""Seconds without a byte after which no more answers are waited for."""

_PATIENCE_S = 1.0

_TOKENS = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b"\x0b", b":", b";", b",", b"0", b"\r\n\r\n", b"0\r\n\r\n", b"chunked",
    b"Content-Length: 0\r\n", b"Content-Length: 40\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n ", b"\xff",
    b"Connection: close",
    b"Connection: content-length\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"HTTP/1.0", b"-", b"+", b"0x",
)  # fmt: skip

_LENGTH_LINES = st.sampled_from(
    [b"Content-Length: %d", b"Content-Length:%d", b"content-length: 0%d", b"Content-Length: %d, %d",
     b"Content-Length: +%d", b"Content-Length : %d", b"Content-Length: %d\r\nContent-Length: 3",
     b"Content-Length:\r\n %d"]
)  # fmt: skip
_CODING_LINES = st.sampled_from(
    [b"Transfer-Encoding: chunked", b"Transfer-Encoding:chunked", b"Transfer-Encoding: gzip, chunked",
     b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked",
     b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"TE: chunked"]
)  # fmt: skip
_OTHER_LINES = st.sampled_from(
    [b"Connection: content-length", b"Connection: host, transfer-encoding", b"Connection: keep-alive",
     b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
     b"Expect: 100-continue", b"Host: localhost", b"X-A: b\r\n c", b"Facet-Caller: radiology", b"Trailer: Host"]
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A token that replaces some bytes at a place, which is a share of the whole."""

    place: float
    removed: int
    token: bytes

    def apply(self, data: bytes) -> bytes:
        start = int(self.place * len(data))
        return data[:start] + self.token + data[start + self.removed :]


_MUTATIONS = st.builds(
    Mutation, st.floats(0, 1, exclude_max=True), st.sampled_from([0, 0, 0, 1, 2, 5]), st.sampled_from([b"", *_TOKENS])
)


@dataclass(frozen=True)
class Draft:
    """A request before its caller is known."""

    method: str
    length: bytes | None
    coding: bytes | None
    others: tuple[bytes, ...]
    inner: bool
    """Whether its body is a request itself."""
    size: int
    """Of the body's chunks."""

    def bytes_for(self, fleet: Fleet, nonce: str, inner: str) -> bytes:
        """The request, with the mark of its caller, and the mark of the request inside, if there is one."""
        fields = [*fleet.credentials(), b"Facet-Caller: radiology", b"Content-Length: 0"]
        inside = messages.head("POST", f"{messages.INFER}?{inner}", fields)
        plain = inside if self.inner else messages.infer_json(nonce, 1.0)
        body = messages.chunked(plain, size=self.size) if self.coding else plain
        lines = [*fleet.fields(nonce), messages.JSON_TYPE, *self.others]
        if self.length is not None:
            lines.append(self.length % tuple([len(body)] * self.length.count(b"%d")))
        if self.coding is not None:
            lines.append(self.coding)
        return messages.head(self.method, messages.INFER, lines) + body


_DRAFTS = st.builds(
    Draft,
    st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD"]),
    st.none() | _LENGTH_LINES,
    st.none() | _CODING_LINES,
    st.lists(_OTHER_LINES, max_size=2).map(tuple),
    st.booleans(),
    st.sampled_from([1, 16, 1000]),
)


def _readings(data: bytes) -> tuple[list[Request], list[Request]]:
    readings = []
    data = data.lstrip(b"\r\n")  # which h11 does not pass over, as servers should (RFC 9112, section 2.2)
    for reader in (H11Reader(), LlhttpReader()):
        for start in range(0, len(data), 4096):
            try:
                reader.feed(data[start : start + 4096])
            except FramingError:
                break
        readings.append(reader.requests)
    return readings[0], readings[1]


def _methods(readings: tuple[list[Request], list[Request]]) -> list[str]:
    """The methods that answers depend on, by place: HEAD, where either parser reads that."""
    pairs = zip_longest(*readings)
    return ["HEAD" if any(one is not None and one.method == "HEAD" for one in pair) else "GET" for pair in pairs]


def _count_answers(caller: Caller, methods: list[str]) -> int:
    """Answers until the end, or until there is quiet.

    A refusal of what no parser reads may be one to a HEAD, and so without the body that its head tells of: that body is
    not waited for.
    """
    count = 0
    ended = False
    while True:
        quiet = not select.select([caller], [], [], _QUIET_S)[0]
        if quiet and ended:
            return count
        if quiet:
            caller.end_sending()
            ended = True
            continue
        try:
            if caller.answer(method=methods[count] if count < len(methods) else "GET") is None:
                return count
        except (BrokenAnswer, TimeoutError):
            return count + 1
        count += 1


@pytest.fixture(scope="module", params=["open", "keyed"])
def gateway(request: pytest.FixtureRequest) -> Fleet:
    fleet: Fleet = request.getfixturevalue(f"{request.param}_gateway")
    return fleet


def _most(readings: tuple[list[Request], list[Request]]) -> Counter[Request]:
    """How often each request is read, by the parser that reads it more often."""
    first, second = map(Counter, readings)
    return first | second


def test_nothing_is_answered_or_executed_that_no_parser_reads(gateway: Fleet) -> None:
    @settings(
        max_examples=_EXAMPLES or _USUAL_EXAMPLES,
        derandomize=not _EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # made smaller, a failure would take minutes, and its bytes are told
    )
    @given(drafts=st.lists(_DRAFTS, min_size=1, max_size=3), mutations=st.lists(_MUTATIONS, max_size=4))
    def attempt(drafts: list[Draft], mutations: list[Mutation]) -> None:
        marks = [(gateway.nonce(), gateway.nonce()) for _ in drafts]
        data = b"".join(draft.bytes_for(gateway, *pair) for draft, pair in zip(drafts, marks, strict=True))
        for mutation in mutations:
            data = mutation.apply(data)
        note(f"sent: {data!r}")
        _send(gateway, data)

    attempt()


def _send(gateway: Fleet, data: bytes) -> None:
    """Send it on a connection of its own, and hold what comes of it against what is read in it."""
    readings = _readings(data)
    with gateway.guarded():
        gateway.exempt_memory("hundreds of small requests: what each of them costs is looked at elsewhere")
        gateway.expect([*readings[0], *readings[1]])
        with gateway.connect(patience_s=_PATIENCE_S) as caller:
            caller.send(data)
            answers = _count_answers(caller, _methods(readings))
        reached = Counter(gateway.reached())
    assert answers <= max(map(len, readings)) + 1
    assert reached <= _most(readings), "reached the service and is read by no parser"
