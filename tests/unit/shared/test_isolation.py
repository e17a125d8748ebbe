"""A process for work that may go wrong finds the house's modules, and nothing that lies beside the house."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.isolation import run_isolated

ROOT = Path(__file__).parents[3]


def test_it_runs_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks for modules where it is started first: a stranger's folder there would be one."""
    seen: dict[str, Any] = {}
    start: Any = subprocess.Popen

    def spy(*arguments: Any, **options: Any) -> Any:
        seen.update(options)
        return start(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    assert run_isolated("this", {"memory_bytes": 1 << 30}, b"", timeout_s=30) is None
    assert seen["cwd"] == ROOT
