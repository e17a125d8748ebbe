"""The file of results: a JSON line for each run, written as soon as it is finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All lines; a last one that was cut off is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def open_lines(file: Path) -> IO[str]:
    """The file to write further lines to; a last one that was cut off is removed."""
    if file.exists():
        content = file.read_bytes()
        file.write_bytes(content[: content.rfind(b"\n") + 1])
    return file.open("a", encoding="utf-8")


def write_line(lines: IO[str], line: dict[str, Any]) -> None:
    """Write one line through to the file."""
    lines.write(json.dumps(line) + "\n")
    lines.flush()
