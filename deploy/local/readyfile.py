"""Tells other programs, tests above all, where the fleet's processes are."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_ready_file(path: Path, facts: dict[str, object]) -> None:
    """Write the file in one step, readable by its owner only, as the Redis URL holds a password."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(facts, file, indent=2)
    draft.replace(path)
