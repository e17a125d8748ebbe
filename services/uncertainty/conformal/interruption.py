"""A check that long computations make between two blocks of work, so that one whose caller has gone can stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("conformal_check", default=None)


@contextmanager
def checking(check: Callable[[], None] | None) -> Iterator[None]:
    """Have `check_interruption` call this inside; what it raises ends the computation."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_interruption() -> None:
    """Call the check, if there is one."""
    check = _check.get()
    if check is not None:
        check()
