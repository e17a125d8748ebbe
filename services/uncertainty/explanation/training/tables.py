"""Tables of the pages that are made of figures, Markdown."""

from __future__ import annotations

from collections.abc import Mapping


def row(*cells: str) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def head(*cells: str) -> list[str]:
    """The first row of a table, and the line under it."""
    return [row(*cells), row(*("---" for _ in cells))]


def interval_cell(interval: Mapping[str, float] | None, *, percent: bool = False) -> str:
    """A mean with its interval; a dash where nothing was measured.

    Args:
        interval: `mean`, `low` and `high`.
        percent: they are shares, and shown in percent.
    """
    if interval is None:
        return "-"
    factor, digits = (100, 1) if percent else (1, 3)
    mean, low, high = (f"{factor * interval[name]:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
