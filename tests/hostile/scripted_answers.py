"""Answers of services that break HTTP, each by a name."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from typing import Final

from tests.hostile.scripts import Script, answer

_POISON: Final = answer(b"poison", fields=b"X-Poison: yes\r\n")
"""An answer that nobody asked for."""

_TWO = b"Content-Length: 2\r\n"


def _says(*pieces: bytes, closes: bool = False, pause_s: float = 0.0) -> Script:
    """A script that writes pieces with pauses between them."""

    async def script(_: StreamReader, writer: StreamWriter) -> None:
        for place, piece in enumerate(pieces):
            if place:
                await asyncio.sleep(pause_s)
            writer.write(piece)
            await writer.drain()
        if closes:
            writer.close()

    return script


def _repeats(beginning: bytes, piece: bytes, *, times: int) -> Script:
    """A script that writes the same again and again, for as long as it is read."""

    async def script(_: StreamReader, writer: StreamWriter) -> None:
        writer.write(beginning)
        for _round in range(times):
            writer.write(piece)
            await writer.drain()
        writer.close()

    return script


async def _silent(_: StreamReader, writer: StreamWriter) -> None:
    await asyncio.sleep(60)
    writer.close()


async def _resets(_: StreamReader, writer: StreamWriter) -> None:
    writer.transport.abort()


def _head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([status, *lines, b"", b""])


REFUSED: Final[Mapping[str, Script]] = {
    "garbage": _says(b"\x00\x01\x02 garbage\r\n\r\n", closes=True),
    "only-a-body": _says(b"ok", closes=True),
    "another-protocol": _says(b"SSH-2.0-OpenSSH_9.6\r\n", closes=True),
    "tls-alert": _says(b"\x15\x03\x01\x00\x02\x02\x46", closes=True),
    "closes": _says(closes=True),
    "resets": _resets,
    "half-a-head": _says(b"HTTP/1.1 200 OK\r\nContent-", closes=True),
    "no-status": _says(_head(_TWO[:-2], status=b"HTTP/1.1  OK") + b"ok", closes=True),
    "status-of-words": _says(_head(_TWO[:-2], status=b"HTTP/1.1 abc OK") + b"ok", closes=True),
    "space-before-colon": _says(_head(b"Content-Length : 2") + b"ok", closes=True),
    "NUL-in-a-value": _says(_head(b"X-A: a\x00b", b"Content-Length: 2") + b"ok", closes=True),
    "bare-CR-in-a-value": _says(_head(b"X-A: a\rX-Poison: yes", b"Content-Length: 2") + b"ok", closes=True),
    "two-lengths": _says(_head(b"Content-Length: 2", b"Content-Length: 8") + b"ok" + _POISON),
    "length-of-words": _says(_head(b"Content-Length: two") + b"ok", closes=True),
    "length-below-zero": _says(_head(b"Content-Length: -2") + b"ok", closes=True),
    "length-with-plus": _says(_head(b"Content-Length: +2") + b"ok", closes=True),
    "long-value": _repeats(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a" * 65_536, times=200),
    "many-fields": _repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: a\r\n" * 4096, times=200),
    "long-status-line": _repeats(b"HTTP/1.1 200 ", b"a" * 65_536, times=200),
    "interim-flood": _repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, times=50),
    "hints-flood": _repeats(b"", _head(b"X-Poison: yes", status=b"HTTP/1.1 103 Early Hints") * 500, times=50),
    "switches": _says(_head(b"Upgrade: foo", b"Connection: Upgrade", status=b"HTTP/1.1 101 Switching Protocols")),
}
"""What is no answer: the caller is told of a bad gateway."""

CUT_OFF: Final[Mapping[str, Script]] = {
    "too-short": _says(_head(b"Content-Length: 20000") + b"ok", closes=True),
    "chunk-too-short": _says(_head(b"Transfer-Encoding: chunked") + b"100\r\nok", closes=True),
    "no-last-chunk": _says(_head(b"Transfer-Encoding: chunked") + b"2\r\nok\r\n", closes=True),
    "chunk-of-words": _says(_head(b"Transfer-Encoding: chunked") + b"two\r\nok\r\n0\r\n\r\n", closes=True),
    "chunk-below-zero": _says(_head(b"Transfer-Encoding: chunked") + b"-2\r\nok\r\n0\r\n\r\n", closes=True),
    "chunk-overflow": _says(_head(b"Transfer-Encoding: chunked") + b"1" + b"0" * 16 + b"\r\nok\r\n", closes=True),
    "chunk-over-its-size": _says(_head(b"Transfer-Encoding: chunked") + b"1\r\nok\r\n0\r\n\r\n", closes=True),
    "endless-extension": _repeats(_head(b"Transfer-Encoding: chunked") + b"2;a=", b"a" * 65_536, times=200),
}
"""What may be known as no answer too late, when its beginning is sent: then the caller's connection is closed."""

POISONED: Final[Mapping[str, Script]] = {
    "two-answers": _says(answer(b"ok") + _POISON),
    "answer-a-moment-later": _says(answer(b"ok"), _POISON, pause_s=0.05),
    "more-than-the-length": _says(_head(b"Content-Length: 2") + b"ok" + b"too many bytes"),
    "more-a-moment-later": _says(_head(b"Content-Length: 2") + b"ok", b"HTTP/1.1 200", pause_s=0.05),
    "no-content-with-a-body": _says(_head(b"Content-Length: 87", status=b"HTTP/1.1 204 No Content") + _POISON),
    "not-modified-with-a-body": _says(_head(b"Content-Length: 87", status=b"HTTP/1.1 304 Not Modified") + _POISON),
    "interim-behind": _says(answer(b"ok") + b"HTTP/1.1 100 Continue\r\n\r\n"),
    "error-behind": _says(answer(b"ok") + b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", closes=True),
    "length-and-coding": _says(
        _head(b"Content-Length: 7", b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n" + _POISON
    ),
    "trailers": _says(
        _head(b"Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\nX-Poison: yes\r\nContent-Length: 9\r\n\r\n"
    ),
    "nominates-its-length": _says(answer(b"ok", fields=b"Connection: content-length, x-poison\r\nX-Poison: yes\r\n")),
    "until-the-end": _says(_head(b"X-A: a") + b"ok", closes=True),
    "old-version": _says(_head(_TWO[:-2], status=b"HTTP/1.0 200 OK") + b"ok" + _POISON),
    "interim-first": _says(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer(b"ok")),
    "hints-first": _says(_head(b"X-Poison: yes", status=b"HTTP/1.1 103 Early Hints") + answer(b"ok")),
}
"""What holds an answer, and something else that must reach nobody."""

SERVED: Final[Mapping[str, Script]] = {
    "byte-by-byte": _says(*(bytes([byte]) for byte in answer(b"ok")), pause_s=0.001),
    "chunks-of-one-byte": _says(_head(b"Transfer-Encoding: chunked") + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n"),
    "extensions": _says(_head(b"Transfer-Encoding: chunked") + b"2;a=b\r\nok\r\n0;c\r\n\r\n"),
}
"""Odd, and right."""

SCRIPTS: Final[Mapping[str, Script]] = {**REFUSED, **CUT_OFF, **POISONED, **SERVED, "silent": _silent}
