"""Whether the caller of a request is still there, for work that is not worth doing for nobody.

Servers tell of a caller that went away by `http.disconnect`, behind the body. Routes never look at that:
`DisconnectMiddleware` keeps the channel at hand, and `cancel_on_disconnect`, which every inference uses, watches it for
as long as something is waited for or computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import ClassVar

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.problems import Problem

PATIENCE_S = 0.02
"""Seconds before anybody looks whether the caller is still there: most answers are given by then, and looking takes a
task of its own."""


class ClientClosedRequest(Problem):
    """The caller went away. Seen in logs and metrics only, since nobody is there to be answered."""

    status: ClassVar[int] = 499
    slug, title = "client-closed-request", "Client closed request"


class _Channel:
    """The receiving end of one request, shared by who reads the body and who waits for a disconnect."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()
        self._whole = False

    async def receive(self) -> Message:
        """The next message for the application."""
        if self._kept:
            return self._kept.popleft()
        return self._note(await self._receive())

    async def wait_until_gone(self) -> None:
        """Return once the caller is gone; never while there is more of the body than one part that nobody read."""
        while True:
            message = self._note(await self._receive())
            if message["type"] == "http.disconnect":
                return
            self._kept.append(message)
            if not self._whole:
                await asyncio.Event().wait()

    def _note(self, message: Message) -> Message:
        self._whole = self._whole or not message.get("more_body", False)
        return message


_channel: ContextVar[_Channel | None] = ContextVar("facet_channel", default=None)


class DisconnectMiddleware:
    """ASGI layer that makes `cancel_on_disconnect` work below it.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        channel = _Channel(receive)
        token = _channel.set(channel)
        try:
            await self.app(scope, channel.receive, send)
        finally:
            _channel.reset(token)


@asynccontextmanager
async def cancel_on_disconnect(on_leave: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """Cancel what runs inside when the caller of the current request goes away; outside of one, nothing is watched.

    Args:
        on_leave: called just before, to stop what cannot be cancelled, such as a computing thread.

    Raises:
        ClientClosedRequest: that happened.
    """
    channel = _channel.get()
    if channel is None:
        yield
        return

    async def watch(scope: anyio.CancelScope) -> None:
        try:
            await channel.wait_until_gone()
        except Problem:  # the rest of a body that nobody reads is over the limit
            return
        on_leave()
        scope.cancel()

    watchers: list[asyncio.Task[None]] = []
    with anyio.CancelScope() as scope:
        timer = asyncio.get_running_loop().call_later(
            PATIENCE_S, lambda: watchers.append(asyncio.create_task(watch(scope)))
        )
        try:
            yield
        finally:
            timer.cancel()
            for watcher in watchers:
                watcher.cancel()
    if scope.cancel_called:
        raise ClientClosedRequest("The caller went away before there was an answer.")
