"""What a stream of bytes to a server means: read by two independent parsers, and by a strict look at each head.

h11 is the reference; llhttp (through httptools) is what the services read with. Where they differ, somebody could make
one request look like two.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import h11
import httptools

_LONGEST_HEAD: Final = 1 << 20
_FIELD_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[ \t]*[\x21-\x7e\x80-\xff]?[\t\x20-\x7e\x80-\xff]*")
_REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/1\.[01]")


class FramingError(Exception):
    """The bytes are no HTTP/1 (RFC 9112), or mean something else to another reader."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a server reads it."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...] = field(compare=False)
    """Names in lower case; values without white space around them."""
    body: bytes = field(repr=False)

    def values(self, name: str) -> list[str]:
        """The values of all fields with this name."""
        return [value for key, value in self.fields if key == name]


class RequestReader(Protocol):
    """Reads requests out of bytes that come in pieces."""

    requests: list[Request]
    """The complete ones, in order, also after an error."""

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            FramingError: no server can read this.
        """


class H11Reader:
    """The requests that h11 reads, as a server that answers each of them."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._closed = False

    @property
    def begun(self) -> bool:
        """Whether bytes came that are no whole request yet."""
        return self._head is not None or bool(self._connection.trailing_data[0])

    def feed(self, data: bytes) -> None:
        try:
            self._connection.receive_data(data)
            while not self._closed and self._take(self._connection.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            raise FramingError(f"h11: {error}") from error

    def _take(self, event: object) -> bool:
        """Whether there may be more."""
        if isinstance(event, h11.Request):
            self._head = event
        elif isinstance(event, h11.Data):
            self._body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._finish()
        else:
            return False
        return True

    def _finish(self) -> None:
        head = self._head
        assert head is not None
        fields = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in head.headers)
        method, target = head.method.decode("latin-1"), head.target.decode("latin-1")
        self.requests.append(Request(method, target, fields, bytes(self._body)))
        self._head = None
        self._body.clear()
        # Refused, so that neither CONNECT nor Upgrade changes what follows.
        self._connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        self._connection.send(h11.EndOfMessage())
        if self._connection.our_state is h11.MUST_CLOSE:
            self._closed = True
        else:
            self._connection.start_next_cycle()


class LlhttpReader:
    """The requests that llhttp reads; its callbacks are httptools' protocol."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._fields: list[tuple[str, str]] = []
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise FramingError("llhttp: the connection is handed over to another protocol") from None
        except httptools.HttpParserError as error:
            raise FramingError(f"llhttp: {error}") from error

    def on_message_begin(self) -> None:
        self._url, self._fields = b"", []
        self._body.clear()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        self.requests.append(Request(method, self._url.decode("latin-1"), tuple(self._fields), bytes(self._body)))


class StrictReader:
    """Both readings of one connection, which must agree, and a look at each head for what tolerant readers pass over.

    The gateway asks one thing at a time on a connection, so what follows a request at once is not of its making.

    Args:
        notify: called with each request as soon as it is complete.
    """

    def __init__(self, notify: Callable[[Request], None]) -> None:
        self._notify = notify
        self._reference = H11Reader()
        self._readers: tuple[RequestReader, ...] = (self._reference, LlhttpReader())
        self._raw = bytearray()
        self._count = 0

    @property
    def unfinished(self) -> bool:
        """Whether bytes came that are no whole request yet."""
        return bool(self._raw)

    def feed(self, data: bytes) -> None:
        """Read on.

        Raises:
            FramingError: what came is not well framed.
        """
        self._raw += data
        for reader in self._readers:
            reader.feed(data)
        reference, other = (reader.requests[self._count :] for reader in self._readers)
        if reference != other:
            raise FramingError(f"h11 reads {reference}, llhttp {other}")
        for request in reference:
            require_one_framing(request)
            self._notify(request)
        self._count += len(reference)
        if reference:
            require_strict_head(bytes(self._raw))
            self._raw.clear()
        if len(reference) > 1 or (reference and self._reference.begun):
            raise FramingError(f"a request behind {reference[0]} before its answer")


def require_strict_head(raw: bytes) -> None:
    """Check the first head of some bytes: CRLF at each line's end, no folded lines, no characters that are forbidden.

    Raises:
        FramingError: it is not what a careful client writes.
    """
    line, *fields = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(line):
        raise FramingError(f"request line {line!r}")
    if odd := [one for one in fields if not _FIELD_LINE.fullmatch(one)]:
        raise FramingError(f"field lines {odd!r}")


def require_one_framing(request: Request) -> None:
    """Check that the body has one framing and the request one Host (RFC 9112, sections 3.2 and 6).

    Raises:
        FramingError: it has not.
    """
    framings = request.values("content-length") + request.values("transfer-encoding")
    if len(framings) > 1 or len(request.values("host")) != 1:
        raise FramingError(f"framed by {framings}, host {request.values('host')}: {request}")
    if request.method in {"POST", "PUT", "PATCH"} and not framings:
        raise FramingError(f"no framing of the body of {request}")
