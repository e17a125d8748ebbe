"""What `shared.http.front` is put together from: a reader of heads, and uvicorn's protocol with an eye on idleness."""

from __future__ import annotations

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class RequestHead:
    """Reads the head of a request; what is odd about it raises, and is then uvicorn's to answer."""

    def __init__(self, head: bytes) -> None:
        self.url, self.headers = b"", list[tuple[bytes, bytes]]()
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(head)
        self.method = parser.get_method().decode("ascii")
        self.version = parser.get_http_version()
        self.keep_alive = parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self.headers.append((name.lower(), value))


class IdleableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which says when it is idle.

    Attributes:
        answered_at: when the last answer was written (the loop's time), 0 before the first.
    """

    answered_at = 0.0

    @property
    def idle(self) -> bool:
        """Whether it is between two requests, its parser included."""
        cycle: Any = self.cycle  # None at first, whatever its type says
        if cycle is None:
            return self.scope is cycle  # it makes one at the first byte of a request
        return self.scope is cycle.scope and cycle.response_complete and not cycle.more_body

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        self.answered_at = self.loop.time()
