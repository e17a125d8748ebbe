"""Request bodies, read whole before anything is done with them: counted, timed, inflated, small ones in memory."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import anyio.to_thread
from starlette.types import Message, Receive, Scope

from gateway.request_bodies.budget import ByteBudget
from gateway.request_bodies.inflation import Inflater, coding_of
from shared.capabilities.collection import BodyLimits
from shared.problems import BadRequest, ContentTooLarge, RequestTimeout, ServiceUnavailable
from shared.settings import Settings

_CHUNK: Final = 1024 * 1024


class ClientDisconnected(Exception):
    """The caller went away before it was answered."""


class RequestBody:
    """A body that is there in full.

    Attributes:
        size: bytes, inflated.
        content: the bytes, where they are in memory; empty where they are on disk.
        file: where they are on disk; None where they are in memory.
    """

    __slots__ = ("_digest", "_mapped", "content", "file", "size")

    def __init__(self, content: bytes, file: BinaryIO | None = None, size: int = 0, digest: str = "") -> None:
        self.content, self.file, self._digest = content, file, digest
        self.size = size if file is not None else len(content)
        self._mapped: mmap.mmap | None = None

    @property
    def digest(self) -> str:
        """`sha256:` and hexadecimal digits; empty for an empty body."""
        if not self._digest and self.content:
            self._digest = f"sha256:{hashlib.sha256(self.content).hexdigest()}"
        return self._digest

    def buffer(self) -> bytes | mmap.mmap:
        """All of it to look through; on disk, without reading it into memory."""
        if self.file is None:
            return self.content
        if self._mapped is None:
            self._mapped = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._mapped

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it, a mebibyte at a time."""
        if self.file is None:
            yield self.content
            return
        await anyio.to_thread.run_sync(self.file.seek, 0)
        left = self.size
        while left:
            chunk = await anyio.to_thread.run_sync(self.file.read, min(left, _CHUNK))
            left -= len(chunk)
            yield chunk

    def receive(self, rest: Receive) -> Receive:
        """An ASGI channel that gives the body again, and then what comes behind it.

        Args:
            rest: the channel that the body came by; it tells when the caller leaves.
        """
        chunks = self.chunks()
        given = 0

        async def receive() -> Message:
            nonlocal given
            if given < self.size or not given:
                chunk = await anext(chunks, b"")
                given = max(1, given + len(chunk))
                return {"type": "http.request", "body": chunk, "more_body": given < self.size}
            message = await rest()
            while message["type"] == "http.request":
                message = await rest()
            return message

        return receive

    def close(self) -> None:
        """Delete what is on disk."""
        if self._mapped is not None:
            self._mapped.close()
        if self.file is not None:
            self.file.close()


NO_BODY: Final = RequestBody(b"")


class _Collector:
    """What has come of one body."""

    def __init__(self, memory: ByteBudget, disk: ByteBudget, settings: Settings) -> None:
        self._memory, self._disk = memory, disk
        self._in_memory, self._folder = settings.spool_bytes, settings.spool_folder
        self._only: bytes = b""
        self._joined: bytearray | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._held = self._on_disk = 0
        self.size = 0

    async def add(self, data: bytes) -> None:
        self.size += len(data)
        if self._file is None:
            if self.size <= self._in_memory and self._memory.reserve(len(data)):
                self._held += len(data)
                self._append(data)
                return
            self._file = _temporary_file(self._folder)
            self._append(data)
            data, self._only, self._joined = self._in_one(), b"", None
        if not self._disk.reserve(len(data)):
            raise ServiceUnavailable("The uploads that are under way fill the disk space for them. Try again shortly.")
        self._on_disk += len(data)
        try:
            await anyio.to_thread.run_sync(self._write, data)
        except OSError as error:
            raise ServiceUnavailable("There is no disk space left for uploads. Try again later.") from error
        self._memory.release(self._held)
        self._held = 0

    def _append(self, data: bytes) -> None:
        """Most bodies come in one part, which is not copied; of a thousand tiny ones, none is kept as an object."""
        if self._joined is not None:
            self._joined += data
        elif self._only:
            self._joined, self._only = bytearray(self._only + data), b""
        else:
            self._only = data

    def _in_one(self) -> bytes:
        return bytes(self._joined) if self._joined is not None else self._only

    def _write(self, data: bytes) -> None:
        assert self._file is not None  # noqa: S101 - for the type checker
        self._file.write(data)
        self._file.flush()
        self._hash.update(data)

    def body(self) -> RequestBody:
        if self._file is None:
            return RequestBody(self._in_one())
        return RequestBody(b"", self._file, self.size, f"sha256:{self._hash.hexdigest()}")

    def release(self) -> None:
        """Count nothing of it any more."""
        self._memory.release(self._held)
        self._disk.release(self._on_disk)
        self._held = self._on_disk = 0

    def discard(self) -> None:
        self.release()
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
                self._file.close()


