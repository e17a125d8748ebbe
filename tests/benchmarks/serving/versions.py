"""Which code a figure is of: a row is measured again when the system, the case, its request or the machine changes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.benchmarks.serving.cases import Case
from tests.benchmarks.serving.systems import Start, System
from tests.benchmarks.serving.wire import Call

ROOT = Path(__file__).parents[3]
_SERVERS = Path(__file__).parent / "servers"
_SERVING = ("gateway", "services", "shared", "deploy", "requirements.lock")
"""What a running fleet is made of."""

_OF_MACHINE = ("cpu", "cores", "memory_gib", "python")


def version_of(system: System | None) -> str:
    """Version of a system and a digest of the code that it is served by here, such as "litserve 0.2.19 (8f14e45f)".

    Args:
        system: None for onnxruntime alone.
    """
    if system is None:
        return f"onnxruntime {importlib.metadata.version('onnxruntime')}"
    return _version_of_peer(system.name, system.package) if system.package else _version_of_tree()


@cache
def _version_of_tree() -> str:
    return f"tree {_digest(_serving_files())}"


@cache
def _version_of_peer(name: str, package: str) -> str:
    requirements = _SERVERS / "requirements" / f"{name}.txt"
    found = re.search(rf"^{package}==(\S+)", requirements.read_text(), re.MULTILINE | re.IGNORECASE)
    digest = _digest([requirements, _SERVERS / f"{name.replace('-', '_')}_server.py", _SERVERS / "common.py"])
    return f"{package} {found[1] if found else 'unpinned'} ({digest})"


def _serving_files() -> list[Path]:
    """As they are in the working tree, committed or not."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_SERVING]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(file for name in listed if name and (file := ROOT / name).is_file())


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:8]


def fingerprint(
    system: System | None, case: Case, start: Start, call: Call | None, machine: Mapping[str, Any], *, seconds: float
) -> str:
    """Of all that a row depends on, but repeat and concurrency.

    Args:
        system: None for onnxruntime alone.
        case: what is asked.
        start: how it is started.
        call: the request of the load.
        machine: as `describe_machine` gives it.
        seconds: of a window.
    """
    parts = [
        version_of(system),
        {name: machine[name] for name in _OF_MACHINE},
        [case.name, case.route, seconds, start.threads],
        hashlib.sha256(case.file(start.models).read_bytes()).hexdigest(),
        [system.url(case, 0), system.command, system.spinning] if system else None,
        [hashlib.sha256(call.body).hexdigest(), dict(call.headers)] if call else None,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
