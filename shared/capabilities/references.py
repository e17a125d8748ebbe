"""Things named as `module:attribute`, so that naming them imports nothing."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def check_reference(reference: str) -> None:
    """Refuse what is not of the form `module:attribute`.

    Raises:
        ValueError: it is not.
    """
    if not _FORM.fullmatch(reference):
        raise ValueError(f"{reference!r} is not of the form module:attribute")


def load_reference(reference: str) -> Any:
    """Import what a reference names.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such attribute.
    """
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
