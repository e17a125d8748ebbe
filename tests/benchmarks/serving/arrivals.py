"""Open loop: requests at a fixed rate, whether answered or not, from a process of its own.

Unlike wrk, whose connections wait for their answers, this keeps on asking while a server falls behind. Requests that
find no idle connection open a new one, up to a limit; beyond it they count as unsent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import resource
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop

from tests.benchmarks.serving.wire import target_of

CONNECTIONS = 2000
_LAST_ANSWERS_S = 20.0
_STEP_S = 0.05
_TICK_S = 0.001


@dataclass(slots=True)
class Tally:
    """What came back, by status: times in seconds, and how many carried Retry-After."""

    times: dict[int, list[float]] = field(default_factory=dict)
    retry_after: Counter[int] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    """Seconds that each request was sent after its time: large values mean that this process was the limit."""
    broken: int = 0
    unsent: int = 0
    good_in_time: int = 0
    """Answers with 200 that came before the last request was due; what is worked off afterwards is no goodput."""
    ends_at: float = math.inf

    def answered(self, status: int, *, sent: float, retry_after: bool) -> None:
        """Count one answer that is whole as of now."""
        now = time.perf_counter()
        self.times.setdefault(status, []).append(now - sent)
        self.retry_after[status] += retry_after
        self.good_in_time += status == 200 and now <= self.ends_at

    def summary(self) -> dict[str, Any]:
        """Counts and percentiles in milliseconds."""
        return {
            "by_status": {
                str(status): {**percentiles(times), "count": len(times), "with_retry_after": self.retry_after[status]}
                for status, times in sorted(self.times.items())
            },
            "late": percentiles(self.late),
            "good_in_time": self.good_in_time,
            "broken": self.broken,
            "unsent": self.unsent,
        }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds; zeros of nothing."""
    values = np.percentile(seconds, (50, 99, 100)) * 1e3 if seconds else (0.0, 0.0, 0.0)
    return dict(zip(("p50_ms", "p99_ms", "max_ms"), map(float, values), strict=True))


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request in flight.

    Args:
        idle: where it puts itself after an answer.
        tally: where the answer is counted.
    """

    def __init__(self, idle: list[Connection], tally: Tally) -> None:
        self._idle, self._tally = idle, tally
        self._sent: float | None = None
        self._retry_after = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport: Any = transport
        self._parser = httptools.HttpResponseParser(self)

    def ask(self, request: bytes) -> None:
        """Send one request."""
        self._sent, self._retry_after = time.perf_counter(), False
        self._transport.write(request)

    def close(self) -> None:
        """End it; a request in flight has been counted by whoever closes."""
        self._sent = None
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """From the parser."""
        self._retry_after |= name.lower() == b"retry-after" and bool(value)

    def on_message_complete(self) -> None:
        """From the parser: the answer is whole."""
        if self._sent is not None:
            status = self._parser.get_status_code()
            self._tally.answered(status, sent=self._sent, retry_after=self._retry_after)
        self._sent = None
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._idle.append(self)
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Count what will not be answered any more."""
        self._tally.broken += self._sent is not None
        self._sent = None
        if self in self._idle:
            self._idle.remove(self)


class Source:
    """Sends requests on time.

    Args:
        url: where to.
        request: the whole request, head and body.
    """

    def __init__(self, url: str, request: bytes) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._request = request
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._opened = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.tally = Tally()

    def _send(self) -> None:
        if self._idle:
            self._idle.pop().ask(self._request)
        elif self._opened < CONNECTIONS:
            self._opened += 1
            task = asyncio.get_running_loop().create_task(self._open_and_send())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.tally.unsent += 1

    async def _open_and_send(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._idle, self.tally), self._host, self._port
            )
        except OSError:
            self.tally.broken += 1
        else:
            self._connections.append(connection)
            connection.ask(self._request)

    async def run(self, *, rate: float, seconds: float) -> Tally:
        """Send `rate` requests per second for some seconds, then wait for the last answers."""
        began, count = time.perf_counter(), int(rate * seconds)
        self.tally.ends_at = began + seconds
        for number in range(count):
            due = began + number / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(max(wait, _TICK_S))
            self.tally.late.append(time.perf_counter() - due)
            self._send()
            if number % 64 == 63:
                await asyncio.sleep(0)  # answers are read even if this is behind
        for _ in range(int(_LAST_ANSWERS_S / _STEP_S)):
            if self._missing(count):
                await asyncio.sleep(_STEP_S)
        self.tally.broken += self._missing(count)
        await self._close()
        return self.tally

    async def _close(self) -> None:
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)  # transports close in the loop's next round

    def _missing(self, count: int) -> int:
        tally = self.tally
        return count - sum(map(len, tally.times.values())) - tally.broken - tally.unsent


def whole_request(url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """HTTP/1.1 as it goes over the wire."""
    parts = urlsplit(url)
    lines = [f"POST {target_of(url)} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def main() -> None:
    """Print the tally as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--headers", type=json.loads, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, CONNECTIONS + 100), most))
    source = Source(options.url, whole_request(options.url, options.body.read_bytes(), options.headers))
    print(json.dumps(uvloop.run(source.run(rate=options.rate, seconds=options.seconds)).summary()))


if __name__ == "__main__":
    main()
