"""The steps of webhooks and their deliveries as Lua scripts: each is atomic, whichever gateway asks for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "lua"


@cache
def source(name: str) -> str:
    """Text of the script `lua/<name>.lua` with the prelude of this folder in front."""
    return (_FOLDER / "prelude.lua").read_text("utf-8") + (_FOLDER / f"{name}.lua").read_text("utf-8")
