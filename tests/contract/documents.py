"""OpenAPI documents, as tests look at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of everything that can be asked; parameters and answers in full."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, in_full(document, item[method])


def in_full(document: Document, operation: dict[str, Any]) -> dict[str, Any]:
    """An operation with the parameters and answers that it only names."""
    parameters = [resolved(document, item) for item in operation["parameters"]]
    responses = {status: resolved(document, answer) for status, answer in operation["responses"].items()}
    return {**operation, "parameters": parameters, "responses": responses}


def resolved(document: Document, content: dict[str, Any]) -> dict[str, Any]:
    """What is meant by a schema, a parameter or an answer, where it is named only."""
    if "$ref" not in content:
        return content
    _, _, section, name = content["$ref"].split("/")
    found: dict[str, Any] = document["components"][section][name]
    return found
