"""Files of results of long evaluations: a JSON line for each run, written as soon as it is finished.

Evaluations go on from what such a file holds.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All lines; a last one that was cut off is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


@contextmanager
def open_lines(file: Path) -> Iterator[IO[str]]:
    """The file to write further lines to, for this process alone; a last one that was cut off is removed.

    Raises:
        RuntimeError: another process writes to it.
    """
    with file.open("a+", encoding="utf-8") as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another evaluation writes to {file}") from None
        content = file.read_bytes()
        lines.truncate(content.rfind(b"\n") + 1)
        yield lines


def write_line(lines: IO[str], line: dict[str, Any]) -> None:
    """Write one line through to the file."""
    lines.write(json.dumps(line) + "\n")
    lines.flush()
