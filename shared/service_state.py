"""What the routes of a service work with, and what their capabilities have opened for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Depends, FastAPI, Request

from shared.answers.stored_files import AnswerFiles
from shared.jobs.store import JobStore
from shared.runtime.batching.model_batchers import Batchers
from shared.runtime.compute_pool import ComputePool
from shared.runtime.models.registry import ModelRegistry
from shared.settings import Settings
from shared.storage.blobs import BlobStore

State = TypeVar("State")


class CapabilityStates:
    """What the capabilities of a service have opened, each found by its type."""

    def __init__(self) -> None:
        self._by_type: dict[type, object] = {}

    def add(self, state: object) -> None:
        """Make a state known.

        Raises:
            ValueError: there is one of this type.
        """
        if type(state) in self._by_type:
            raise ValueError(f"two capabilities open a {type(state).__name__}")
        self._by_type[type(state)] = state

    def get(self, kind: type[State]) -> State:
        """The state of a type.

        Raises:
            KeyError: nobody has opened one.
        """
        found = self._by_type[kind]
        assert isinstance(found, kind)  # noqa: S101 - it is found by its type
        return found


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the routes of a service work with; found at `app.state.service`."""

    settings: Settings
    models: ModelRegistry
    compute_pool: ComputePool
    """For numerics, and for what is large in memory: its budget is in pixels, as many as one image may have."""
    decode_pool: ComputePool
    """For reading posted pictures of batched models: as many may wait as may wait for a batch."""
    batchers: Batchers
    jobs: JobStore
    blobs: BlobStore
    answer_files: AnswerFiles
    """What answers link to."""
    states: CapabilityStates = field(default_factory=CapabilityStates)
    """What capabilities have opened."""


StateOpener = Callable[[ServiceState], AbstractAsyncContextManager[object]]
"""Opens the state of a capability when the service starts, and closes it when the service ends."""

ServiceWarmUp = Callable[[ServiceState], object]
"""Called once, in a thread, before a service says that it is ready: compiles, plans, makes sessions."""


def state_of_application(app: FastAPI) -> ServiceState:
    """The state of a service that runs."""
    state: ServiceState = app.state.service
    return state


def service_state(request: Request) -> ServiceState:
    """The state of the service that got this request."""
    return state_of_application(request.app)


Service = Annotated[ServiceState, Depends(service_state)]
"""Annotate a route's parameter with this to get the service's state."""


def state_of(kind: type[State]) -> Callable[[Request], Awaitable[State]]:
    """A dependency that gives routes the state that their capability has opened: `Depends(state_of(Streams))`."""

    async def find_state(request: Request) -> State:
        return service_state(request).states.get(kind)

    return find_state
