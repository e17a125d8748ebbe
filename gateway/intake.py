"""How many requests for a model are sent on at once, learned from its service's refusals.

Under overload most requests are refused. One that is refused here costs neither the hop nor the service's time, and is
answered before its body is there; so what the machine can do goes into answers. A service that says that it is full is
sent no more than it had then; a second later one more is tried, then two, four and so on while it does not refuse.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import orjson

from shared.http.express import Asked
from shared.problems import ReducedCapacity

_RETRY_AFTER = b"retry-after"
_PATIENCE_S = 1.0
_MOST = 4096
"""A limit that has grown to this is none."""


@dataclass(slots=True)
class _Model:
    """What is known of one model."""

    in_flight: int = 0
    limit: int = _MOST
    step: int = 1
    raised_at: float = 0.0
    problem: ReducedCapacity | None = None

    def raise_limit(self, now: float) -> None:
        """Try more, if the last change is long enough ago."""
        if self.limit < _MOST and now - self.raised_at >= _PATIENCE_S:
            self.limit, self.step, self.raised_at = self.limit + self.step, self.step * 2, now


class Intake:
    """Lets requests in, by the name and version that they ask for."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str | None], _Model] = {}

    def refusal(self, asked: Asked) -> ReducedCapacity | None:
        """Why a request is refused; None where it is let in, which `ended` must be told of."""
        model = self._models.get((asked.name, asked.version))
        if model is None:
            model = self._models[asked.name, asked.version] = _Model()
        if model.limit < _MOST:
            model.raise_limit(time.monotonic())
            if model.in_flight >= model.limit:
                return model.problem
        asked.before = model.in_flight
        model.in_flight += 1
        return None

    def ended(self, asked: Asked) -> None:
        """A request that was let in is over."""
        key = asked.name, asked.version
        model = self._models[key]
        model.in_flight -= 1
        if not model.in_flight and model.limit >= _MOST:
            del self._models[key]  # names may be many, and most of them wrong

    def full(self, asked: Asked, *, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """A service answered 503 to a request that was let in.

        Only where it says that more waits than it takes; what is not understood of the answer counts as not said.

        Args:
            asked: the request.
            headers: of the answer.
            body: of the answer.
        """
        fields = {key.lower(): value for key, value in headers}
        with suppress(ValueError, KeyError, TypeError):
            said = orjson.loads(body)
            if said["type"] != ReducedCapacity.registered_type:
                return
            problem = ReducedCapacity(str(said["detail"]), retry_after_s=int(fields[_RETRY_AFTER]))
            model = self._models[asked.name, asked.version]
            model.limit = max(1, min(model.limit, asked.before))
            model.step, model.raised_at, model.problem = 1, time.monotonic(), problem
