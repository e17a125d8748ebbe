"""OpenAPI documents, as tests look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of everything that can be asked."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def resolved(document: Document, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that is meant, where it is named only."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema
