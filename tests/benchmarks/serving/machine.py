"""The machine and the versions that figures come from."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

_REQUIREMENTS = Path(__file__).parent / "servers" / "requirements"
_PRODUCTS = {
    "triton": "nvidia-pytriton",
    "mlserver": "mlserver",
    "litserve": "litserve",
    "bentoml": "bentoml",
    "ray-serve": "ray",
    "plain-uvicorn": "uvicorn",
}


def describe_machine() -> dict[str, Any]:
    """CPU, cores, memory, versions and date, for results.json."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False)
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "onnxruntime": importlib.metadata.version("onnxruntime"),
        "wrk": (wrk.stdout + wrk.stderr).split("\n")[0].partition(" [")[0],
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "peers": {name: _pinned(name, product) for name, product in _PRODUCTS.items()},
    }


def _pinned(name: str, product: str) -> str:
    """Which version of a product its environment has."""
    found = re.search(rf"^{product}==(\S+)", (_REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE | re.IGNORECASE)
    return f"{product} {found[1]}" if found else product