def _temporary_file(folder: Path | None) -> BinaryIO:
    """A file without a name, which goes with its last handle."""
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


class HeldBody:
    """A body and the budgets that it is counted in; close it when its request is over."""

    __slots__ = ("_collector", "body")

    def __init__(self, body: RequestBody, collector: _Collector | None = None) -> None:
        self.body, self._collector = body, collector

    def close(self) -> None:
        """Forget the body."""
        self.body.close()
        if self._collector is not None:
            self._collector.release()


class BodyReader:
    """Reads the bodies of all requests.

    Args:
        settings: limits and times.
        limit_of: most bytes of a body by the path of its request; the usual limit for all unless given.

    Attributes:
        memory: bytes of bodies in memory.
        disk: bytes of bodies on disk.
    """

    def __init__(self, settings: Settings, *, limit_of: Callable[[str], int] | None = None) -> None:
        self._settings = settings
        self._limit_of = limit_of or BodyLimits(settings.upload_limit_bytes)
        self.memory = ByteBudget(settings.held_limit_bytes)
        self.disk = ByteBudget(settings.spool_limit_bytes)

    async def read(self, scope: Scope, receive: Receive) -> HeldBody:
        """The whole body of a request.

        Args:
            scope: of the request.
            receive: its channel.

        Raises:
            RequestTimeout: it stopped coming.
            ContentTooLarge: it is larger than this route takes, or inflates to more.
            UnsupportedMediaType: it is compressed in a way that is not known here.
            BadRequest: it ended early, or is not framed or compressed as it says.
            ServiceUnavailable: there is no room for it.
        """
        limit = self._limit_of(scope["path"])
        length, codings = _announced(scope)
        if length > limit:
            raise _too_large(limit)
        coding = coding_of(codings) if codings else None
        collector = _Collector(self.memory, self.disk, self._settings)
        try:
            await self._collect(receive, collector, Inflater(coding) if coding else None, limit)
        except BaseException:
            collector.discard()
            raise
        return HeldBody(collector.body(), collector)

    async def _collect(self, receive: Receive, collector: _Collector, inflater: Inflater | None, limit: int) -> None:
        received, more = 0, True
        pace = _Pace(self._settings)
        try:
            async with asyncio.timeout(pace.stall_s) as patience:
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise _broken_off()
                    data, more = message.get("body", b""), message.get("more_body", False)
                    received += len(data)
                    if received > limit:
                        raise _too_large(limit)
                    await _add(collector, data, inflater, limit)
                    if more:
                        patience.reschedule(pace.deadline(received))
        except TimeoutError:
            raise RequestTimeout(
                "The rest of the body did not come. Send the request again, over a new connection.",
                headers={"Connection": "close"},
            ) from None
        if inflater is not None:
            inflater.require_end()


class _Pace:
    """Until when the next part of a body has to be there: soon, and fast enough on average."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._rate = settings.body_least_bytes_per_s
        self.stall_s = settings.body_timeout_s

    def deadline(self, received: int) -> float:
        return min(self._loop.time(), self._began + received / self._rate) + self.stall_s


async def _add(collector: _Collector, data: bytes, inflater: Inflater | None, limit: int) -> None:
    if inflater is None:
        await collector.add(data)
        return
    async for piece in inflater.pieces(data):
        if collector.size + len(piece) > limit:
            raise _too_large(limit, "The body inflates to more than")
        await collector.add(piece)


def _announced(scope: Scope) -> tuple[int, list[bytes]]:
    """Content-Length, 0 without one, and the values of Content-Encoding."""
    length, codings = 0, []
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value[:20]) if value.isdigit() else 0
        elif name == b"content-encoding":
            codings.append(value)
    return length, codings


def _broken_off() -> BadRequest:
    """The caller left, or what came is no chunk: the server tells both in one way, and the answer does no harm."""
    return BadRequest(
        "The body ended early, or its chunks are not what RFC 9112, section 7.1, says.", headers={"Connection": "close"}
    )


def _too_large(limit: int, what: str = "The request body is larger than") -> ContentTooLarge:
    return ContentTooLarge(f"{what} {limit} bytes.", headers={"Connection": "close"})
