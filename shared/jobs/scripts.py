"""The transitions of a job as Lua scripts: each is atomic in Redis, whichever process asks for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@cache
def source(name: str) -> str:
    """Text of the script `lua/<name>.lua` with the shared prelude in front."""
    return (_FOLDER / "prelude.lua").read_text("utf-8") + (_FOLDER / f"{name}.lua").read_text("utf-8")


def as_fields(flat: list[str]) -> dict[str, str]:
    """Make a mapping of Redis' alternating fields and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))
