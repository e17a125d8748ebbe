"""A caller on a raw socket, who reads answers as strictly as h11 does."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import h11

PATIENCE_S = 15.0
_PIECE_BYTES = 1 << 20


class BrokenAnswer(Exception):
    """What came is no answer of HTTP/1, or ended in its middle."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the statuses of the interim ones before it."""

    status: int
    fields: dict[str, str]
    body: bytes = field(repr=False)
    version: str = "1.1"
    interim: tuple[int, ...] = ()


class Caller:
    """One connection to the gateway.

    Args:
        port: of the gateway.
        patience_s: seconds that one read or write may take.
        address: of loopback, from which it calls.
    """

    def __init__(self, port: int, *, patience_s: float = PATIENCE_S, address: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience_s, source_address=(address, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._left = b""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Leave without a goodbye: the other end gets a RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Send all; False where the connection was closed before."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def send_some(self, data: bytes, *, seconds: float) -> int:
        """Send what the other end takes until it has taken nothing for so many seconds; returns how much that was."""
        sent, before = 0, self._socket.gettimeout()
        self._socket.settimeout(seconds)
        with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            while sent < len(data):
                sent += self._socket.send(data[sent : sent + _PIECE_BYTES])
        self._socket.settimeout(before)
        return sent

    def end_sending(self) -> None:
        """Nothing more will come from here."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def answer(self, *, method: str = "GET") -> Answer | None:
        """The next answer; None where the connection was closed instead.

        Args:
            method: that it answers.

        Raises:
            BrokenAnswer: it is none, or breaks off.
            TimeoutError: nothing came in time.
        """
        reader = _AnswerReader(method)
        data = self._left
        while True:
            if data:
                reader.receive(data)
            elif self._ended:
                if not reader.begun:
                    return None
                reader.end()
            if (answer := reader.next()) is not None:
                self._left = reader.left()
                return answer
            data = b"" if self._ended else self._receive()

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(_PIECE_BYTES)
        except ConnectionResetError:
            data = b""
        self._ended = not data
        return data

    def receive_raw(self) -> bytes:
        """What is there, as it is; empty at the end."""
        data, self._left = self._left, b""
        return data or self._receive()

    def closed_within(self, seconds: float) -> bool:
        """Whether the connection is closed in this time; what comes until then is thrown away."""
        deadline = time.monotonic() + seconds
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            with suppress(TimeoutError):
                self._receive()
        return self._ended


class _AnswerReader:
    """Reads one answer.

    Args:
        method: that it answers.
    """

    def __init__(self, method: str) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        self._connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        self._connection.send(h11.EndOfMessage())
        self._interim: list[int] = []
        self._head: h11.Response | None = None
        self._body = bytearray()
        self.begun = self._ended = False

    def receive(self, data: bytes) -> None:
        """Bytes of the other end."""
        self.begun = True
        self._connection.receive_data(data)

    def end(self) -> None:
        """Nothing more will come: the end of some answers, the middle of others."""
        if self._ended:
            raise BrokenAnswer("closed in the middle of an answer")
        self._ended = True
        self._connection.receive_data(b"")

    def next(self) -> Answer | None:
        try:
            while True:
                event = self._connection.next_event()
                if isinstance(event, h11.InformationalResponse):
                    self._interim.append(event.status_code)
                elif isinstance(event, h11.Response):
                    self._head = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return self._finish()
                else:
                    return None
        except h11.RemoteProtocolError as error:
            raise BrokenAnswer(str(error)) from error

    def _finish(self) -> Answer:
        head = self._head
        assert head is not None
        fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        version = head.http_version.decode()
        return Answer(head.status_code, fields, bytes(self._body), version, tuple(self._interim))

    def left(self) -> bytes:
        """Bytes after the answer."""
        return self._connection.trailing_data[0]
