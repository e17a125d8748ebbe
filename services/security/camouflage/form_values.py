"""Values of forms, which are texts, where a schema names the few numbers that they may be."""

from __future__ import annotations


def number_of(value: object) -> object:
    """The number that a text of digits is; anything else as it is, for the schema to judge."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value
