"""What answers a request whose body is there in full: a service (`gateway.upstream.proxy`), or the gateway itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from gateway.request_bodies.reader import RequestBody

Call = Callable[[Scope, RequestBody, Receive, Send], Awaitable[None]]
"""Answers a request; `receive` tells only of a caller who leaves."""


class Router(Protocol):
    """Finds who answers a request."""

    def find(self, scope: Scope) -> Call | None:
        """What passes it on to a service; None where the gateway answers by itself."""
