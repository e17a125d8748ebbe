"""A virtual environment per peer, made from PyPI with every version pinned, kept from run to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_REQUIREMENTS = Path(__file__).parent / "servers" / "requirements"
_STAMP = "installed.txt"

FOLDER = Path(os.environ.get("FACET_PEERS", ".venv-peers"))
"""One environment per peer, by its name."""

TRITON_PYTHON = os.environ.get("FACET_TRITON_PYTHON", "/usr/bin/python3.11")
"""Triton's stub brings a Python library of its own, which fails on the standard library of CPython 3.11.7 ("RLock has
no attribute _recursion_count"); Debian's 3.11.2 works."""


class NotInstalled(Exception):
    """A peer's environment could not be made."""


def python_of(name: str) -> str:
    """The interpreter that runs a system; makes its environment where it is missing or pinned otherwise.

    Raises:
        NotInstalled: pip or venv failed.
    """
    pinned = _REQUIREMENTS / f"{name}.txt"
    if not pinned.exists():
        return sys.executable  # Facet itself
    folder = (FOLDER / name).absolute()
    stamp = folder / _STAMP
    if not stamp.exists() or stamp.read_text() != pinned.read_text():
        _install(folder, pinned, python=TRITON_PYTHON if name == "triton" else _plain_python())
        stamp.write_text(pinned.read_text())
    return str(folder / "bin" / "python")


def _plain_python() -> str:
    """The interpreter below this environment."""
    executable: str = getattr(sys, "_base_executable", sys.executable)
    return executable


def _install(folder: Path, pinned: Path, *, python: str) -> None:
    print(f"installing {pinned.stem} into {folder}, once", flush=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(pinned)]
    for command in ([python, "-m", "venv", "--clear", str(folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalled(f"{pinned.stem}: {' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
