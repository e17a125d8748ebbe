"""Tables for people, JSON for programs, and what the exit status says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import click
import orjson

from shared.problems import Conflict, Gone, NotFound, Problem, ServiceUnavailable, TooManyRequests

Answer = TypeVar("Answer")

UNAVAILABLE = 3
"""Exit status where Redis does not answer, or no worker reads the queue."""
NOT_FOUND = 4
"""Exit status where there is no such thing, or no more."""
REFUSED = 5
"""Exit status where the state of the thing does not allow it."""

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Option of every command that prints something."""


class Failure(click.ClickException):
    """One line on stderr and an exit status.

    Args:
        message: the line.
        code: the status.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]


def run(work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
    """Run a coroutine to its end; a problem becomes one line and an exit status instead of a traceback."""
    try:
        return asyncio.run(work())
    except Problem as problem:
        fail(problem)


def fail(problem: Problem) -> NoReturn:
    """End the command with what a problem says."""
    raise Failure(problem.detail, code=exit_code(problem)) from problem


def exit_code(problem: Problem) -> int:
    """The exit status of a problem; 1 where there is no status of its own."""
    if isinstance(problem, ServiceUnavailable):
        return UNAVAILABLE
    if isinstance(problem, NotFound | Gone):
        return NOT_FOUND
    return REFUSED if isinstance(problem, Conflict | TooManyRequests) else 1


def print_json(value: Any) -> None:
    """Print one JSON document."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode("utf-8"))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns, each as wide as its widest cell."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def duration(seconds: float | None) -> str:
    """Seconds as people say them, such as `4.2 s` or `3 h 05 min`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def age(instant: datetime | None) -> str:
    """How long ago something was."""
    return "-" if instant is None else duration(max(0.0, (datetime.now(UTC) - instant).total_seconds()))
