"""What kinds of job there are. The API side needs names, queues and limits; only a worker imports the functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

from shared.settings import DOMAINS

if TYPE_CHECKING:
    from shared.jobs.context import JobContext

Weight = Literal["onnx", "torch"]

WEIGHTS: tuple[Weight, ...] = ("onnx", "torch")
"""The classes of worker: without and with torch."""

JobFunction = Callable[["JobContext"], Mapping[str, Any] | None]
"""Does the work; returns the result as JSON (large things by their blob digest)."""

HARD_LIMIT_MARGIN_S = 20
"""Seconds between the soft time limit, at which a job ends itself, and the hard one, at which it is killed."""


def queue_name(domain: str, weight: Weight) -> str:
    """The queue of a domain's jobs of one weight, such as `medical.onnx`."""
    return f"{domain}.{weight}"


def queues_of(weight: Weight) -> tuple[str, ...]:
    """The queues that a worker of this weight reads: one for each domain."""
    return tuple(queue_name(domain, weight) for domain in DOMAINS)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of long work."""

    name: str
    """Public name, such as `medical.ct.enhancement-series`."""
    queue: str
    """Which workers do it: `<domain>.<weight>`."""
    function: str
    """`module:name` of the function, imported by the worker only."""
    title: str
    """What it does, in words."""
    time_limit_s: int = 1800
    """Seconds that one attempt may run; then it fails with a problem that says so."""
    cancel_bound_s: float = 5.0
    """Seconds within which a running job stops after a cancel: its longest step on the reference machine."""
    step_unit: str = "step"
    """What `progress.step` counts, such as `slice`."""
    queue_limit: int = 10_000
    """Jobs of this kind that may wait at once; the setting `job_queue_limit` overrules it."""

    def __post_init__(self) -> None:
        if self.function.count(":") != 1:
            raise ValueError(f"function of {self.name} is not of the form module:name")
        if self.time_limit_s <= 0 or self.cancel_bound_s <= 0 or self.queue_limit <= 0:
            raise ValueError(f"limits of {self.name} must be positive")

    @property
    def weight(self) -> str:
        """The class of worker that does it, the last part of the queue's name."""
        return self.queue.rpartition(".")[2]

    def load(self) -> JobFunction:
        """Import the function."""
        module, _, name = self.function.partition(":")
        return cast("JobFunction", getattr(import_module(module), name))


class JobKinds:
    """The kinds that a process knows, by name."""

    def __init__(self, kinds: Iterable[JobKind]) -> None:
        self._kinds: dict[str, JobKind] = {}
        for kind in kinds:
            if kind.name in self._kinds:
                raise ValueError(f"two kinds of job are named {kind.name}")
            self._kinds[kind.name] = kind

    def __iter__(self) -> Iterator[JobKind]:
        return iter(self._kinds.values())

    def __getitem__(self, name: str) -> JobKind:
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def check_time_limits(self, visibility_timeout_s: int) -> None:
        """Refuse kinds that could still run when Redis hands their message to another worker.

        Raises:
            ValueError: names the kinds.
        """
        over = [kind.name for kind in self if kind.time_limit_s + HARD_LIMIT_MARGIN_S >= visibility_timeout_s]
        if over:
            raise ValueError(f"time limit not below the visibility timeout of {visibility_timeout_s} s: {over}")
