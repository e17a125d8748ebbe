"""Servers that receive webhooks: some behave, some do not. Each runs in a thread, behind a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.types import Receive, Scope, Send

from tests.integration.gateway.servers import serve

PATIENCE_S = 30.0

Answer = tuple[int, dict[str, str], bytes]

TAKEN: Answer = (204, {}, b"")


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes
    path: str


@dataclass
class Receiver:
    """Answers in turn; the last answer repeats. None hangs until the sender gives up."""

    answers: list[Answer | None] = field(default_factory=lambda: [TAKEN])
    received: list[Received] = field(default_factory=list)
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = (await receive())["body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.received.append(Received(headers, body, scope["path"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await receive()  # until the sender hangs up
            return
        status, fields, content = answer
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    def has(self, count: int) -> Callable[[], bool]:
        """Whether so many requests came."""
        return lambda: len(self.received) >= count


@contextmanager
def receiving(*answers: Answer | None) -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(list(answers) or [TAKEN])
    with serve(receiver) as url:
        receiver.url = f"{url}/hook"
        yield receiver


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.01)
