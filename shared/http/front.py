"""What listens on the socket: uvicorn's protocol, with the short way (`shared.http.express`) beside it.

A request on the short way is read from the socket into the memory that the model gets it from, without a copy in
between, and its answer is written in one piece. Everything else is handed to uvicorn's own protocol byte for byte; both
serve the same connection in turns.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from functools import partial
from typing import Any, Final, cast

import httptools
from starlette.types import Scope
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from shared.http.errors import PROTOCOL_PATH
from shared.http.express import Answered, Express, Passage
from shared.http.front_parts import IdleableProtocol, RequestHead

_BEGINNING: Final = f"POST {PROTOCOL_PATH}models/".encode()
_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_HEAD: Final = 64 * 1024
_READ_BYTES: Final = 256 * 1024
_MOST_AHEAD: Final = 64 * 1024
"""Bytes of further requests that are taken from a connection while one of it is answered."""

_ONE_PIECE: Final = 64 * 1024
"""Bytes of an answer up to which joining head and body costs less than a second write."""

_NEVER_S: Final = 1_000_000
_BUSY_PAUSE_S: Final = 1.0
_STALLED_S: Final = 20.0

_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.argtypes, _new_bytearray.restype = [ctypes.c_char_p, ctypes.c_ssize_t], ctypes.py_object


def _unwritten(size: int) -> bytearray:
    """Memory of so many bytes that is not touched before it is written: whoever only announces a body takes none."""
    return cast("bytearray", _new_bytearray(None, size))


class _Scratch(threading.local):
    """Where bytes arrive that are looked at at once; one for all connections of an event loop."""

    def __init__(self) -> None:
        self.memory = bytearray(_READ_BYTES)


_scratch = _Scratch()


class Front(asyncio.BufferedProtocol):
    """One connection. Give the class to uvicorn as its `http`.

    Args:
        config: of the server; the short way is found at `app.state.express`.
        server_state: of the server.
        app_state: of the lifespan.
        _loop: as uvicorn's protocols have it.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._inner = IdleableProtocol(config, server_state, app_state, _loop)
        self._inner.timeout_keep_alive = _NEVER_S  # idle connections are closed here, whichever way was the last
        self._idle_s = float(config.timeout_keep_alive)
        app = config.loaded_app
        self._app: Any = getattr(app, "app", app)  # uvicorn's layer that believes proxies is around it
        self._express: Express | None = getattr(getattr(self._app, "state", None), "express", None)
        self._server = server_state
        self._loop = self._inner.loop
        self._ahead = bytearray()
        self._passage: Passage | None = None
        self._body, self._arrived, self._unwanted = memoryview(b""), 0, 0
        self._task: asyncio.Task[None] | None = None
        self._keep_alive, self._paused = True, False
        self._active = self._loop.time()

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(self._transport)
        self._server.connections.discard(self._inner)
        self._server.connections.add(cast("Any", self))
        self._timer = self._loop.call_later(self._idle_s, self._close_if_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        self._timer.cancel()
        self._server.connections.discard(cast("Any", self))
        if self._task is not None:
            self._task.cancel()
        elif self._passage is not None:
            self._passage.end()
            self._passage = None
        self._inner.connection_lost(exc)

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`: the transport closes itself."""

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._inner.resume_writing()

    def shutdown(self) -> None:
        """Called by uvicorn: what is under way is answered still."""
        if self._passage is not None:
            self._keep_alive = False
        else:
            self._inner.shutdown()

    def get_buffer(self, sizehint: int) -> memoryview | bytearray:
        """See `asyncio.BufferedProtocol`."""
        del sizehint
        if self._arrived < len(self._body):
            return self._body[self._arrived :]
        return _scratch.memory

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        if self._arrived < len(self._body):
            self._arrived, self._active = self._arrived + nbytes, self._loop.time()
            if self._arrived == len(self._body):
                self._answer()
            return
        data = memoryview(_scratch.memory)[:nbytes]
        if self._unwanted:
            dropped = min(self._unwanted, nbytes)
            self._unwanted -= dropped
            data = data[dropped:]
        if self._task is not None or self._ahead:
            self._ahead += data
            if len(self._ahead) > _MOST_AHEAD and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif data:
            self._take(data)

    def _take(self, data: memoryview) -> None:
        """Bytes that begin a request, or belong to uvicorn's."""
        self._active = self._loop.time()
        if self._express is None or not self._inner.idle or not self._open(data):
            self._inner.data_received(bytes(data))

    # The short way

    def _open(self, data: memoryview) -> bool:
        """Begin a request on the short way; False if it has to go the long one."""
        if data[: len(_BEGINNING)] != _BEGINNING:
            return False
        text = bytes(data[:_LONGEST_HEAD])
        end = text.find(_HEAD_END) + len(_HEAD_END)
        if end < len(_HEAD_END):
            return False
        try:
            head = RequestHead(text[:end])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return False
        passage = self._enter(head)
        if passage is None:
            return False
        self._passage, self._keep_alive = passage, head.keep_alive
        self._begin(passage, data[end:])
        return True

    def _enter(self, head: RequestHead) -> Passage | None:
        assert self._express is not None  # noqa: S101 - for the type checker
        path, _, query = head.url.partition(b"?")
        if head.version != "1.1" or not path.isascii() or b"%" in path or b"#" in head.url or self._inner.root_path:
            return None
        scope: Scope = {
            "type": "http",
            "method": head.method,
            "path": path.decode("ascii"),
            "raw_path": path,
            "query_string": query,
            "headers": head.headers,
            "scheme": self._inner.scheme,
            "app": self._app,
        }
        return self._express.enter(scope)

    def _begin(self, passage: Passage, rest: memoryview) -> None:
        """The head is read; what has come of the body, and perhaps of a next request, is in `rest`."""
        part = min(passage.length, len(rest))
        self._ahead += rest[part:]
        refused = passage.refused()
        if refused is not None:
            self._unwanted = passage.length - part
            self._finish(passage, refused)
            return
        self._body, self._arrived = memoryview(_unwritten(passage.length)), part
        self._body[:part] = rest[:part]
        if part == passage.length:
            self._answer()

    def _answer(self) -> None:
        """The body is whole."""
        body, self._body, self._arrived = self._body, memoryview(b""), 0
        assert self._passage is not None  # noqa: S101 - for the type checker
        self._task = self._loop.create_task(self._work(self._passage, body))
        self._server.tasks.add(self._task)
        self._task.add_done_callback(partial(self._worked, self._passage))

    async def _work(self, passage: Passage, body: memoryview) -> None:
        answered = await passage.answer(body)
        self._task = None
        self._finish(passage, answered)

    def _worked(self, passage: Passage, task: asyncio.Task[None]) -> None:
        """Whatever became of it; a task may be cancelled before it has begun."""
        self._server.tasks.discard(task)
        if task.cancelled():
            passage.end()

    def _finish(self, passage: Passage, answered: Answered) -> None:
        """Write the answer, and go on with what has come meanwhile."""
        self._passage = None
        self._write(answered)
        passage.end()
        self._server.total_requests += 1
        self._active = self._loop.time()
        if not self._keep_alive:
            self._transport.close()
            return
        if self._ahead:
            self._loop.call_soon(self._go_on)  # not at once: many requests in one packet would be many calls deep

    def _go_on(self) -> None:
        """Take what has come while a request was answered."""
        ahead, self._ahead = self._ahead, bytearray()
        if self._transport.is_closing():
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._take(memoryview(ahead))

    def _write(self, answered: Answered) -> None:
        head = [STATUS_LINE[answered.status]]
        for name, value in (*self._server.default_headers, *answered.headers):
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n" if self._keep_alive else b"connection: close\r\n\r\n")
        if len(answered.body) <= _ONE_PIECE:
            head.append(answered.body)
            self._transport.write(b"".join(head))
        else:
            self._transport.writelines((b"".join(head), answered.body))

    def _close_if_idle(self) -> None:
        """Close the connection when nothing has been asked on it for as long as uvicorn keeps one.

        And give up a body of which nothing has come for a while: what it holds is there for others.
        """
        now = self._loop.time()
        if self._passage is not None and self._task is None and now - self._active > _STALLED_S:
            self._keep_alive = False
            self._finish(self._passage, self._passage.stalled())
            return
        left = max(self._active, self._inner.answered_at) + self._idle_s - now
        busy = self._passage is not None or not self._inner.idle
        if left <= 0 and not busy:
            self._transport.close()
            return
        self._timer = self._loop.call_later(max(left, _BUSY_PAUSE_S if busy else 0.0), self._close_if_idle)
