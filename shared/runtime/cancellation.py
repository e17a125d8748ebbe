"""Stops a computation in another thread: onnxruntime between two nodes of its graph, the rest at its next model run.

Python cannot end a thread. onnxruntime can end a run (`RunOptions.terminate`), so a slot whose caller went away is free
again within the longest single node of the graph, or the computation that goes on between two runs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime


class Interrupted(Exception):
    """The computation was told to stop, and has."""


class CancellationToken:
    """One computation's switch. Thread-safe, and good for one use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[onnxruntime.RunOptions] = []
        self._set = False

    def interrupt(self) -> None:
        """Stop the runs under way, and let no further one begin."""
        with self._lock:
            self._set = True
            for options in self._running:
                options.terminate = True

    def raise_if_interrupted(self) -> None:
        """Stop a computation that is no model run, between two of its steps.

        Raises:
            Interrupted: it was told to stop.
        """
        if self._set:
            raise Interrupted

    @contextmanager
    def attach(self, options: onnxruntime.RunOptions) -> Iterator[None]:
        """Make a run with these options stoppable.

        Raises:
            Interrupted: it was stopped, or was not to begin.
        """
        with self._lock:
            if self._set:
                raise Interrupted
            self._running.append(options)
        try:
            yield
        except Exception as error:  # onnxruntime raises a plain Fail for a run that was ended
            if self._set:
                raise Interrupted from error
            raise
        finally:
            with self._lock:
                self._running.remove(options)


_current: ContextVar[CancellationToken | None] = ContextVar("facet_interruption", default=None)


def current_cancellation() -> CancellationToken | None:
    """The switch of the computation at hand, or None where nobody would use one."""
    return _current.get()


@contextmanager
def interruptible(interruption: CancellationToken) -> Iterator[None]:
    """Make model runs inside, and in threads started there with this context, stoppable."""
    token = _current.set(interruption)
    try:
        yield
    finally:
        _current.reset(token)
