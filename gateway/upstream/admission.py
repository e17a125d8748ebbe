"""How many requests for an address are sent on at once, learned from its service's refusals.

Under overload most requests are refused. One that is refused here costs neither the call nor the service's time, and is
answered before its body is there; so what the machine can do goes into answers. A service that says that it is full is
sent no more than it had then; a second later one more is tried, then two, four and so on while it does not refuse.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import orjson

from shared.problems import ReducedCapacity

_RETRY_AFTER: Final = b"retry-after"
_PATIENCE_S: Final = 1.0
_UNLIMITED: Final = 4096


@dataclass(slots=True)
class _Address:
    """What is known of one address."""

    in_flight: int = 0
    limit: int = _UNLIMITED
    step: int = 1
    raised_at: float = 0.0
    problem: ReducedCapacity | None = None

    def raise_limit(self, now: float) -> None:
        """Try more, if the last change is long enough ago."""
        if self.limit < _UNLIMITED and now - self.raised_at >= _PATIENCE_S:
            self.limit, self.step, self.raised_at = self.limit + self.step, self.step * 2, now


class Admission:
    """Lets requests in, by the path that they are for."""

    def __init__(self) -> None:
        self._addresses: dict[str, _Address] = {}

    def check(self, path: str) -> None:
        """Refuse where the path's service is known to be full. Counts nothing: an upload counts once it is there.

        Raises:
            ReducedCapacity: it is full.
        """
        address = self._addresses.get(path)
        if address is None or address.limit >= _UNLIMITED:
            return
        address.raise_limit(time.monotonic())
        if address.in_flight >= address.limit and address.problem is not None:
            raise ReducedCapacity(address.problem.detail, retry_after_s=int(address.problem.headers["Retry-After"]))

    def enter(self, path: str) -> int:
        """Count a request that is there in full; returns how many were before it. `leave` when it is over.

        Raises:
            ReducedCapacity: the service is full.
        """
        self.check(path)
        address = self._addresses.get(path)
        if address is None:
            address = self._addresses[path] = _Address()
        before = address.in_flight
        address.in_flight += 1
        return before

    def leave(self, path: str) -> None:
        """A request that was counted is over."""
        address = self._addresses[path]
        address.in_flight -= 1
        if not address.in_flight and address.limit >= _UNLIMITED:
            del self._addresses[path]  # paths may be many, and most of them wrong

    def learn(self, path: str, *, before: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A service answered 503 to a request that was let in.

        Only where it says that more waits than it takes; what is not understood of the answer counts as not said.

        Args:
            path: of the request.
            before: how many were in when it was let in.
            headers: of the answer.
            body: of the answer.
        """
        fields = {key.lower(): value for key, value in headers}
        with suppress(ValueError, KeyError, TypeError):
            answer = orjson.loads(body)
            if answer["type"] != ReducedCapacity.registered_type:
                return
            problem = ReducedCapacity(str(answer["detail"]), retry_after_s=int(fields[_RETRY_AFTER]))
            address = self._addresses[path]
            address.limit = max(1, min(address.limit, before))
            address.step, address.raised_at, address.problem = 1, time.monotonic(), problem
