"""The oddly framed requests of this suite under one name each, for what stands in front of the gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tests.hostile import messages
from tests.hostile.fleet import Fleet
from tests.hostile.test_chunks import BROKEN_ENDS, EXTENSIONS, REFUSED_SIZES, TRAILERS, chunked_head, one_chunk, size_of
from tests.hostile.test_heads import REFUSED_FIELDS, REQUEST_LINES, TOLERATED_FIELDS
from tests.hostile.test_lengths import (
    BOTH,
    CODINGS,
    REFUSED_LENGTHS,
    SERVED_LENGTHS,
    TOLERATED_LENGTHS,
    message,
    value_of,
)  # fmt: skip

Case = Callable[[Fleet, str], bytes]
"""Bytes that ask for one thing, with a nonce."""

VALUE: Final = 1.0
"""What every case asks for."""

_LENGTHS = REFUSED_LENGTHS | SERVED_LENGTHS | TOLERATED_LENGTHS
_FIELDS = REFUSED_FIELDS | TOLERATED_FIELDS
_SECONDS = (0, 1, 5, 10_000)
_HEAD_ENDS = (b"\n\n", b"\n\r\n", b"\r\n\n", b"\r\r\n", b"\n\r\r\n", b"\r\n\r\r\n", b"\r\n \r\n\r\n")
_BEFORE = (b"\r\n", b"\n", b"\r", b" \r\n", b"\x00\r\n")


def _chunked(size: bytes, end: bytes) -> Case:
    def make(fleet: Fleet, nonce: str) -> bytes:
        body = messages.infer_json(nonce, VALUE)
        return chunked_head(fleet, nonce) + one_chunk(size_of(size, len(body)), body, end=end)

    return make


def _framed(lines: Sequence[bytes], *, chunks: bool = False) -> Case:
    def make(fleet: Fleet, nonce: str) -> bytes:
        body = messages.infer_json(nonce, VALUE)
        sent = messages.chunked(body) if chunks else body
        return message(fleet, nonce, [value_of(line, len(sent)) for line in lines], sent)

    return make


def _with_field(line: bytes) -> Case:
    return lambda fleet, nonce: fleet.infer(nonce, VALUE, fields=[line])


def _with_request_line(line: bytes) -> Case:
    def make(fleet: Fleet, nonce: str) -> bytes:
        rest = fleet.infer(nonce, VALUE).partition(b"\r\n")[2]
        return line.replace(b"{target}", messages.INFER.encode()) + b"\r\n" + rest

    return make


def _with_head_end(end: bytes) -> Case:
    return lambda fleet, nonce: fleet.infer(nonce, VALUE).replace(b"\r\n\r\n", end, 1)


def _behind(before: bytes) -> Case:
    return lambda fleet, nonce: before + fleet.infer(nonce, VALUE)


def _two_lengths(second: int) -> list[bytes]:
    return [b"Content-Length: %d", b"content-length: %d" % second]


_END: Final = b"\r\n0\r\n\r\n"

CHUNKED: Final[dict[str, Case]] = {
    **{f"size, {name}": _chunked(size, _END) for name, size in REFUSED_SIZES.items()},
    **{f"extension, {name}": _chunked(b"%x" + one, _END) for name, one in EXTENSIONS.items()},
    **{f"end, {name}": _chunked(b"%x", end) for name, end in BROKEN_ENDS.items()},
    **{
        f"trailer, {name}": _chunked(b"%x", b"\r\n0\r\n" + b"\r\n".join([*lines, b"", b""]))
        for name, lines in TRAILERS.items()
    },
}
"""Bodies in chunks that may be wrong."""

HEADS: Final[dict[str, Case]] = {
    **{f"length, {name}": _framed([b"Content-Length: " + one]) for name, one in _LENGTHS.items()},
    **{f"lengths, second {second}": _framed(_two_lengths(second)) for second in _SECONDS},
    **{f"lengths, first {second}": _framed(_two_lengths(second)[::-1]) for second in _SECONDS},
    "lengths, equal": _framed([b"Content-Length: %d"] * 2),
    "length, unsaid": _framed([]),
    "length, nearly the name": _framed([b"Content_Length: %d"]),
    **{
        f"coding, {name}": _framed([b"Transfer-Encoding: " + one for one in values], chunks=True)
        for name, (values, _) in CODINGS.items()
    },
    **{f"both, {name}": _framed(lines, chunks=True) for name, lines in BOTH.items()},
    **{f"field, {name}": _with_field(line) for name, line in _FIELDS.items()},
    **{f"request line, {name}": _with_request_line(line) for name, line in REQUEST_LINES.items()},
    **{f"head ends by {end!r}": _with_head_end(end) for end in _HEAD_ENDS},
    **{f"behind {before!r}": _behind(before) for before in _BEFORE},
}
"""Heads that may be wrong, or say wrongly how the body is framed."""
