"""Finds the declarations of capabilities: `services/<domain>/<name>/capability.py`, and what an operator adds.

Importing them costs next to nothing (see `shared.capabilities`), so gateway, services, workers and command line read
the same ones at their start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

from shared.capabilities.collection import Capabilities
from shared.capabilities.declaration import Capability

SERVICES: Final = Path(__file__).parent

FURTHER_CAPABILITIES: Final = "FACET_CAPABILITIES"
"""Environment variable that names modules with further CAPABILITYs, parted by commas: an operator's own, which lie
outside of this tree."""


class NotDeclared(Exception):
    """A module of a declaration has none; the message names it."""


def declared_capabilities() -> Capabilities:
    """All capabilities of this environment.

    Raises:
        ImportError: a module cannot be imported.
        NotDeclared: a module holds no declaration.
        ValueError: two declarations contradict each other.
    """
    return Capabilities(map(_declaration, (*_own_modules(), *_further_modules())))


def _own_modules() -> Iterator[str]:
    for path in sorted(SERVICES.glob("*/*/capability.py")):
        yield ".".join(("services", *path.relative_to(SERVICES).with_suffix("").parts))


def _further_modules() -> Iterator[str]:
    named = os.environ.get(FURTHER_CAPABILITIES, "").split(",")
    yield from (name.strip() for name in named if name.strip())


def _declaration(module: str) -> Capability:
    found = getattr(import_module(module), "CAPABILITY", None)
    if not isinstance(found, Capability):
        raise NotDeclared(f"{module} has no CAPABILITY that is a shared.capabilities.declaration.Capability")
    return found
