"""Tables of benchmarks: what was measured, on which machine, how busy it was."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the memory of the fleet is also measured where nothing but serving is installed
    import pytest

ROUNDS = int(os.environ.get("FACET_BENCHMARK_ROUNDS", "15"))
"""Interleaved rounds that each candidate is measured in."""


def as_table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def show(capsys: pytest.CaptureFixture[str], title: str, rows: list[dict[str, Any]]) -> None:
    """Print a table past pytest's capture."""
    with capsys.disabled():
        cores = len(os.sched_getaffinity(0))
        machine = f"{cores} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}"
        print(f"\n\n{title} ({machine}, {ROUNDS} interleaved rounds)\n\n{as_table(rows)}")
