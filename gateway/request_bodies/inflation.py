"""Compressed request bodies (RFC 9110, section 8.4.1), inflated in bounded pieces."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio.to_thread

from shared.problems import BadRequest, UnsupportedMediaType

ACCEPTED: Final = ("gzip", "deflate")

_PIECE: Final = 1024 * 1024
_INLINE: Final = 16 * 1024
"""Bytes that are inflated on the event loop; more is a thread's work."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB_HEADER_CHECK: Final = 31
_HEAD: Final = 2
"""Bytes that tell zlib's format from the bare one; no body of either is shorter."""


def coding_of(values: list[bytes]) -> str | None:
    """The content coding of a request, None where it has none.

    Args:
        values: of its Content-Encoding fields.

    Raises:
        UnsupportedMediaType: it is another than gzip or deflate, or there are several.
    """
    names = [name.strip().lower() for value in values for name in value.decode("latin-1").split(",")]
    names = [name.removeprefix("x-") for name in names if name not in {"", "identity"}]
    if not names:
        return None
    if len(names) > 1 or names[0] not in ACCEPTED:
        raise UnsupportedMediaType(
            f"Content-Encoding: {', '.join(names)} cannot be read here. Send the body in one of {', '.join(ACCEPTED)}, "
            "or as it is.",
            headers={"Accept-Encoding": ", ".join(ACCEPTED)},
        )
    return names[0]


class Inflater:
    """Inflates one body as it comes; members of a gzip file one after the other.

    Args:
        coding: gzip or deflate (zlib's format, or the bare one that some clients send).
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: Any = None
        self._finished = False
        self._head = b""

    async def pieces(self, data: bytes) -> AsyncIterator[bytes]:
        """What the next bytes of the body inflate to, a mebibyte at a time.

        Raises:
            BadRequest: they are not compressed as stated.
        """
        if self._stream is None and len(data := self._head + data) < _HEAD:
            self._head = data
            return
        while data:
            if len(data) <= _INLINE:
                piece, data = self._inflate(data)
            else:
                piece, data = await anyio.to_thread.run_sync(self._inflate, data)
            if piece:
                yield piece

    def require_end(self) -> None:
        """Check that the body was not cut off.

        Raises:
            BadRequest: it was.
        """
        if self._head if self._stream is None else not self._finished:
            raise BadRequest("The compressed body was cut off: it ends in the middle.")

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece, and the bytes that are left to inflate."""
        if self._stream is None or self._finished:
            if self._finished and self._coding != "gzip":
                raise BadRequest("There are bytes behind the end of the compressed body.")
            self._stream, self._finished = zlib.decompressobj(self._window_bits(data)), False
        try:
            piece: bytes = self._stream.decompress(data, _PIECE)
        except zlib.error:
            raise BadRequest(f"The body is not {self._coding}, as its Content-Encoding says.") from None
        if self._stream.eof:
            self._finished = True
            return piece, self._stream.unused_data
        return piece, self._stream.unconsumed_tail

    def _window_bits(self, data: bytes) -> int:
        if self._coding == "gzip":
            return _GZIP
        is_zlib = data[0] & 15 == zlib.DEFLATED and (data[0] << 8 | data[1]) % _ZLIB_HEADER_CHECK == 0
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS
